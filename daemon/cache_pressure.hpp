#pragma once
// While orders starve, threads keep nothing of what they want: puts go back at once.
//
// Thread safety: the loop thread's; `limit` words are read by their threads at each put.

#include <vector>

#include "daemon/pool_memory.hpp"

namespace zeropool::daemon {

class CachePressure {
 public:
  explicit CachePressure(const PoolMemory& memory)
      : memory_(memory), pressed_(memory.ring_count(), false) {}

  // Sets every thread's limit of a ring to 0; again for threads that came since.
  void press(std::uint32_t ring);
  // Gives all pressed rings their limit back.
  void relieve();
  // Also what a daemon before this one pressed.
  void relieve_everything();

 private:
  void set_limits(std::uint32_t ring, std::uint32_t limit);

  const PoolMemory& memory_;
  std::vector<bool> pressed_;
  bool anything_ = false;
};

}  // namespace zeropool::daemon
