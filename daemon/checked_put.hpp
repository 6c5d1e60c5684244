#pragma once
// The put steps of slot_transfer.hpp for a process that trusts no word in shared memory: the count is read once
// and held to the magazine's size.
//
// Thread safety, invariants and crash safety: as in slot_transfer.hpp (S1, S2).

#include <atomic>

#include "zeropool/lib/control_view.hpp"
#include "zeropool/lib/ordering.hpp"

namespace zeropool::daemon {

// False: the magazine has no room (any more); nothing was done.
inline bool put_checked(const lib::SharedRingView& ring, std::uint32_t cell, std::uint32_t slot,
                        lib::Mark held) noexcept {
  lib::SharedMagazine& magazine = ring.cells[cell];
  const std::uint32_t count = magazine.count.load(std::memory_order_relaxed);
  if (count >= ring.magazine_slots || count >= lib::kMaxMagazineSlots) return false;
  lib::admit(magazine, lib::kManyUsers);                         // whose it was is not known here
  magazine.slots[count].store(slot, std::memory_order_relaxed);  // put 1
  lib::program_order();
  magazine.count.store(count + 1, std::memory_order_relaxed);  // put 2: COMMIT
  lib::program_order();
  ring.slots[slot].mark.store(held.next(lib::SlotState::kFree, 0).word,
                              std::memory_order_relaxed);  // put 3
  return true;
}

}  // namespace zeropool::daemon
