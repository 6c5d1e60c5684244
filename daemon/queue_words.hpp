#pragma once
// The rings that orders wait for too long, told to all: a get that would claim there stands behind them.
//
// Why: what puts bring back lies in the ring for a moment before the daemon takes it for who waits longest. Whoever gets
// next would take it first, and a big order would never see its last slot.
//
// Thread safety: the loop thread's; clients read RingDescriptor::queue_until_ns on their slow path.
// Crash safety: the words run out by themselves (kQueueAheadNs), so a daemon that is killed stops nobody.

#include <cstdint>
#include <vector>

#include "daemon/pool_memory.hpp"

namespace zeropool::daemon {

class QueueWords {
 public:
  explicit QueueWords(const PoolMemory& memory)
      : memory_(memory), wanted_(memory.ring_count(), false), told_(memory.ring_count(), false) {}

  // Since the last tell().
  void want(std::uint32_t ring) { wanted_[ring] = true; }
  // Tells the wanted ones, and takes back the others.
  void tell(std::uint64_t now_ns) {
    for (std::uint32_t ring = 0; ring < wanted_.size(); ++ring) {
      if (!wanted_[ring] && !told_[ring]) continue;
      set(ring, wanted_[ring] ? now_ns + lib::kQueueAheadNs : 0);
      told_[ring] = wanted_[ring];
      wanted_[ring] = false;
    }
  }
  // Also what a daemon before this one told.
  void take_all_back() {
    for (std::uint32_t ring = 0; ring < wanted_.size(); ++ring) {
      wanted_[ring] = told_[ring] = false;
      set(ring, 0);
    }
  }

 private:
  void set(std::uint32_t ring, std::uint64_t until_ns) const {
    memory_.view().descriptor(ring).queue_until_ns.store(until_ns, std::memory_order_relaxed);
  }

  const PoolMemory& memory_;
  std::vector<bool> wanted_;
  std::vector<bool> told_;
};

}  // namespace zeropool::daemon
