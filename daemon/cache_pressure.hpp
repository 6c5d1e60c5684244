#pragma once
// While orders starve, threads keep nothing of what they want: puts go back at once, and idle caches are taken.
//
// Thread safety: the loop thread's; `limit` words are read by their threads at each put.
// Invariants:
//   L1  The descriptor's put_limit says what a thread's limit is to be, 0 while the ring is pressed. It is written
//       before the threads' limits, with a full fence between; a thread that sets its own limit (a new one, one of a
//       pool opened again) writes it, fences, and looks at put_limit again. So the last one that is written is right.
//   L2  A client that is closing keeps its limits at 0.

#include <cstdint>
#include <vector>

#include "daemon/pool.hpp"

namespace zeropool::daemon {

class CachePressure {
 public:
  explicit CachePressure(Pool& pool) : pool_(pool), pressed_(pool.memory->ring_count(), false) {}

  // Sets every thread's limit of a ring to 0 and takes idle threads' magazines of it; again for threads that came since.
  void press(std::uint32_t ring);
  // Gives all pressed rings their limit back.
  void relieve();
  // Also what a daemon before this one pressed.
  void relieve_everything();

 private:
  void set_limits(std::uint32_t ring, std::uint32_t limit);

  Pool& pool_;
  std::vector<bool> pressed_;
  bool anything_ = false;
};

}  // namespace zeropool::daemon
