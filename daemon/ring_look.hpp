#pragma once
// A plain look at the magazines of a ring that nobody owns.
//
// Thread safety: reads only; what is seen may be old at once.
// Trust: count and entries are bounded here.

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "zeropool/lib/control_view.hpp"

namespace zeropool::daemon {

// Calls `visit` with each slot number below `bound` in the magazine, if it is in the ring.
template <typename Visit>
void for_each_entry(const lib::SharedMagazine& magazine, std::uint32_t most, std::uint32_t bound,
                    Visit visit) {
  if (magazine.owner.load(std::memory_order_acquire) != 0) return;
  const std::uint32_t count = std::min(magazine.count.load(std::memory_order_relaxed), most);
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t slot = magazine.slots[i].load(std::memory_order_relaxed);
    if (slot < bound) visit(slot);
  }
}

}  // namespace zeropool::daemon
