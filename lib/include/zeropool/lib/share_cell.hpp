#pragma once
// A share: one slot that several processes read at once, each by a hold of its own; the last one gives the slot back.
//
//   state    63            22 21             2 1     0
//            [ version (42)  ][ tickets, client ][ state ]   tickets while Alive; who opens or ends it else
//   hold     [ count 32 ][ unused 4 ][ epoch 8 ][ client 20 ]   0: nobody's
//
// A ticket is the right to one hold: handles carry tickets from process to process. A slot's mark Shared names the
// cell, and the cell names the slot with the mark's generation: the share is where both do.
//
// Thread safety: any thread of any process, without locks: a CAS that fails has let another one succeed.
// Invariants:
//   R1  `version` grows with every change of the state word, and is never reset: a word that is found unchanged has not
//       changed in between.
//   R2  A hold is added by a client that has one (its own word goes up), with a ticket (the state word changes), by the
//       opener (before Alive), or for a moment by one whose ticket turns out to be gone. So while the state word stays
//       as it is, nobody who had no hold gets one that lasts.
//   R3  A share ends by a CAS from an Alive word without tickets that was loaded before all holds were found 0. By R2
//       and R1 there were none at the CAS. So a share never ends under a hold or a ticket.
//   R4  Whoever takes a hold away, the moment's too, looks afterwards whether it was the last. Of two who go at once one
//       sees the other gone (R-fence). What a killed one has not looked at, the reclaim of it looks at.
//   R5  A cell's ring, number, slot and note are written while it is Opening, by its opener, and stand until it is Free.
//   R6  The mark names the cell from commit_share to take_shared: all of that time the cell is Alive or Dying. A cell
//       that is Free, or names another generation, proves a mark that still names it to be damage.
//   R7  A word of a hold is changed by its client, and after that one's death by the daemon. A cell that is used again
//       may still have the moment's hold of somebody late: it is taken away as any, and at worst it ends the new share.
// Edges:
//   R-open:  the CAS mark Held -> Shared (release) carries the buffer's bytes and the cell; pairs with
//   R-join:  the load of the mark (acquire). The state word's CASes are acquire and release: who joins by a ticket sees
//            what was before it was made, who ends sees the holds of all who joined before.
//   R-drop:  the CAS that takes a hold away (release): what was read is read; pairs with the look of R3 (acquire).
//   R-fence: full fences behind it, before the look of R4.
// Crash safety (a kill of client A right after the step; "swept": by reclaim of A, which looks at every cell):
//   open 1   CAS Free -> Opening by A                  A's cell: swept, Free
//   open 2   ring, slot, note, A's hold                the same; its hold goes with A
//   open 3   CAS Opening -> Alive                      Alive, the mark does not name it: swept, no hold is left: Free
//   open 4   CAS mark Held by A -> Shared — COMMIT     shared, A's hold: swept, the slot comes back
//   hand on  CAS tickets + n — COMMIT                  n tickets: adopted, or over with the lease
//   join 1   A's hold                                  taken away with A; the ticket stays
//   join 2   CAS tickets - 1 — COMMIT                  A's hold, taken away with A
//   drop 1   A's hold - 1 — COMMIT                     perhaps nobody's: swept
//   end 1    CAS Alive -> Dying by A                   swept: the daemon ends it for A
//   end 2    CAS mark Shared -> Held by A — COMMIT     A's: reclaimed by mark; the cell, which no mark names: Free
//   end 3    CAS Dying -> Free                         A's, by mark

#include <atomic>
#include <cstdint>

#include <zeropool/lib/layout_constants.hpp>
#include <zeropool/lib/slot_mark.hpp>

namespace zeropool::inline v1::lib {

enum class ShareState : std::uint32_t { kFree = 0, kOpening = 1, kAlive = 2, kDying = 3 };

struct ShareWord {
  std::uint64_t word = 0;

  static constexpr std::uint32_t kOperandShift = 2;
  static constexpr std::uint32_t kVersionShift = 22;
  static constexpr std::uint32_t kMostTickets = (1U << kClientIdBits) - 1;

  constexpr ShareState state() const noexcept { return static_cast<ShareState>(word & 3); }
  constexpr std::uint32_t operand() const noexcept {
    return static_cast<std::uint32_t>(word >> kOperandShift) & kMostTickets;
  }
  constexpr std::uint32_t tickets() const noexcept {
    return state() == ShareState::kAlive ? operand() : 0;
  }
  // Who opens or ends it; 0: nobody does.
  constexpr std::uint32_t client() const noexcept {
    return state() == ShareState::kOpening || state() == ShareState::kDying ? operand() : 0;
  }
  // R1
  constexpr ShareWord next(ShareState state, std::uint32_t operand) const noexcept {
    return ShareWord{(((word >> kVersionShift) + 1) << kVersionShift) |
                     (std::uint64_t{operand} << kOperandShift) | static_cast<std::uint64_t>(state)};
  }
  friend constexpr bool operator==(ShareWord, ShareWord) = default;
};

struct HoldWord {
  std::uint64_t word = 0;

  static constexpr std::uint64_t kOne = std::uint64_t{1} << 32;
  static constexpr HoldWord one(std::uint32_t client, std::uint32_t epoch) noexcept {
    return HoldWord{kOne | (std::uint64_t{epoch & 0xff} << kClientIdBits) | client};
  }
  // The daemon's: instead of that of a dead client which may have I/O under way, until the slot is quarantined.
  static constexpr HoldWord daemon() noexcept { return one(kDaemonClient, 0); }

  constexpr std::uint32_t client() const noexcept {
    return static_cast<std::uint32_t>(word & kDaemonClient);
  }
  constexpr std::uint32_t count() const noexcept { return static_cast<std::uint32_t>(word >> 32); }
  // Whose it is: client and epoch.
  constexpr bool same_holder(HoldWord other) const noexcept {
    return (word & (kOne - 1)) == (other.word & (kOne - 1)) && count() != 0;
  }
};

inline constexpr std::uint32_t kShareHolders = 28;
template <template <typename> class Atom>
struct alignas(256) ShareCell {
  Atom<std::uint64_t> state;  // ShareWord
  Atom<std::uint64_t> slot;   // {generation of the mark that names this cell: 40, unused: 24}
  Atom<std::uint32_t> ring;
  Atom<std::uint32_t> number;                  // of the slot
  Atom<std::uint64_t> note;                    // TransitNote: size and type tag
  Atom<std::uint64_t> holders[kShareHolders];  // HoldWord
};

// What a cell names.
struct SharedSlot {
  std::uint32_t ring = 0;
  std::uint32_t slot = 0;
  std::uint64_t generation = 0;

  // The mark of the slot, if it names the cell.
  constexpr Mark mark(std::uint32_t cell) const noexcept {
    return Mark::make(generation, SlotState::kShared, cell);
  }
};
template <template <typename> class Atom>
SharedSlot named_by(const ShareCell<Atom>& cell) noexcept {
  return {cell.ring.load(std::memory_order_relaxed), cell.number.load(std::memory_order_relaxed),
          cell.slot.load(std::memory_order_relaxed) >> Mark::kGenerationShift};
}

// A hold more for `me`, which is HoldWord::one(). kNone: all words are others'.
template <template <typename> class Atom>
std::uint32_t add_hold(ShareCell<Atom>& cell, HoldWord me) noexcept {
  for (const bool own : {true, false}) {
    for (std::uint32_t i = 0; i < kShareHolders; ++i) {
      HoldWord found{cell.holders[i].load(std::memory_order_relaxed)};
      while (own ? found.same_holder(me) && found.count() != 0xffffffffU : found.word == 0) {
        const std::uint64_t more = own ? found.word + HoldWord::kOne : me.word;
        if (cell.holders[i].compare_exchange_strong(found.word, more, std::memory_order_acq_rel,
                                                    std::memory_order_relaxed)) {
          return i;
        }
      }
    }
  }
  return kNone;
}

// One hold less. False: `me` has none there.
template <template <typename> class Atom>
bool remove_hold(ShareCell<Atom>& cell, std::uint32_t index, HoldWord me) noexcept {
  HoldWord found{cell.holders[index].load(std::memory_order_relaxed)};
  while (found.same_holder(me)) {
    const std::uint64_t less = found.count() == 1 ? 0 : found.word - HoldWord::kOne;
    if (cell.holders[index].compare_exchange_strong(found.word, less, std::memory_order_acq_rel,
                                                    std::memory_order_relaxed)) {  // R-drop, COMMIT
      std::atomic_thread_fence(std::memory_order_seq_cst);                         // R-fence
      return true;
    }
  }
  return false;
}

// Free -> Opening.
template <template <typename> class Atom>
bool begin_share(ShareCell<Atom>& cell, std::uint32_t client) noexcept {
  ShareWord found{cell.state.load(std::memory_order_relaxed)};
  return found.state() == ShareState::kFree &&
         cell.state.compare_exchange_strong(found.word,
                                            found.next(ShareState::kOpening, client).word,
                                            std::memory_order_acq_rel, std::memory_order_relaxed);
}

// Opening or Dying -> Free, by whom the state names. False: it names another.
template <template <typename> class Atom>
bool free_share(ShareCell<Atom>& cell, std::uint32_t client) noexcept {
  ShareWord found{cell.state.load(std::memory_order_relaxed)};
  return found.client() == client &&
         cell.state.compare_exchange_strong(found.word, found.next(ShareState::kFree, 0).word,
                                            std::memory_order_acq_rel, std::memory_order_relaxed);
}

// Opening -> Alive, with the opener's hold. kNone, and Free again: no word was free for it.
template <template <typename> class Atom>
std::uint32_t open_share(ShareCell<Atom>& cell, SharedSlot name, TransitNote note,
                         HoldWord me) noexcept {
  cell.ring.store(name.ring, std::memory_order_relaxed);
  cell.number.store(name.slot, std::memory_order_relaxed);
  cell.slot.store(name.generation << Mark::kGenerationShift, std::memory_order_relaxed);
  cell.note.store(note.word, std::memory_order_relaxed);
  const std::uint32_t hold = add_hold(cell, me);
  if (hold == kNone) {
    free_share(cell, me.client());
    return kNone;
  }
  ShareWord opening{cell.state.load(std::memory_order_relaxed)};
  cell.state.compare_exchange_strong(opening.word, opening.next(ShareState::kAlive, 0).word,
                                     std::memory_order_acq_rel, std::memory_order_relaxed);
  return hold;
}

// The cell is Alive with the caller's hold. False: the slot was not `held`'s any more.
template <template <typename> class Atom>
bool commit_share(Atom<std::uint64_t>& mark, Mark held, std::uint32_t cell) noexcept {
  return mark.compare_exchange_strong(held.word, held.next(SlotState::kShared, cell).word,
                                      std::memory_order_release,
                                      std::memory_order_relaxed);  // R-open, COMMIT
}

// So many tickets more; the caller has a hold. False: there would be too many.
template <template <typename> class Atom>
bool hand_on(ShareCell<Atom>& cell, std::uint32_t tickets) noexcept {
  ShareWord found{cell.state.load(std::memory_order_relaxed)};
  do {
    if (found.state() != ShareState::kAlive ||
        tickets > ShareWord::kMostTickets - found.tickets()) {
      return false;
    }
  } while (!cell.state.compare_exchange_strong(
      found.word, found.next(ShareState::kAlive, found.tickets() + tickets).word,
      std::memory_order_acq_rel, std::memory_order_relaxed));  // COMMIT
  return true;
}

enum class JoinOutcome { kJoined, kStale, kFull };

// A hold for a ticket of the share that `shared`, the slot's mark, names. After kStale the caller must look whether it
// has taken the last hold away (R4). kFull: no word for another client; the ticket is as it was.
template <template <typename> class Atom>
JoinOutcome join_share(ShareCell<Atom>& cell, const Atom<std::uint64_t>& mark, Mark shared,
                       HoldWord me, std::uint32_t& hold) noexcept {
  hold = add_hold(cell, me);
  if (hold == kNone) return JoinOutcome::kFull;
  ShareWord found{cell.state.load(std::memory_order_acquire)};
  // The mark after the state word: it says of which share that word is (R1, R6).
  while (found.tickets() > 0 && mark.load(std::memory_order_acquire) == shared.word) {  // R-join
    if (cell.state.compare_exchange_strong(
            found.word, found.next(ShareState::kAlive, found.tickets() - 1).word,
            std::memory_order_acq_rel, std::memory_order_acquire)) {  // COMMIT
      return JoinOutcome::kJoined;
    }
  }
  remove_hold(cell, hold, me);
  hold = kNone;
  return JoinOutcome::kStale;
}

// Ends the share if no ticket is out and nobody has a hold but those that `leaves_out(index, HoldWord)` takes: Alive ->
// Dying by `client` (R3).
template <template <typename> class Atom, typename LeavesOut>
bool end_share(ShareCell<Atom>& cell, std::uint32_t client, LeavesOut leaves_out) noexcept {
  ShareWord found{cell.state.load(std::memory_order_acquire)};
  if (found.state() != ShareState::kAlive || found.tickets() != 0) return false;
  for (std::uint32_t i = 0; i < kShareHolders; ++i) {
    const HoldWord hold{cell.holders[i].load(std::memory_order_acquire)};  // R-drop
    if (hold.word != 0 && !leaves_out(i, hold)) return false;
  }
  return cell.state.compare_exchange_strong(found.word, found.next(ShareState::kDying, client).word,
                                            std::memory_order_acq_rel, std::memory_order_relaxed);
}
template <template <typename> class Atom>
bool end_share(ShareCell<Atom>& cell, std::uint32_t client) noexcept {
  return end_share(cell, client, [](std::uint32_t, HoldWord) { return false; });
}
// The same with one hold left, the caller's at `own`: then only the caller can make it more, and does not.
template <template <typename> class Atom>
bool end_own_share(ShareCell<Atom>& cell, HoldWord me, std::uint32_t own) noexcept {
  return end_share(cell, me.client(), [&](std::uint32_t i, HoldWord hold) {
    return i == own && hold.word == me.word;
  });
}

// By whom the state Dying names. False: the mark does not name the cell; nothing was done.
template <template <typename> class Atom>
bool take_shared(Atom<std::uint64_t>& mark, Mark shared, SlotState state, std::uint32_t client,
                 Mark& taken) noexcept {
  taken = shared.next(state, client);
  return mark.compare_exchange_strong(shared.word, taken.word, std::memory_order_acq_rel,
                                      std::memory_order_relaxed);  // COMMIT
}

// --- the daemon's

// Of a dead client: its holds go, or become the daemon's where the kernel may use the slot for it (`direct_io`); what it
// was opening or ending is the daemon's to end. Returns how many holds it had. Then, of all cells: daemon_ends().
template <template <typename> class Atom>
std::uint32_t disown_share(ShareCell<Atom>& cell, std::uint32_t dead, bool direct_io) noexcept {
  ShareWord word{cell.state.load(std::memory_order_acquire)};
  const bool its = word.client() == dead;
  const bool in_use =
      word.state() == ShareState::kAlive || (its && word.state() == ShareState::kDying);
  const HoldWord after = direct_io && in_use ? HoldWord::daemon() : HoldWord{};
  std::uint32_t holds = 0;
  for (auto& holder : cell.holders) {
    HoldWord hold{holder.load(std::memory_order_relaxed)};
    if (hold.word == 0 || hold.client() != dead) continue;
    if (holder.compare_exchange_strong(hold.word, after.word, std::memory_order_acq_rel,
                                       std::memory_order_relaxed)) {
      ++holds;
    }
  }
  if (its) {
    cell.state.compare_exchange_strong(word.word, word.next(ShareState::kDying, kDaemonClient).word,
                                       std::memory_order_acq_rel, std::memory_order_relaxed);
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);  // R-fence
  return holds;
}

// True: the share is the daemon's to end, because nobody else has a hold of it, or a daemon had begun.
template <template <typename> class Atom>
bool daemon_ends(ShareCell<Atom>& cell) noexcept {
  const ShareWord word{cell.state.load(std::memory_order_acquire)};
  return word.client() == kDaemonClient ||
         end_share(cell, kDaemonClient,
                   [](std::uint32_t, HoldWord hold) { return hold.client() == kDaemonClient; });
}

}  // namespace zeropool::v1::lib
