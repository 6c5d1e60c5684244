#pragma once
// Which slots an extent or a stretch of bytes touches, and which extents a slot: slots may straddle two of them.
//
// Thread safety: functions of values.
// An extent is at least as large as a slot, so a slot touches one extent or two neighbours.

#include <algorithm>
#include <cstdint>

#include "zeropool/lib/control_plan.hpp"

namespace zeropool::daemon {

// [begin, end)
struct SlotRange {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  bool empty() const noexcept { return begin >= end; }
};

// Slots with at least one byte in [first_byte, end_byte) of the region, which is not empty.
inline SlotRange slots_between(const lib::RingPlan& ring, std::uint64_t first_byte,
                               std::uint64_t end_byte) noexcept {
  const std::uint64_t capacity = ring.slot_capacity;
  return {static_cast<std::uint32_t>(std::min(first_byte / ring.class_bytes, capacity)),
          static_cast<std::uint32_t>(std::min((end_byte - 1) / ring.class_bytes + 1, capacity))};
}

// Slots with at least one byte in the extent.
inline SlotRange slots_touching(const lib::RingPlan& ring, std::uint32_t extent) noexcept {
  const std::uint64_t first_byte = extent * ring.extent_bytes;
  return slots_between(ring, first_byte, first_byte + ring.extent_bytes);
}

inline std::uint32_t first_extent_of(const lib::RingPlan& ring, std::uint32_t slot) noexcept {
  return static_cast<std::uint32_t>(slot * ring.class_bytes / ring.extent_bytes);
}
inline std::uint32_t last_extent_of(const lib::RingPlan& ring, std::uint32_t slot) noexcept {
  return static_cast<std::uint32_t>(((slot + std::uint64_t{1}) * ring.class_bytes - 1) /
                                    ring.extent_bytes);
}

}  // namespace zeropool::daemon
