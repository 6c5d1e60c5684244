#pragma once
// Gives committed memory back without being asked: what is above the budget or a limit since a reload or a restart, what
// the system needs more, and what nobody has needed for a while.
//
// Thread safety: the loop thread's.
// Invariants:
//   R1  A turn releases at most kTurnBytes of each kind (one extent, where that is more): the loop serves others between.
//   R2  What clients hold or cache stays. A pool is never brought below its reservation, but by its own limit.
//   R3  No timer runs when nothing is above what has to stay, nor when nothing has changed since looks that released
//       nothing and no client is attached: an idle daemon sleeps.

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/event_loop.hpp"
#include "daemon/pool.hpp"
#include "daemon/pressure_watch.hpp"

namespace zeropool::daemon {

struct ReleaseStatistics {
  std::uint64_t excess_bytes = 0;  // committed above the budget
  PressureCounters pressure_events{};
  PressureSources pressure_sources;
};

class ReleaseWatch {
 public:
  static constexpr std::uint64_t kTurnBytes = std::uint64_t{64} << 20;

  // `pools` may grow until the loop runs.
  ReleaseWatch(EventLoop& loop, Budget& budget, const std::vector<std::unique_ptr<Pool>>& pools,
               PressurePaths paths = {});
  ~ReleaseWatch();
  ReleaseWatch(const ReleaseWatch&) = delete;
  ReleaseWatch& operator=(const ReleaseWatch&) = delete;

  // Now, and on as long as there is something to do: after a start or a reload.
  void look();
  // In each round of the loop: whether something has changed that makes a look worth it.
  void look_before_sleep();
  void on_pressure(PressureSource source);
  ReleaseStatistics statistics() const;
  const PressureCounters& pressure_events() const { return pressure_events_; }

 private:
  using Clock = std::chrono::steady_clock;
  using Wait = std::optional<std::chrono::nanoseconds>;  // till the next turn; none: no need

  struct Stamp {  // of what decides on idle memory, as far as the loop hears of it
    std::uint64_t committed_bytes = 0;
    std::uint64_t clients = 0;
    std::uint64_t comings_and_goings = 0;
    bool operator==(const Stamp&) const = default;
  };

  void turn();
  void arm(std::chrono::nanoseconds wait);
  Wait shrink();
  std::uint64_t release_above_limits();
  std::uint64_t release_above_budget();
  Wait relieve(Clock::time_point now);
  Wait release_idle(Clock::time_point now);
  std::uint64_t limit_excess() const;
  std::uint64_t releasable_excess() const;
  std::vector<Pool*> richest_first() const;
  Stamp stamp() const;

  EventLoop& loop_;
  Budget& budget_;
  const std::vector<std::unique_ptr<Pool>>& pools_;
  PressureWatch pressure_;
  PressureCounters pressure_events_{};
  EventLoop::TimerId timer_ = 0;
  Clock::time_point due_{};
  Stamp seen_;                 // by the last turn
  bool came_or_went_ = false;  // clients, since the last turn

  bool shrinking_ = false;
  std::uint64_t shrunk_bytes_ = 0;
  std::chrono::nanoseconds shrink_wait_{};

  std::uint64_t to_relieve_bytes_ = 0;
  std::uint64_t relieved_bytes_ = 0;  // since it was logged
  std::uint64_t unsaid_events_ = 0;
  Clock::time_point next_relief_{};
  Clock::time_point next_word_{};
};

}  // namespace zeropool::daemon
