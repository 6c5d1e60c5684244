// Slots out of the ring, extents out: withdrawing a slot is a get by the daemon.
//
//   1  choose extents all of whose slots seem to lie in magazines of the ring (a plain look, may be
//      wrong)
//   2  ledger: draining; drain_begin and drain_end tell clients to pass over magazines with their
//      slots
//   3  claim those magazines, take their slots out by get steps, put the others back by put steps
//   4  an extent whose slots are all withdrawn: ledger: punching, punch, ledger: absent, refund; where the kernel
//      refuses the punch, the extent stays charged, and is punched at a later trim() or top_up()
//   5  the slots of the others go back into the ring; ledger: published
//
// After a kill in 2 to 5 the ledger says which extents were meant, and Absent marks which slots the
// daemon has.

#include <algorithm>
#include <limits>
#include <numeric>

#include "daemon/pool_memory_state.hpp"
#include "daemon/ring_look.hpp"
#include "zeropool/lib/slot_transfer.hpp"
#include "zeropool/lib/tracepoint.hpp"

namespace zeropool::daemon {
namespace {

constexpr auto kPlain = std::memory_order_relaxed;
constexpr std::uint64_t kMostExtents = 128;  // of one call: the loop must not stand still
constexpr int kRestAfterLook = 4;            // times what a look that found nothing took

// Each slot once, ascending: however many pins name it, it is looked at once.
std::vector<SlotRange> joined(std::vector<SlotRange> ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const SlotRange& a, const SlotRange& b) { return a.begin < b.begin; });
  std::vector<SlotRange> result;
  for (const SlotRange range : ranges) {
    if (!result.empty() && range.begin <= result.back().end) {
      result.back().end = std::max(result.back().end, range.end);
    } else {
      result.push_back(range);
    }
  }
  return result;
}

}  // namespace

bool PoolMemory::State::is_trimmed_for(std::uint32_t ring, ReleaseReason reason) const {
  if (reason == ReleaseReason::kOrder) return Clock::now() >= rings[ring].no_look_before;
  if (reason != ReleaseReason::kPressure) return true;
  const lib::PageKind kind = plan.shape.arenas[plan.rings[ring].arena].page_kind;
  return kind == lib::PageKind::kSmall4KiB || kind == lib::PageKind::kTransparent;
}

// For the system, and for orders of other pools, no reservation is touched: it would be of no use to them. A smaller
// budget or limit may take the rest of an extent of it, which the pool can have back.
std::uint64_t PoolMemory::State::most_released(std::uint32_t except_ring,
                                               ReleaseReason reason) const {
  const bool of_another = reason == ReleaseReason::kOrder && except_ring == lib::kNone;
  if (!of_another && reason != ReleaseReason::kPressure) {
    return std::numeric_limits<std::uint64_t>::max();
  }
  const PoolAccount books = services.budget.snapshot(*account);
  return books.committed_bytes - std::min(books.committed_bytes, books.reserved_bytes);
}

TrimReport PoolMemory::State::trim(std::uint64_t wanted_bytes, std::uint32_t except_ring,
                                   ReleaseReason reason) {
  TrimReport report;
  for (std::uint32_t ring = 0; ring < rings.size(); ++ring) punch_again(ring);
  std::vector<std::uint32_t> order(rings.size());
  std::iota(order.begin(), order.end(), 0U);
  std::vector<std::uint64_t> cold(rings.size());
  for (const std::uint32_t ring : order)
    cold[ring] = cold_slots(ring) * plan.rings[ring].class_bytes;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return cold[a] > cold[b]; });
  const std::uint64_t most = most_released(except_ring, reason);
  for (const std::uint32_t ring : order) {
    if (ring == except_ring || !is_trimmed_for(ring, reason)) continue;
    if (report.bytes >= wanted_bytes || report.extents >= kMostExtents) break;
    std::uint64_t wanted = wanted_bytes - report.bytes;
    if (reason == ReleaseReason::kPressure) wanted = std::min(wanted, cold[ring]);
    // Whole extents are released: as many as it takes, but none too many.
    const std::uint64_t extent = plan.rings[ring].extent_bytes;
    wanted = std::min(wanted, (most - report.bytes) / extent * extent);
    if (wanted == 0) continue;
    const std::uint64_t before = report.extents;
    const Clock::time_point begin = Clock::now();
    trim_ring(ring, wanted, report);
    if (report.extents == before) {
      const Clock::time_point end = Clock::now();
      rings[ring].no_look_before = end + (end - begin) * kRestAfterLook;
    }
  }
  count_release(report, reason);
  return report;
}

void PoolMemory::State::count_release(const TrimReport& report, ReleaseReason reason) {
  lib::tracepoint::trim(plan.shape.name.c_str(), report.extents, report.bytes,
                        static_cast<std::uint32_t>(reason));
  counts.trims += report.extents;
  counts.trimmed_bytes += report.bytes;
  counts.released_bytes[static_cast<std::size_t>(reason)] += report.bytes;
}

void PoolMemory::State::trim_ring(std::uint32_t ring, std::uint64_t wanted_bytes,
                                  TrimReport& report) {
  const lib::RingPlan& from = plan.rings[ring];
  const std::uint64_t most =
      std::min(kMostExtents - report.extents, (wanted_bytes - 1) / from.extent_bytes + 1);
  const std::vector<std::uint32_t> extents = idle_extents(ring, most);
  if (extents.empty()) return;
  std::vector<bool> wanted(rings[ring].slots_published, false);
  for (const std::uint32_t extent : extents) {
    const SlotRange slots = slots_touching(from, extent);
    for (std::uint32_t slot = slots.begin; slot < slots.end && slot < wanted.size(); ++slot) {
      wanted[slot] = true;
    }
    set_extent_state(ring, extent, ExtentState::kDraining);
  }
  // They are highest first; the words bound them, with what lies between.
  const std::vector<std::uint32_t> withdrawn = withdraw(
      ring, wanted,
      {slots_touching(from, extents.back()).begin, slots_touching(from, extents.front()).end});

  const std::vector<bool> pinned = pinned_extents(ring);
  for (const std::uint32_t extent : extents) {
    if (!pinned[extent] && is_withdrawn(ring, extent)) {
      if (!punch_extent(ring, extent)) continue;
      ++report.extents;
      report.bytes += from.extent_bytes;
    } else {
      set_extent_state(ring, extent, ExtentState::kPublished);
    }
  }
  std::vector<std::uint32_t> kept;
  for (const std::uint32_t slot : withdrawn) {
    if (is_publishable(ring, slot)) kept.push_back(slot);
  }
  put_in_ring(ring, kept);
}

// Published extents all of whose slots in service lie in the ring, as it seems; highest first.
std::vector<std::uint32_t> PoolMemory::State::idle_extents(std::uint32_t ring,
                                                           std::uint64_t most) const {
  const RingState& state = rings[ring];
  const lib::RingPlan& from = plan.rings[ring];
  if (state.slots_published == 0) return {};
  const std::uint32_t extents = last_extent_of(from, state.slots_published - 1) + 1;
  std::vector<std::uint32_t> missing(std::min(extents, from.extent_count), 0);
  const std::vector<bool> in_use = slots_in_use(ring);
  const auto each_extent = [&](std::uint32_t slot, auto&& change) {
    const std::uint32_t first = first_extent_of(from, slot);
    const std::uint32_t last = last_extent_of(from, slot);
    change(first);
    if (last != first) change(last);
  };
  for (std::uint32_t slot = 0; slot < state.slots_published; ++slot) {
    if (in_use[slot]) each_extent(slot, [&](std::uint32_t extent) { ++missing[extent]; });
  }
  const std::vector<bool> pinned = pinned_extents(ring);
  std::vector<std::uint32_t> found;
  for (std::uint32_t extent = static_cast<std::uint32_t>(missing.size()); extent-- > 0;) {
    if (found.size() >= most) break;
    if (missing[extent] == 0 && !pinned[extent] &&
        !state.quarantine.slots.touches(slots_touching(from, extent)) &&
        extent_state(ring, extent) == ExtentState::kPublished) {
      found.push_back(extent);
    }
  }
  return found;
}

// Slots in service that do not seem to lie in a magazine of the ring.
std::vector<bool> PoolMemory::State::slots_in_use(std::uint32_t ring) const {
  const RingState& state = rings[ring];
  const lib::SharedRingView shared = ring_view(ring);
  std::vector<bool> in_use = state.in_service;
  for (std::uint32_t cell = 0; cell < state.cells_published; ++cell) {
    for_each_entry(shared.cells[cell], plan.rings[ring].magazine_slots, state.slots_published,
                   [&](std::uint32_t slot) { in_use[slot] = false; });
  }
  return in_use;
}

std::vector<SlotRange> PoolMemory::State::pinned_slots(std::uint32_t ring) const {
  const lib::RingPlan& from = plan.rings[ring];
  std::vector<SlotRange> pinned;
  const auto* pins =
      reinterpret_cast<const lib::PinCell<std::atomic>*>(view.base() + plan.pins_offset);
  for (std::uint32_t i = 0; i < tables[kPins].published; ++i) {
    if (pins[i].owner.load(std::memory_order_acquire) == 0 || pins[i].ring.load(kPlain) != ring)
      continue;
    const std::uint32_t first = pins[i].first_slot.load(kPlain);
    const std::uint32_t count = pins[i].slot_count.load(kPlain);
    if (first >= from.slot_capacity || count == 0) continue;
    pinned.push_back({first, first + std::min(count, from.slot_capacity - first)});
  }
  return joined(std::move(pinned));
}

std::uint64_t PoolMemory::State::pinned_bytes(std::uint32_t arena) const {
  std::uint64_t bytes = 0;
  for (std::uint32_t ring = 0; ring < rings.size(); ++ring) {
    if (plan.rings[ring].arena != arena) continue;
    for (const SlotRange slots : pinned_slots(ring)) {
      const std::uint32_t end = std::min(slots.end, rings[ring].slots_published.load());
      bytes += std::uint64_t{end - std::min(slots.begin, end)} * plan.rings[ring].class_bytes;
    }
  }
  return bytes;
}

std::vector<bool> PoolMemory::State::pinned_extents(std::uint32_t ring) const {
  const lib::RingPlan& from = plan.rings[ring];
  std::vector<bool> pinned(from.extent_count, false);
  for (const SlotRange slots : pinned_slots(ring)) {
    for (std::uint32_t e = first_extent_of(from, slots.begin);
         e <= last_extent_of(from, slots.end - 1); ++e)
      pinned[e] = true;
  }
  return pinned;
}

// Takes the wanted slots, all of them in `window`, out of the ring's magazines. What it got, each once.
std::vector<std::uint32_t> PoolMemory::State::withdraw(std::uint32_t ring,
                                                       const std::vector<bool>& wanted,
                                                       SlotRange window) {
  const RingState& state = rings[ring];
  const lib::SharedRingView shared = ring_view(ring);
  lib::RingDescriptor& descriptor = view.descriptor(ring);
  descriptor.drain_begin.store(window.begin, kPlain);
  descriptor.drain_end.store(window.end, std::memory_order_release);
  std::vector<std::uint32_t> withdrawn;
  for (std::uint32_t cell = 0; cell < state.cells_published; ++cell) {
    bool has_wanted = false;
    for_each_entry(shared.cells[cell], plan.rings[ring].magazine_slots, state.slots_published,
                   [&](std::uint32_t slot) { has_wanted = has_wanted || wanted[slot]; });
    if (has_wanted) withdraw_from(ring, cell, wanted, withdrawn);
  }
  descriptor.drain_end.store(0, std::memory_order_release);
  descriptor.drain_begin.store(0, kPlain);
  return withdrawn;
}

void PoolMemory::State::withdraw_from(std::uint32_t ring, std::uint32_t cell,
                                      const std::vector<bool>& wanted,
                                      std::vector<std::uint32_t>& withdrawn) {
  RingState& state = rings[ring];
  lib::SharedBatchRing shared(ring_view(ring));
  const lib::SharedRingView& seen = shared.view();
  const lib::OwnerWord me = lib::OwnerWord::daemon();
  if (!shared.try_claim(cell, me)) return;
  // Claimed by its number, not by its hints: those would speak of free slots that are not there.
  lib::HintBitmap<std::atomic> cold = seen.cold;
  lib::HintBitmap<std::atomic> partial = seen.partial;
  cold.clear(cell);
  partial.clear(cell);
  const std::uint64_t absent = lib::Mark::holder_bits(lib::SlotState::kAbsent, 0);
  std::vector<std::uint32_t> others;
  for (std::uint32_t i = 0; i < lib::kMaxMagazineSlots; ++i) {
    std::uint32_t slot = lib::kNone;
    lib::Mark mark;
    const auto outcome =
        lib::take_slot(seen.cells[cell], seen.slots, state.slots_published, absent, slot, mark);
    if (outcome == lib::TakeOutcome::kEmpty) break;
    // A forged entry for a slot that is not in the ring's service gives nobody anything.
    if (outcome == lib::TakeOutcome::kDropped || !state.in_service[slot]) continue;
    state.in_service[slot] = false;
    --state.slots_in_service;
    (wanted[slot] ? withdrawn : others).push_back(slot);
  }
  shared.release_cold(cell, me);
  put_in_ring(ring, others);
}

// E1, P3
bool PoolMemory::State::is_withdrawn(std::uint32_t ring, std::uint32_t extent) const {
  const RingState& state = rings[ring];
  const SlotRange slots = slots_touching(plan.rings[ring], extent);
  for (std::uint32_t slot = slots.begin; slot < slots.end && slot < state.slots_published; ++slot) {
    if (state.in_service[slot]) return false;
  }
  return !state.quarantine.slots.touches(slots);
}

bool PoolMemory::State::punch_extent(std::uint32_t ring, std::uint32_t extent) {
  RingState& state = rings[ring];
  set_extent_state(ring, extent, ExtentState::kPunching);
  std::erase_if(state.stranded, [&](std::uint32_t slot) {
    return first_extent_of(plan.rings[ring], slot) == extent ||
           last_extent_of(plan.rings[ring], slot) == extent;
  });
  // Here, not by the commit thread: a punch takes microseconds, its queue may hold gigabytes of
  // commits.
  if (finish_punch(ring, extent)) return true;
  state.unpunched.push_back(extent);  // stays punching, and charged
  return false;
}

bool PoolMemory::State::finish_punch(std::uint32_t ring, std::uint32_t extent) {
  RingState& state = rings[ring];
  const std::uint64_t bytes = plan.rings[ring].extent_bytes;
  if (punch_range(extent_range(ring, extent)).outcome != CommitOutcome::kDone) return false;
  set_extent_state(ring, extent, ExtentState::kAbsent);
  state.lowest_absent = std::min(state.lowest_absent, extent);
  ArenaState& arena = arenas[plan.rings[ring].arena];
  arena.committed_bytes -= bytes;
  arena.forget_misplaced(state.first_extent + extent);
  refund(bytes);
  return true;
}

// What the kernel refused to punch, once more.
void PoolMemory::State::punch_again(std::uint32_t ring) {
  std::erase_if(rings[ring].unpunched,
                [&](std::uint32_t extent) { return finish_punch(ring, extent); });
}

}  // namespace zeropool::daemon
