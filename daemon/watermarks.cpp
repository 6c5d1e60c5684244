// Ahead of demand: rings below their low watermark grow towards the high one, before anybody
// orders.

#include <algorithm>

#include "daemon/pool_memory_state.hpp"

namespace zeropool::daemon {
namespace {

// Of what is available, so much at once for what nobody has ordered: no class eats the others'
// share by a mere
// watermark.
constexpr std::uint64_t kSpeculativePart = 4;

}  // namespace

void PoolMemory::State::top_up() {
  step_tables();
  view.header().rings_low.exchange(0, std::memory_order_acq_rel);
  const bool paused = Clock::now() < no_top_up_before;
  std::uint64_t allowance = paused ? 0 : services.budget.available(*account) / kSpeculativePart;
  for (std::uint32_t ring = 0; ring < rings.size(); ++ring) {
    RingState& state = rings[ring];
    punch_again(ring);
    if (!state.stranded.empty()) {
      std::vector<std::uint32_t> slots;
      slots.swap(state.stranded);
      std::erase_if(slots, [&](std::uint32_t slot) { return !is_publishable(ring, slot); });
      put_in_ring(ring, slots);
    }
    // Raised before, and nothing could be done: clients do not ring for it until something can.
    std::atomic<std::uint32_t>& low = view.descriptor(ring).low;
    const bool possible = allowance >= plan.rings[ring].extent_bytes;
    const std::uint32_t wish = low.load(std::memory_order_acquire);
    // What a wish began has ended. Wishes since have not been heard: this is the look that they would have had.
    const bool ended = wish == lib::kLowUnderWay && state.growing_slots == 0;
    const bool raised = wish == lib::kLowFillUp || ended;
    const bool refused_before = wish > lib::kLowFillUp && wish != lib::kLowUnderWay;
    if (raised || (refused_before && possible)) low.store(0, std::memory_order_release);
    state.demanded = state.demanded || raised;
    if (!state.demanded) continue;
    const std::uint64_t class_bytes = plan.rings[ring].class_bytes;
    const std::uint64_t free_bytes = free_slots(ring) * class_bytes;
    if (free_bytes >= watermarks.low_bytes && !raised) continue;
    if (free_bytes >= watermarks.high_bytes) continue;
    const std::uint64_t slots =
        (watermarks.high_bytes - free_bytes + class_bytes - 1) / class_bytes;
    const std::uint64_t before = services.budget.snapshot(*account).committed_bytes;
    const GrowOutcome outcome = grow(ring, slots, allowance, GrowFor::kAhead);
    const bool grows = outcome == GrowOutcome::kStarted || outcome == GrowOutcome::kUnderWay;
    if (raised && grows) low.store(lib::kLowUnderWay, std::memory_order_release);
    if (wish == lib::kLowFillUp && !grows) {
      low.store(lib::kLowNothingToDo, std::memory_order_release);
    }
    const std::uint64_t after = services.budget.snapshot(*account).committed_bytes;
    allowance -= std::min(allowance, after > before ? after - before : 0);
  }
}

// Clients have not rung since it began (kLowUnderWay): what they took meanwhile is brought, too, until the ring is at its
// high watermark or nothing more is to be had. Clients can write the word: it costs a look at most.
void PoolMemory::State::growth_ended(std::uint32_t ring) {
  const std::uint32_t wish = view.descriptor(ring).low.load(std::memory_order_relaxed);
  if (wish == lib::kLowUnderWay) top_up();
}

std::uint64_t PoolMemory::State::free_slots(std::uint32_t ring) const {
  const lib::SharedRingView shared = ring_view(ring);
  std::uint64_t magazines = shared.cold.count_estimate(rings[ring].cells_published);
  for (std::uint32_t domain = 0; domain < shared.domain_count; ++domain) {
    magazines += shared.hot(domain).size_estimate();
  }
  return std::min(magazines * plan.rings[ring].magazine_slots, rings[ring].slots_in_service);
}

std::uint64_t PoolMemory::State::cold_slots(std::uint32_t ring) const {
  const std::uint64_t magazines = ring_view(ring).cold.count_estimate(rings[ring].cells_published);
  return std::min(magazines * plan.rings[ring].magazine_slots, rings[ring].slots_in_service);
}

}  // namespace zeropool::daemon
