#pragma once
// StallClock: the time between two completed operations of one thread, less what the second may wait by right.
//
// An operation that was stopped (SIGSTOP) in between is not measured. With `entry`, the operation under way is on
// the board as well, so that a client that is killed while it hangs is measured by whoever kills it.
//
// Thread safety: one thread's.

#include <algorithm>
#include <cstdint>

#include "board.hpp"

namespace zeropool::soak {

class StallClock {
 public:
  // `entry`: of this process, or its parent; `shown`: this is the thread whose operations are on the board.
  StallClock(Board& board, ClientEntry& entry, bool shown)
      : board_(board), entry_(entry), shown_(shown) {}

  // Before work, and after anything that is no operation.
  void restart() { remember(now_ns(), entry_.stops.load(kRelaxed)); }
  // The next operation may wait so long.
  void allow(std::int64_t wait_ns) {
    allowed_ns_ = wait_ns;
    if (shown_) entry_.allowed_ns.store(wait_ns, kRelaxed);
  }
  void completed() {
    board_.operations.fetch_add(1, kRelaxed);
    const std::int64_t now = now_ns();
    const std::uint32_t stops = entry_.stops.load(kRelaxed);
    if (stops == stops_ && stops % 2 == 0) board_.stalled(now - since_ns_ - allowed_ns_);
    allow(0);
    remember(now, stops);
  }
  void pause() {
    if (shown_) entry_.since_ns.store(0, kRelaxed);
  }

  // Of the operation under way, by another process. Negative or 0: nothing to say.
  static std::int64_t under_way(const ClientEntry& entry) {
    const std::int64_t since = entry.since_ns.load(kRelaxed);
    const std::uint32_t stops = entry.stops.load(kRelaxed);
    if (since == 0 || stops % 2 != 0 || stops != entry.since_stops.load(kRelaxed)) return 0;
    return now_ns() - since - entry.allowed_ns.load(kRelaxed);
  }

 private:
  void remember(std::int64_t now, std::uint32_t stops) {
    since_ns_ = now;
    stops_ = stops;
    if (!shown_) return;
    entry_.since_stops.store(stops, kRelaxed);
    entry_.since_ns.store(now, kRelaxed);
  }

  Board& board_;
  ClientEntry& entry_;
  bool shown_;
  std::int64_t since_ns_ = 0;
  std::int64_t allowed_ns_ = 0;
  std::uint32_t stops_ = 0;
};

}  // namespace zeropool::soak
