#pragma once
// A slot's way from one process to another: release -> handle -> adopt.
//
// Thread safety: any number of adopters may race for a handle, and any number of the holder's threads to release one
// buffer; a CAS of the mark lets one win.
// Invariants:
//   H1  Each release starts a new generation, so a handle names one hand-off and no other.
//   H2  The note is written before the mark says InTransit, and read before the CAS that adopts.
//   H3  Only who has moved the mark to the hand-off's generation writes the note: who lost that CAS writes nothing.
// Edges:
//   H-release: the store Held -> InTransit (release) carries the buffer's bytes and the note; pairs with
//   H-adopt:   the CAS InTransit -> Held (acquire).
// Crash safety:
//   release 1  CAS mark Held by A -> Held by A, next generation   A's: reclaimed by mark
//   release 2  note                                               A's: reclaimed by mark
//   release 3  mark = InTransit from A — COMMIT                   comes back by lease, receiver's death, or adopter
//   adopt      CAS mark InTransit -> Held by B — COMMIT           B's: reclaimed by mark

#include <atomic>
#include <cstdint>

#include <zeropool/lib/slot_mark.hpp>

namespace zeropool::inline v1::lib {

// `held` is the mark that names the caller. False: the slot is not the caller's. On success `generation` is the
// handle's.
template <template <typename> class Atom>
bool begin_hand_off(SlotWords<Atom>& slot, Mark held, TransitNote note,
                    std::uint64_t& generation) noexcept {
  // Before the CAS, so that a lost one costs no line of another's.
  if (slot.mark.load(std::memory_order_relaxed) != held.word) return false;
  const Mark mine = held.next(SlotState::kHeld, held.client());
  std::uint64_t expected = held.word;
  if (!slot.mark.compare_exchange_strong(expected, mine.word, std::memory_order_relaxed)) {  // H3
    return false;
  }
  slot.note.store(note.word, std::memory_order_relaxed);
  const Mark transit = mine.with_holder(SlotState::kInTransit, held.client());
  slot.mark.store(transit.word, std::memory_order_release);  // H-release — COMMIT
  generation = transit.generation();
  return true;
}

// What the release wrote, before anybody adopts: for who would not adopt everything. False: the handle is stale. Another
// may adopt meanwhile; then the note may be a later hand-off's, and only end_hand_off() tells. So who adopts decides by
// the note (H2: the CAS that succeeds proves it the hand-off's own), and who refuses harms nobody.
template <template <typename> class Atom>
bool read_hand_off(const SlotWords<Atom>& slot, std::uint64_t generation,
                   TransitNote& note) noexcept {
  const Mark found{slot.mark.load(std::memory_order_acquire)};
  if (found.state() != SlotState::kInTransit || found.generation() != generation) return false;
  note = TransitNote{slot.note.load(std::memory_order_acquire)};
  return slot.mark.load(std::memory_order_relaxed) == found.word;
}

// False: the handle is stale (adopted already, taken back, expired, or forged).
template <template <typename> class Atom>
bool end_hand_off(SlotWords<Atom>& slot, std::uint64_t generation, std::uint32_t adopter,
                  TransitNote& note) noexcept {
  Mark found{slot.mark.load(std::memory_order_acquire)};
  if (found.state() != SlotState::kInTransit || found.generation() != generation) return false;
  note = TransitNote{slot.note.load(std::memory_order_relaxed)};
  return slot.mark.compare_exchange_strong(
      found.word, found.with_holder(SlotState::kHeld, adopter).word, std::memory_order_acquire,
      std::memory_order_relaxed);  // H-adopt — COMMIT
}

}  // namespace zeropool::v1::lib
