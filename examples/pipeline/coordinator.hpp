#pragma once
// The coordinator: starts the others, gives out the work, collects the digests, kills a hasher and replaces it.
//
// Thread safety: one thread, one poll loop.
// Invariants:
//   C1  it never waits for anybody: it sends only what fits into a socket at once, and that always does, because a
//       reader has at most two batches and there are few links
//   C2  a reader hears of a link before it hears of a job for it (same socket, in order)
//   C3  nobody but reader and hasher holds an end of their link, so a death is seen at once by the other

#include <memory>
#include <string>
#include <vector>

#include "pipeline/child_process.hpp"
#include "pipeline/file_list.hpp"
#include "pipeline/options.hpp"
#include "pipeline/work_list.hpp"

namespace pipeline {

class Progress;

struct RunResult {
  double seconds = 0;  // from the first job to the last digest
  std::uint32_t kills = 0;
  std::uint32_t replacements = 0;
};

class Coordinator {
 public:
  Coordinator(const Options& options, const FileList& list, Progress& progress);

  // Throws std::runtime_error with what went wrong. False: interrupted by a signal. No child is left either way.
  bool run();

  const RunResult& result() const { return result_; }
  const WorkList& work() const { return work_; }
  const std::vector<std::unique_ptr<ChildProcess>>& children() const { return children_; }

 private:
  void start(Role role, std::uint32_t index, std::uint32_t incarnation);
  bool wait_for_events();
  void listen(std::size_t number);
  void handle(std::size_t number, MessageView message);
  void handle_hello(std::size_t number, MessageView& message);
  void handle_digests(ChildProcess& hasher, MessageView& message);
  void handle_end(std::size_t number);
  void connect(ChildProcess& reader, ChildProcess& hasher);
  void give_out_work();
  void send_batch(ChildProcess& reader, std::size_t hasher);
  void kill_when_due();
  bool everybody_ready() const;
  std::size_t least_busy_hasher() const;
  void finish();
  void send(ChildProcess& child, const Message& message, int passed_fd = -1);

  const Options& options_;
  const FileList& list_;
  Progress& progress_;
  WorkList work_;
  UniqueFd signals_;
  std::vector<std::unique_ptr<ChildProcess>>
      children_;  // every process there ever was; never shrinks
  std::vector<std::byte> received_;
  bool started_ = false;
  bool finishing_ = false;
  std::uint32_t unexpected_deaths_ = 0;
  Clock::time_point started_at_{};
  Clock::time_point settled_at_{};
  RunResult result_;
};

}  // namespace pipeline
