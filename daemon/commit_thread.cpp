#include "daemon/commit_thread.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <numaif.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utility>

#include <spdlog/spdlog.h>

namespace zeropool::daemon {
namespace {

// Done ahead of demand, a wake of the loop brings so much: 16 extents of 2 MiB, 8 ms of committing at 4 GiB/s.
constexpr std::uint64_t kAheadBytes = std::uint64_t{32} << 20;
constexpr std::uint32_t kUnbound = 0xffffffffU;
constexpr std::size_t kMostNodes = 1024;
constexpr std::size_t kWordBits = sizeof(unsigned long) * CHAR_BIT;

// With every signal blocked from its first instruction on: the mask is inherited from the creating
// thread.
template <typename Function>
std::thread start_without_signals(Function function) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(function));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace

CommitThread::CommitThread(bool bind_nodes, MemoryGuard guard)
    : bind_nodes_(bind_nodes),
      guard_(std::move(guard)),
      completion_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      bound_node_(kUnbound),
      refused_node_(kUnbound),
      thread_(start_without_signals([this] { work(); })) {}

CommitThread::~CommitThread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    waiting_.clear();
  }
  work_to_do_.notify_all();
  thread_.join();
}

void CommitThread::submit(CommitJob job) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(job));
  }
  work_to_do_.notify_one();
}

void CommitThread::hurry() {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    hurried_ = busy_ || !waiting_.empty();
    wake = !finished_.empty();
  }
  if (wake && !delivering_) ring();
}

CommitResult CommitThread::run_now(CommitKind kind, const CommitRange& range) {
  CommitResult result;
  bool done = false;  // guarded by mutex_
  CommitJob job;
  job.kind = kind;
  job.range = range;
  std::unique_lock lock(mutex_);
  if (stopping_) return {CommitOutcome::kFailed, ECANCELED};
  urgent_.push_back(Urgent{std::move(job), &result, &done});
  work_to_do_.notify_one();
  job_done_.wait(lock, [&] { return done; });
  return result;
}

std::size_t CommitThread::deliver() {
  std::uint64_t rings = 0;
  while (::read(completion_fd_.get(), &rings, sizeof rings) < 0 && errno == EINTR) {
  }
  std::size_t delivered = 0;
  const bool within_another = std::exchange(delivering_, true);
  // One at a time: a completion may submit, forget, or deliver.
  for (;;) {
    Finished finished;
    {
      const std::lock_guard lock(mutex_);
      if (finished_.empty()) {
        undelivered_bytes_ = 0;
        delivering_ = within_another;
        return delivered;
      }
      finished = std::move(finished_.front());
      finished_.pop_front();
    }
    if (finished.job.done) finished.job.done(finished.result);
    ++delivered;
  }
}

void CommitThread::finish() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      job_done_.wait(lock, [&] { return waiting_.empty() && urgent_.empty() && !busy_; });
      if (finished_.empty()) return;
    }
    deliver();
  }
}

void CommitThread::forget(const void* owner) {
  std::unique_lock lock(mutex_);
  std::erase_if(waiting_, [&](const CommitJob& job) { return job.owner == owner; });
  job_done_.wait(lock, [&] { return !busy_ || in_hand_ != owner; });
  std::erase_if(finished_, [&](const Finished& done) { return done.job.owner == owner; });
  if (!finished_.empty()) ring();  // the job that would have woken the loop may be gone
}

void CommitThread::work() {
  pthread_setname_np(pthread_self(), "zp-commit");
  std::unique_lock lock(mutex_);
  for (;;) {
    work_to_do_.wait(lock, [&] { return stopping_ || !urgent_.empty() || !waiting_.empty(); });
    if (!urgent_.empty()) {
      const Urgent urgent = std::move(urgent_.front());
      urgent_.pop_front();
      busy_ = true;
      in_hand_ = nullptr;
      lock.unlock();
      const CommitResult result = run(urgent.job);
      lock.lock();
      *urgent.result = result;
      *urgent.done = true;
    } else if (!waiting_.empty()) {
      CommitJob job = std::move(waiting_.front());
      waiting_.pop_front();
      busy_ = true;
      in_hand_ = job.owner;
      lock.unlock();
      const CommitResult result = run(job);
      lock.lock();
      const bool wake = is_worth_a_wake(job);
      finished_.push_back(Finished{std::move(job), result});
      if (wake) {
        lock.unlock();  // the loop's first step is to take it
        ring();
        lock.lock();
      }
    } else {
      return;  // stopping_
    }
    busy_ = false;
    job_done_.notify_all();
  }
}

CommitResult CommitThread::run(const CommitJob& job) {
  if (job.kind == CommitKind::kPunch) return punch_range(job.range);
  if (const int error = bind(job.range.node); error != 0) {
    return {CommitOutcome::kNodeFull, error};
  }
  return job.kind == CommitKind::kReplace ? replace_range(job.range, guard_)
                                          : commit_range(job.range, guard_);
}

// mbind does nothing for hugetlb: the policy of the committing thread decides. 0, or an errno: then nothing may be
// committed, it would come from the node bound before.
int CommitThread::bind(std::uint32_t node) {
  if (!bind_nodes_ || bind_refused_ || node == bound_node_ || node >= kMostNodes) return 0;
  std::array<unsigned long, kMostNodes / kWordBits> mask{};
  mask[node / kWordBits] = 1UL << (node % kWordBits);
  if (::set_mempolicy(MPOL_BIND, mask.data(), kMostNodes + 1) == 0) {
    bound_node_ = node;
    refused_node_ = kUnbound;
    return 0;
  }
  const int error = errno;
  // Containers without CAP_SYS_NICE may filter the call: the kernel then places by where this thread runs.
  if (error == EPERM || error == ENOSYS) {
    bind_refused_ = true;
    spdlog::warn(
        "set_mempolicy is not allowed here ({}): memory may come from any node; see "
        "misplaced_bytes",
        std::strerror(error));
    return 0;
  }
  // Taken offline, or out of this cpuset, since the start.
  if (refused_node_ != node) {
    spdlog::warn("set_mempolicy(MPOL_BIND, node {}) failed: {}; nothing is committed there", node,
                 std::strerror(error));
  }
  refused_node_ = node;
  return error;
}

bool CommitThread::is_worth_a_wake(const CommitJob& job) {
  undelivered_bytes_ += job.range.bytes;
  const bool last = waiting_.empty();
  const bool wake = !job.ahead || hurried_ || last || undelivered_bytes_ >= kAheadBytes;
  if (last) hurried_ = false;
  if (wake) undelivered_bytes_ = 0;
  return wake;
}

void CommitThread::ring() noexcept {
  const std::uint64_t one = 1;
  while (::write(completion_fd_.get(), &one, sizeof one) < 0 && errno == EINTR) {
  }
}

}  // namespace zeropool::daemon
