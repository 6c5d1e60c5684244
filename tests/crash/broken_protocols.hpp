#pragma once
// Protocols broken on purpose, by hand, in the same shared memory: each must be found by a sweep.

#include <zeropool/lib/slot_mark.hpp>

#include "tests/integration/support/kill_scene.hpp"

namespace zeropool::testing::broken {

using Ring = zeropool::detail::RingCache;

inline Ring& ring_of(Victim& victim) {
  const std::uint32_t index = zeropool::detail::state_of(victim.pool.c_pool())->index;
  return zp_v1_thread->caches[index].load()->home[0];
}
inline std::uint64_t held_bits(Victim& victim) {
  return lib::Mark::holder_bits(lib::SlotState::kHeld, victim.pool.client_id());
}

inline void get_with_count_before_mark(Victim& victim) {
  Ring& ring = ring_of(victim);
  const std::uint32_t top = ring.loaded->count.load() - 1;
  const std::uint32_t slot = ring.loaded->slots[top].load();
  ring.loaded->count.store(top);
  const lib::Mark found{ring.slots[slot].mark.load()};
  ring.slots[slot].mark.store((found.word & ~lib::Mark::kHolderMask) | held_bits(victim));
}

inline void put_with_mark_before_count(Victim& victim) {
  Ring& ring = ring_of(victim);
  const std::uint32_t slot = slot_of(victim.held.back());
  const lib::Mark held{ring.slots[slot].mark.load()};
  ring.slots[slot].mark.store(held.next(lib::SlotState::kFree, 0).word);
  const std::uint32_t count = ring.loaded->count.load();
  ring.loaded->slots[count].store(slot);
  ring.loaded->count.store(count + 1);
}

inline void release_before_the_mark(Victim& victim) {
  Ring& ring = ring_of(victim);
  const std::uint32_t slot = slot_of(victim.held.back());
  const lib::Mark held{ring.slots[slot].mark.load()};
  const std::uint32_t count = ring.loaded->count.load();
  ring.loaded->slots[count].store(slot);
  ring.loaded->count.store(count + 1);
  ring.loaded->owner.store(0);
  ring.slots[slot].mark.store(held.next(lib::SlotState::kFree, 0).word);
}

inline Operation operation(void (*run)(Victim&)) {
  return {.prepare = [](Victim& v) { v.take(4), v.put(2); }, .run = run};
}

}  // namespace zeropool::testing::broken
