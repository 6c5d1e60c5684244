#pragma once
// The one thread that commits and punches memory, so that the loop never waits for a page to be
// zeroed and the
// memory policy that decides on the node is that thread's alone.
//
// Thread safety: submit, run_now, forget and deliver belong to the loop thread; the rest happens
// behind them.
// Invariants:
//   W1  Jobs are worked off in the order of their submission; run_now goes before those that wait.
//   W2  A completion runs on the thread that calls deliver(), never after forget() of its owner.
//   W3  The loop is woken for every job at once, but for those done ahead of demand: a wake is paid once for some of
//       them, since on a busy machine it costs a client of the pool its CPU for a moment. No completion stays behind
//       when nothing is left to do, nor after hurry().
// Signals are blocked in the thread: an interrupted hugetlb fallocate keeps what it got.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "daemon/commit.hpp"
#include "daemon/memory_guard.hpp"
#include "zeropool/lib/unique_fd.hpp"

namespace zeropool::daemon {

enum class CommitKind { kCommit, kPunch, kReplace };

struct CommitJob {
  CommitKind kind = CommitKind::kCommit;
  CommitRange range;
  const void* owner = nullptr;  // for forget()
  bool ahead = false;           // nobody waits for it: its completion may come with those of others
  std::function<void(CommitResult)> done;
};

class CommitThread {
 public:
  // `bind_nodes`: the machine has more than one node, so the thread binds itself before each
  // commit.
  explicit CommitThread(bool bind_nodes, MemoryGuard guard = MemoryGuard());
  ~CommitThread();  // finishes the job in hand, drops those that wait
  CommitThread(const CommitThread&) = delete;
  CommitThread& operator=(const CommitThread&) = delete;

  void submit(CommitJob job);
  // Somebody waits now: what is done and what is under way is delivered as it comes.
  void hurry();
  // The same, waited for. For start-up, and for small ranges.
  CommitResult run_now(CommitKind kind, const CommitRange& range);
  // Readable (an eventfd) when completions wait for deliver().
  int completion_fd() const noexcept { return completion_fd_.get(); }
  // The kernel does not let this process say where memory comes from. Any thread.
  bool bind_refused() const noexcept { return bind_refused_.load(std::memory_order_relaxed); }
  // Runs the completions of finished jobs. Returns how many.
  std::size_t deliver();
  // Waits until every job submitted so far is done, and delivers. For tests and for shutting down.
  void finish();
  // Drops the waiting jobs and completions of `owner`, and waits for its job in hand. Its segments
  // may go then.
  void forget(const void* owner);

 private:
  struct Finished {
    CommitJob job;
    CommitResult result;
  };

  struct Urgent {
    CommitJob job;
    CommitResult* result;
    bool* done;
  };

  void work();
  CommitResult run(const CommitJob& job);
  int bind(std::uint32_t node);
  bool is_worth_a_wake(const CommitJob& job);  // with the lock
  void ring() noexcept;

  const bool bind_nodes_;
  MemoryGuard guard_;
  lib::UniqueFd completion_fd_;
  std::uint32_t bound_node_;                // the thread's own
  std::uint32_t refused_node_;              // the last that could not be bound to, and was said so
  std::atomic<bool> bind_refused_ = false;  // written by the thread

  bool delivering_ = false;  // the loop thread's

  std::mutex mutex_;
  std::condition_variable work_to_do_;
  std::condition_variable job_done_;
  std::deque<CommitJob> waiting_;
  std::deque<Urgent> urgent_;
  std::deque<Finished> finished_;
  std::uint64_t undelivered_bytes_ = 0;  // done ahead of demand since the last wake
  bool hurried_ = false;                 // until nothing waits
  const void* in_hand_ = nullptr;
  bool busy_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace zeropool::daemon
