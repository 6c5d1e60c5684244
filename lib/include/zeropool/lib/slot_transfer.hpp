#pragma once
// The steps that move one slot between a magazine and its holder.
//
// Thread safety: the caller owns the magazine (its owner word names the caller's thread, client or daemon).
// Invariants:
//   S1  Membership beats the mark: a slot below the count of a magazine is in it, whatever its mark says.
//   S2  The mark is written before the count goes down, and after it has gone up, so that a slot is at any
//       instant in a magazine, or marked with its holder, or both; never neither.
// Crash safety (a kill after the step; M: the magazine's owner word names the dead):
//   get 1  mark = held by me       in M and marked: S1, reclaim step 1 clears the mark
//   get 2  count - 1 — COMMIT      held by the dead: reclaim step 2 puts it back
//   put 1  slots[count] = slot     not yet visible; still marked held: reclaim step 2
//   put 2  count + 1 — COMMIT      in M; the old mark is ignored: S1, reclaim step 1
//   put 3  mark = free, next gen   done
// A put of many does put 1 to 3 for all of them at a time, and before them, for each:
//   put 0  mark = held by me, next gen   still the dead's: reclaim step 2
// so that a slot that is named twice, in one batch or by two threads, is put once: its mark differs the second time.

#include <atomic>
#include <cstdint>

#include <zeropool/lib/magazine.hpp>
#include <zeropool/lib/ordering.hpp>
#include <zeropool/lib/slot_mark.hpp>

namespace zeropool::inline v1::lib {

enum class TakeOutcome { kTaken, kEmpty, kDropped };

// Takes the slot put last. `slot` and `mark` (as it now stands) are set when kTaken. kDropped: the top entry
// was not a free slot below `slot_bound`; it is gone from the magazine, its number is in `slot`.
template <template <typename> class Atom>
TakeOutcome take_slot(Magazine<Atom>& magazine, SlotWords<Atom>* slots, std::uint32_t slot_bound,
                      std::uint64_t holder_bits, std::uint32_t& slot, Mark& mark) noexcept {
  const std::uint32_t top = magazine.count.load(std::memory_order_relaxed) - 1;
  if (top >= kMaxMagazineSlots) return TakeOutcome::kEmpty;
  slot = magazine.slots[top].load(std::memory_order_relaxed);
  if (slot >= slot_bound) {
    magazine.count.store(top, std::memory_order_relaxed);
    return TakeOutcome::kDropped;
  }
  const Mark found{slots[slot].mark.load(std::memory_order_relaxed)};
  if (!found.is_free()) {
    magazine.count.store(top, std::memory_order_relaxed);
    return TakeOutcome::kDropped;
  }
  mark = Mark{(found.word & ~Mark::kHolderMask) | holder_bits};
  slots[slot].mark.store(mark.word, std::memory_order_relaxed);  // get 1
  program_order();
  magazine.count.store(top, std::memory_order_relaxed);  // get 2: COMMIT
  program_order();
  return TakeOutcome::kTaken;
}

// put 0 of a put of many. False, and nothing done: its mark is not `held`. On success `held` is the new mark.
template <template <typename> class Atom>
[[gnu::always_inline]] inline bool begin_put(SlotWords<Atom>* slots, std::uint32_t slot_bound,
                                             std::uint32_t slot, Mark& held) noexcept {
  if (slot >= slot_bound) return false;
  Atom<std::uint64_t>& mark = slots[slot].mark;
  if (mark.load(std::memory_order_relaxed) != held.word) return false;
  held.word += std::uint64_t{1} << Mark::kGenerationShift;  // the last one is followed by the first
  mark.store(held.word, std::memory_order_relaxed);
  return true;
}

// Puts a slot that the caller holds (its mark says so) into a magazine. False, and nothing done: no room. The
// count is read once: whoever writes it meanwhile (a hostile client into a magazine of the daemon's) leads no
// store outside the cell.
template <template <typename> class Atom>
bool put_slot(Magazine<Atom>& magazine, SlotWords<Atom>* slots, std::uint32_t slot,
              Mark held) noexcept {
  const std::uint32_t count = magazine.count.load(std::memory_order_relaxed);
  if (count >= kMaxMagazineSlots) return false;
  magazine.slots[count].store(slot, std::memory_order_relaxed);  // put 1
  program_order();
  magazine.count.store(count + 1, std::memory_order_relaxed);  // put 2: COMMIT
  program_order();
  slots[slot].mark.store(held.next(SlotState::kFree, 0).word, std::memory_order_relaxed);  // put 3
  program_order();
  return true;
}

}  // namespace zeropool::v1::lib
