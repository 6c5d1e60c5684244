// Slots into the ring: publishing one is a put by the daemon, which held it.
//
// Trust: a magazine that the daemon owns can still be written by a hostile client. Every number is
// therefore
// kept here and not read back: lib::put_slot, which reads the count again, is for those who trust
// the segment.

#include <algorithm>

#include "daemon/pool_memory_state.hpp"
#include "zeropool/lib/ordering.hpp"

namespace zeropool::daemon {
namespace {

constexpr auto kPlain = std::memory_order_relaxed;  // the release of the magazine publishes them
constexpr int kFruitlessClaims = 8;

// The put steps of slot_transfer.hpp, with the count as the caller knows it.
void put_at(lib::SharedMagazine& magazine, std::uint32_t count, lib::SharedSlotWords& words,
            std::uint32_t slot) {
  const lib::Mark held{words.mark.load(kPlain)};
  magazine.slots[count].store(slot, kPlain);  // put 1
  lib::program_order();
  magazine.count.store(count + 1, kPlain);  // put 2: COMMIT
  lib::program_order();
  words.mark.store(held.next(lib::SlotState::kFree, 0).word, kPlain);  // put 3
  lib::program_order();
}

}  // namespace

bool PoolMemory::State::is_committed(std::uint32_t ring, std::uint32_t slot) const {
  const lib::RingPlan& from = plan.rings[ring];
  return extent_state(ring, first_extent_of(from, slot)) == ExtentState::kPublished &&
         extent_state(ring, last_extent_of(from, slot)) == ExtentState::kPublished;
}

bool PoolMemory::State::is_publishable(std::uint32_t ring, std::uint32_t slot) const {
  return !rings[ring].in_service[slot] && is_committed(ring, slot) &&
         !shares_quarantined_page(ring, slot);  // E3
}

void PoolMemory::State::publish_extent(std::uint32_t ring, std::uint32_t extent) {
  RingState& state = rings[ring];
  const SlotRange touching = slots_touching(plan.rings[ring], extent);
  publish_cells(ring);
  if (touching.end > state.slots_published) {
    state.slots_published = touching.end;
    state.in_service.resize(touching.end, false);
    view.descriptor(ring).slots_published.store(touching.end, std::memory_order_release);
  }
  std::vector<std::uint32_t> slots;
  for (std::uint32_t slot = touching.begin; slot < touching.end; ++slot) {
    if (is_publishable(ring, slot)) slots.push_back(slot);
  }
  put_in_ring(ring, slots, extent);
}

// Slots that the daemon holds, all of whose extents are published. Those that lie in `fresh_extent` nobody has had since
// it was committed; of the others it is not known who had them.
void PoolMemory::State::put_in_ring(std::uint32_t ring, const std::vector<std::uint32_t>& slots,
                                    std::uint32_t fresh_extent) {
  RingState& state = rings[ring];
  lib::SharedBatchRing shared(ring_view(ring));
  const lib::SharedRingView& seen = shared.view();
  const lib::OwnerWord me = lib::OwnerWord::daemon();
  const std::uint32_t most = plan.rings[ring].magazine_slots;
  int fruitless = 0;
  std::size_t next = 0;
  while (next < slots.size() && fruitless < kFruitlessClaims) {
    lib::ClaimStats stats;
    const std::uint32_t cell = shared.claim_empty(me, stats);
    if (cell == lib::kNone) break;
    std::uint32_t count = shared.count_of(cell);
    if (count >= most) ++fruitless;
    for (; count < most && next < slots.size(); ++count, ++next) {
      const std::uint32_t slot = slots[next];
      const bool fresh = first_extent_of(plan.rings[ring], slot) == fresh_extent &&
                         last_extent_of(plan.rings[ring], slot) == fresh_extent;
      lib::admit(seen.cells[cell], fresh ? lib::kNoUser : lib::kManyUsers);
      put_at(seen.cells[cell], count, seen.slots[slot], slot);
      state.in_service[slot] = true;
      ++state.slots_in_service;
    }
    shared.release_cold(cell, me);
  }
  // There is always room; that there was none is damage by a client. Tried again at the next
  // top_up().
  state.stranded.insert(state.stranded.end(), slots.begin() + static_cast<std::ptrdiff_t>(next),
                        slots.end());
}

}  // namespace zeropool::daemon
