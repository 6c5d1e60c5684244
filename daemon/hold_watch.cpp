#include "daemon/hold_watch.hpp"

#include <algorithm>

#include "daemon/event_loop.hpp"

namespace zeropool::daemon {
namespace {

constexpr std::size_t kMarksInHand = 256;
constexpr std::uint32_t kNumbersInHand = 4096;
constexpr std::uint32_t kStepsAVisit = 64;  // then the ring's marks are looked at

// Of each slot number the same for ever; what passes for one shift passes for all smaller ones.
bool is_watched(std::uint32_t slot, std::uint32_t shift) {
  std::uint32_t hash = slot * 0x9e3779b1U;
  hash = (hash ^ (hash >> 15)) * 0x85ebca6bU;
  return ((hash ^ (hash >> 13)) & ((std::uint32_t{1} << shift) - 1)) == 0;
}

}  // namespace

HoldWatch::HoldWatch(const PoolMemory& memory, std::uint32_t most_watched)
    : memory_(memory), most_watched_(most_watched), rings_(memory.ring_count()) {}

// Slots published since the last pass, some at a time.
bool HoldWatch::consider_more() {
  Ring& ring = rings_[ring_];
  const std::uint32_t bound = memory_.ring(ring_).slot_bound();
  const std::uint32_t end = ring.bound + std::min(bound - ring.bound, kNumbersInHand);
  for (; ring.bound < end; ++ring.bound) {
    if (!is_watched(ring.bound, ring.shift)) continue;
    ring.slots.push_back({ring.bound, 0, 0});
    if (ring.slots.size() <= most_watched_) continue;
    ++ring.shift;
    std::erase_if(ring.slots,
                  [&](const Watched& one) { return !is_watched(one.slot, ring.shift); });
  }
  return ring.bound < bound;
}

void HoldWatch::look_at(Watched& watched, const lib::SharedRingView& view,
                        std::uint32_t now) const {
  // Stale is fine: it was so a moment ago.
  const lib::Mark mark{view.slots[watched.slot].mark.load(std::memory_order_relaxed)};
  const auto generation = static_cast<std::uint32_t>(mark.generation());
  if (mark.state() != lib::SlotState::kHeld) {
    watched.since = 0;
  } else if (watched.since == 0 || watched.generation != generation) {
    watched = {watched.slot, generation, now};
  }
}

void HoldWatch::tick(std::uint64_t deadline_ns) {
  std::uint64_t now_ns = monotonic_ns();
  if (started_ns_ == 0) started_ns_ = now_ns;
  const std::uint32_t first_ring = ring_;
  const std::size_t first = next_;
  bool wrapped = false;
  do {
    if (next_ == 0 && steps_ < kStepsAVisit && consider_more()) {
      ++steps_;
      now_ns = monotonic_ns();
      continue;
    }
    steps_ = 0;
    Ring& ring = rings_[ring_];
    // Rounded up: never before the look.
    const auto now = static_cast<std::uint32_t>(
        std::min<std::uint64_t>((now_ns - started_ns_ + kUnitNs - 1) / kUnitNs + 1, UINT32_MAX));
    const lib::SharedRingView view = memory_.ring(ring_);
    const bool back = wrapped && ring_ == first_ring;
    const std::size_t end = std::min(next_ + kMarksInHand,
                                     back ? std::min(first, ring.slots.size()) : ring.slots.size());
    for (; next_ < end; ++next_) look_at(ring.slots[next_], view, now);
    if (back && next_ >= first) return;
    if (next_ >= ring.slots.size()) {
      next_ = 0;
      ring_ = (ring_ + 1) % static_cast<std::uint32_t>(rings_.size());
      wrapped = wrapped || ring_ == first_ring;
      if (wrapped && first == 0) return;
    }
    now_ns = monotonic_ns();
  } while (now_ns < deadline_ns);
}

std::uint64_t HoldWatch::since_ns(const Watched& watched, lib::Mark mark,
                                  std::uint64_t now_ns) const {
  if (watched.since == 0 || watched.generation != static_cast<std::uint32_t>(mark.generation())) {
    return now_ns;
  }
  return std::min(now_ns, started_ns_ + std::uint64_t{watched.since - 1} * kUnitNs);
}

}  // namespace zeropool::daemon
