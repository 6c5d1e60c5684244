#pragma once
// The daemon's one thread of decisions: descriptors, timers, and work that other threads send.
//
// Thread safety: run_in_loop and stop may be called from any thread; all else on the loop's thread (before
// run(): the thread that will run it).
// Invariants:
//   E1  With no timer pending the timer descriptor is disarmed: an idle loop never wakes.
//   E2  A handler that was unwatched is never called again, also within the same round.

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "zeropool/lib/unique_fd.hpp"

namespace zeropool::daemon {

// CLOCK_MONOTONIC in nanoseconds: the clock of orders and leases.
std::uint64_t monotonic_ns() noexcept;

class EventLoop {
 public:
  using Handler = std::function<void(std::uint32_t events)>;
  using TimerId = std::uint64_t;  // 0 names none

  // Null: `why` names the system call that failed.
  static std::unique_ptr<EventLoop> create(std::string& why);
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Calls `handler` with EPOLL* bits whenever `fd` is ready (level triggered). False: errno says why.
  bool watch(int fd, std::uint32_t events, Handler handler);
  void unwatch(int fd);

  // Once, not before `delay` has passed.
  TimerId after(std::chrono::nanoseconds delay, std::function<void()> work);
  void cancel(TimerId timer);

  void run_in_loop(std::function<void()> work);

  // Called before the loop would sleep; true: something was found and done, so look again instead. And right
  // after it has slept.
  void around_sleep(std::function<bool()> before, std::function<void()> after);

  // Until stop().
  void run();
  // One round, sleeping at most so long (less than zero: as long as it takes). For tests.
  void run_once(int timeout_ms);
  void stop();

 private:
  struct Watch {
    int fd = -1;
    std::shared_ptr<Handler> handler;
  };

  EventLoop() = default;
  void run_sent_work();
  void run_due_timers();
  void arm();

  lib::UniqueFd epoll_;
  lib::UniqueFd wake_;
  lib::UniqueFd timer_;
  std::unordered_map<std::uint64_t, Watch>
      watches_;  // by token, so that a reused fd is another watch
  std::unordered_map<int, std::uint64_t> token_of_fd_;
  std::uint64_t next_token_ = 1;
  std::map<std::pair<std::uint64_t, TimerId>, std::function<void()>> timers_;  // by due time
  std::unordered_map<TimerId, std::uint64_t> due_of_timer_;
  TimerId next_timer_ = 1;
  std::uint64_t armed_for_ns_ = 0;
  std::function<bool()> before_sleep_;
  std::function<void()> after_sleep_;
  bool stopped_ = false;

  std::mutex mutex_;
  std::vector<std::function<void()>> sent_;  // under mutex_
};

}  // namespace zeropool::daemon
