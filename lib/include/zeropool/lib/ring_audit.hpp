#pragma once
// RingAudit: looks for damage in one ring, a few words at a time, while clients work in it; mends what is proven.
//
// A pass: (1) every magazine, (2) every mark, and, where slots were seen nowhere or twice, (3) every magazine once
// more, for those slots alone, then (4) the verdict.
//
// Thread safety: the daemon's one thread; clients go on. Facts are the daemon's own (what it knows without shared
// memory): known(client), in_service(slot), quarantined(slot), shared(slot, mark), barrier(), outlived(kind, index, word).
// Invariants (what is concluded, and why no word that honest clients write can lead to it):
//   G1  A count, an entry or an entry's mark is judged only in a magazine that the daemon has claimed by CAS from 0.
//       There C1 to C3 hold: count within bounds, entries distinct, in service, Free; A1 has made them visible.
//   G2  A word that names a client which is neither attached nor departed was not written by a client: ids are given
//       out, and taken back, by this thread, and a client writes no id but its own.
//   G3  A slot that is not in service has an Absent mark, or a Quarantined one while its pages are being replaced: only
//       the daemon has it, and this thread is the daemon.
//   G4  A slot whose mark was Free, with one generation, before all magazines were looked at and after it, lay in one
//       and the same magazine all the while (S2: else it would have been marked with a holder; M2: the next Free has
//       another generation). If it was in none of them, it is in none. The barrier between the first look at the
//       mark and the look at the magazines lets every put that wrote such a mark be seen whole; the one between the
//       magazines and the second look lets every get be seen whole whose count was seen: on a machine that lets stores
//       pass each other (arm64) the lower count may come before the mark. Orphaned: the same.
//   G5  A slot below the counts of two magazines which both are the daemon's is there twice: one entry too many.
//   G6  Where a word that says who uses something was overwritten (a mark that names nobody, of a slot in no magazine;
//       an owner word that names nobody), a client may use it still. It is withheld until every client that was
//       attached when it was first seen has gone: then nobody can (a later one cannot get it).
// Crash safety (the owner word is the daemon's; a later daemon takes it up as its own leftover):
//   claim, release         as any
//   count cut, mark = Free one store, as reclaim step 1                       again: same
//   entry dropped          get steps down to it, in the daemon's name; then put steps for the good ones. A kill in
//                          between leaves Absent marks of slots in no magazine: the take-up puts them into the ring
//   slot given back        CAS mark -> Absent, put steps: as above
//   not in service         CAS mark -> Absent, or Quarantined                 again: same

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include <zeropool/lib/batch_ring.hpp>
#include <zeropool/lib/slot_transfer.hpp>

namespace zeropool::inline v1::lib {

// What a pass has found, by kind; all but `withheld` is mended.
struct RingFindings {
  std::uint64_t counts = 0;  // of magazines, beyond what one can hold: cut
  std::uint64_t entries =
      0;  // that name no slot in service, or one that has a holder, or one twice: dropped
  std::uint64_t marks = 0;   // that name nobody: written anew
  std::uint64_t owners = 0;  // magazines whose owner word names nobody: given back
  std::uint64_t lost = 0;    // slots in no magazine that nobody holds: given back
  std::uint64_t withheld =
      0;  // slots and magazines that a client of that moment may still use (G6)

  std::uint64_t repairs() const noexcept { return counts + entries + marks + owners + lost; }
  RingFindings& operator+=(const RingFindings& other) noexcept {
    counts += other.counts;
    entries += other.entries;
    marks += other.marks;
    owners += other.owners;
    lost += other.lost;
    withheld += other.withheld;
    return *this;
  }
};

enum class Withheld : std::uint32_t { kSlot, kMagazine };

template <template <typename> class Atom, typename Facts>
class RingAudit {
 public:
  // Of one pass: the rest waits for the next one, which begins where this one's list was full.
  static constexpr std::size_t kMostSuspects = 1024;

  // A new pass. `first_slot`: where to begin with suspects; that of the pass before. `turn`: of passes, so that each
  // begins with another magazine.
  void begin(const RingView<Atom>& view, std::uint32_t first_slot, std::uint32_t turn) {
    phase_ = Phase::kMagazines;
    cursor_ = 0;
    const std::uint32_t slot_bound = view.slot_bound();
    bound_ = slot_bound;
    cells_ = view.cell_bound();
    first_cell_ = cells_ == 0 ? 0 : turn * 0x9e3779b1U % cells_;
    first_slot_ = first_slot < slot_bound ? first_slot : 0;
    next_first_slot_ = 0;
    bits_.assign((std::size_t{slot_bound} + 63) / 64, 0);
    suspects_.clear();
    findings_ = {};
  }
  bool done() const noexcept { return phase_ == Phase::kDone; }
  const RingFindings& findings() const noexcept { return findings_; }
  std::uint32_t next_first_slot() const noexcept { return next_first_slot_; }

  // Looks at so many magazines or marks; the verdict is one step.
  void step(const RingView<Atom>& view, Facts& facts, std::uint32_t most) {
    BatchRing<Atom> ring(view);
    Look look{view, ring, facts, view.slot_bound()};
    for (; most > 0 && !done(); --most) {
      switch (phase_) {
        case Phase::kMagazines:
          if (cursor_ < cells_) {
            look_at_magazine(look, (first_cell_ + cursor_++) % cells_);
          } else {
            enter(Phase::kMarks);
          }
          break;
        case Phase::kMarks:
          if (cursor_ < bound_) {
            look_at_mark(look, (first_slot_ + cursor_++) % bound_);
          } else {
            begin_proof(facts);
          }
          break;
        case Phase::kProof:
          if (cursor_ < view.cell_bound()) {
            look_for_suspects(look, cursor_++);
          } else if (facts.barrier()) {  // G4
            give_verdict(look);
          } else {
            enter(Phase::kDone);
          }
          break;
        case Phase::kDone: break;
      }
    }
  }

 private:
  enum class Phase { kMagazines, kMarks, kProof, kDone };
  struct Look {
    const RingView<Atom>& view;
    BatchRing<Atom>& ring;
    Facts& facts;
    std::uint32_t slot_bound;
  };
  struct Suspect {
    std::uint32_t slot = kNone;
    std::uint32_t cell = kNone;  // twice: the first magazine of the ring that it was found in
    std::uint64_t mark = 0;
    bool twice = false;
    bool found = false;
  };
  static constexpr OwnerWord kMe = OwnerWord::daemon();
  static constexpr auto kPlain = std::memory_order_relaxed;

  void enter(Phase phase) noexcept {
    phase_ = phase;
    cursor_ = 0;
  }
  bool bit(std::uint32_t slot) const noexcept { return (bits_[slot / 64] >> (slot % 64) & 1) != 0; }
  void set_bit(std::uint32_t slot) noexcept { bits_[slot / 64] |= std::uint64_t{1} << (slot % 64); }

  // G2. Between two steps of its own the daemon owns no magazine.
  static bool names_nobody(OwnerWord owner, Facts& facts) {
    if (owner.in_ring()) return false;
    const bool client = owner.kind() == OwnerKind::kThread || owner.kind() == OwnerKind::kGrant;
    return !client || !facts.known(owner.client());
  }
  // Of a slot in service: neither in the ring nor with anybody, whatever it says.
  static bool names_nobody(std::uint32_t slot, Mark mark, Facts& facts) {
    switch (mark.state()) {
      case SlotState::kHeld:
      case SlotState::kInTransit: return !facts.known(mark.client());
      case SlotState::kShared: return !facts.shared(slot, mark);  // share_cell.hpp, R6
      case SlotState::kQuarantined: return false;
      default: return !mark.is_free();
    }
  }
  // Says by itself that nobody has the slot (G4).
  static bool says_nobody(Mark mark) noexcept {
    return mark.is_free() || mark.is(SlotState::kOrphaned, 0);
  }

  static bool appears_below(const Magazine<Atom>& magazine, std::uint32_t top,
                            std::uint32_t slot) noexcept {
    for (std::uint32_t i = 0; i < top; ++i) {
      if (magazine.slots[i].load(kPlain) == slot) return true;
    }
    return false;
  }

  // --- 1: magazines. A plain look finds what is odd; it is judged after a claim.
  void look_at_magazine(Look& look, std::uint32_t cell) {
    Magazine<Atom>& magazine = look.view.cells[cell];
    const OwnerWord owner{magazine.owner.load(std::memory_order_acquire)};
    const bool odd = note_entries(look, magazine, owner.in_ring());
    if (owner.in_ring()) {
      if (odd && look.ring.try_claim(cell, kMe)) {
        mend(look, magazine);
        look.ring.release_cold(cell, kMe);
      }
    } else if (names_nobody(owner, look.facts)) {
      take_over(look, cell, owner);
    }
  }

  bool note_entries(Look& look, const Magazine<Atom>& magazine, bool in_ring) {
    std::uint32_t count = magazine.count.load(kPlain);
    bool odd = count > look.view.magazine_slots;
    if (odd) count = look.view.magazine_slots;
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t slot = magazine.slots[i].load(kPlain);
      if (slot >= look.slot_bound || !look.facts.in_service(slot)) {
        odd = true;
        continue;
      }
      if (slot >= bound_) continue;  // published since the pass began
      if (in_ring) {
        odd = odd || !Mark{look.view.slots[slot].mark.load(kPlain)}.is_free();
        if (bit(slot)) {
          odd = odd || appears_below(magazine, i, slot);
          suspect_twice(slot);
        }
      }
      set_bit(slot);
    }
    return odd;
  }

  void suspect_twice(std::uint32_t slot) {
    if (suspects_.size() >= kMostSuspects / 2) return;  // the others get their half
    Suspect suspect;
    suspect.slot = slot;
    suspect.twice = true;
    suspects_.push_back(suspect);
  }

  // G6
  void take_over(Look& look, std::uint32_t cell, OwnerWord owner) {
    if (!look.facts.outlived(Withheld::kMagazine, cell, owner.word)) {
      ++findings_.withheld;
      return;
    }
    std::uint64_t expected = owner.word;
    if (!look.view.cells[cell].owner.compare_exchange_strong(expected, kMe.word,
                                                             std::memory_order_acquire, kPlain)) {
      return;
    }
    ++findings_.owners;
    mend(look, look.view.cells[cell]);
    look.ring.release_cold(cell, kMe);
  }

  // G1: the magazine is the daemon's.
  void mend(Look& look, Magazine<Atom>& magazine) {
    std::uint32_t count = magazine.count.load(kPlain);
    if (count > look.view.magazine_slots) {
      ++findings_.counts;
      count = look.view.magazine_slots;
      magazine.count.store(count, kPlain);
    }
    std::uint64_t bad = 0;  // a bit an entry
    for (std::uint32_t i = count; i-- > 0;) {
      const std::uint32_t slot = magazine.slots[i].load(kPlain);
      if (slot >= look.slot_bound || !look.facts.in_service(slot) ||
          appears_below(magazine, i, slot)) {
        bad |= std::uint64_t{1} << i;
        continue;
      }
      Atom<std::uint64_t>& word = look.view.slots[slot].mark;
      Mark mark{word.load(kPlain)};
      if (mark.is_free()) continue;
      if (!names_nobody(slot, mark, look.facts)) {
        bad |= std::uint64_t{1} << i;  // its holder keeps it
      } else if (word.compare_exchange_strong(mark.word, mark.next(SlotState::kFree, 0).word,
                                              kPlain, kPlain)) {
        ++findings_.marks;  // S1: it is in this magazine
      }
    }
    if (bad != 0) drop_entries(look, magazine, bad, count);
  }

  // Get steps down to the lowest bad entry, in the daemon's name; then the good ones are put again.
  void drop_entries(Look& look, Magazine<Atom>& magazine, std::uint64_t bad, std::uint32_t count) {
    struct Kept {
      std::uint32_t slot;
      Mark mark;
    } kept[kMaxMagazineSlots];
    std::uint32_t kept_count = 0;
    while (bad != 0) {
      --count;
      const std::uint64_t bit = std::uint64_t{1} << count;
      if ((bad & bit) != 0) {
        magazine.count.store(count, kPlain);
        ++findings_.entries;
        bad &= ~bit;
        continue;
      }
      Kept& next = kept[kept_count];
      if (take_slot(magazine, look.view.slots, look.slot_bound,
                    Mark::holder_bits(SlotState::kAbsent, 0), next.slot,
                    next.mark) == TakeOutcome::kTaken) {
        ++kept_count;
      } else {
        ++findings_.entries;
      }
    }
    while (kept_count > 0) {
      --kept_count;
      put_again(look, magazine, kept[kept_count].slot, kept[kept_count].mark);
    }
  }

  static void put_again(Look& look, Magazine<Atom>& magazine, std::uint32_t slot, Mark absent) {
    if (put_slot(magazine, look.view.slots, slot, absent)) return;
    // Somebody writes into a magazine of ours: the sweep of orphans collects it.
    look.view.slots[slot].mark.store(absent.next(SlotState::kOrphaned, 0).word,
                                     std::memory_order_release);
  }

  // --- 2: marks
  void look_at_mark(Look& look, std::uint32_t slot) {
    Mark mark{look.view.slots[slot].mark.load(kPlain)};
    if (!look.facts.in_service(slot)) {
      const SlotState state =
          look.facts.quarantined(slot) ? SlotState::kQuarantined : SlotState::kAbsent;
      if (mark.state() == state && mark.client() == 0) return;
      if (look.view.slots[slot].mark.compare_exchange_strong(mark.word, mark.next(state, 0).word,
                                                             kPlain, kPlain)) {
        ++findings_.marks;  // G3
      }
      return;
    }
    if (bit(slot)) return;  // in a magazine; what its mark says is judged there
    if (!mark.is_free() && !names_nobody(slot, mark, look.facts)) return;
    if (suspects_.size() >= kMostSuspects) {
      if (next_first_slot_ == 0) next_first_slot_ = slot;
      return;
    }
    Suspect suspect;
    suspect.slot = slot;
    suspect.mark = mark.word;
    suspects_.push_back(suspect);
  }

  // --- 3: the same magazines again, for a few slots
  void begin_proof(Facts& facts) {
    if (suspects_.empty() || !facts.barrier()) {  // G4
      enter(Phase::kDone);
      return;
    }
    std::sort(suspects_.begin(), suspects_.end(),
              [](const Suspect& a, const Suspect& b) { return a.slot < b.slot; });
    std::fill(bits_.begin(), bits_.end(), 0);
    for (const Suspect& suspect : suspects_) set_bit(suspect.slot);
    enter(Phase::kProof);
  }

  void look_for_suspects(Look& look, std::uint32_t cell) {
    Magazine<Atom>& magazine = look.view.cells[cell];
    const OwnerWord owner{magazine.owner.load(std::memory_order_acquire)};
    const std::uint32_t count = std::min(magazine.count.load(kPlain), look.view.magazine_slots);
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t slot = magazine.slots[i].load(kPlain);
      if (slot >= bound_ || !bit(slot)) continue;
      auto at =
          std::lower_bound(suspects_.begin(), suspects_.end(), slot,
                           [](const Suspect& s, std::uint32_t wanted) { return s.slot < wanted; });
      for (; at != suspects_.end() && at->slot == slot; ++at) {
        at->found = true;
        if (!at->twice || !owner.in_ring()) continue;
        if (at->cell == kNone) {
          at->cell = cell;
        } else if (at->cell != cell) {
          keep_one(look, at->cell, cell, slot);
        }
      }
    }
  }

  // G5
  void keep_one(Look& look, std::uint32_t kept, std::uint32_t other, std::uint32_t slot) {
    if (!look.ring.try_claim(kept, kMe)) return;
    if (look.ring.try_claim(other, kMe)) {
      Magazine<Atom>& from = look.view.cells[other];
      const std::uint32_t count = look.ring.count_of(other);
      if (appears_below(look.view.cells[kept], look.ring.count_of(kept), slot)) {
        for (std::uint32_t i = 0; i < count; ++i) {
          if (from.slots[i].load(kPlain) != slot) continue;
          drop_entries(look, from, std::uint64_t{1} << i, count);
          break;
        }
      }
      look.ring.release_cold(other, kMe);
    }
    look.ring.release_cold(kept, kMe);
  }

  // --- 4
  void give_verdict(Look& look) {
    std::uint32_t room = kNone;
    for (const Suspect& suspect : suspects_) {
      if (suspect.twice || suspect.found) continue;
      const Mark mark{look.view.slots[suspect.slot].mark.load(std::memory_order_acquire)};
      if (mark.word != suspect.mark || !look.facts.in_service(suspect.slot)) continue;
      if (!says_nobody(mark) && !look.facts.outlived(Withheld::kSlot, suspect.slot, mark.word)) {
        ++findings_.withheld;
        continue;
      }
      give_back(look, suspect.slot, mark, room);
    }
    if (room != kNone) look.ring.release_cold(room, kMe);
    enter(Phase::kDone);
  }

  void give_back(Look& look, std::uint32_t slot, Mark mark, std::uint32_t& room) {
    if (room != kNone && look.ring.count_of(room) >= look.view.magazine_slots) {
      look.ring.release_cold(room, kMe);
      room = kNone;
    }
    ClaimStats stats;
    if (room == kNone) room = look.ring.claim_with_room(kMe, stats);
    if (room == kNone) return;  // the next pass
    admit(look.view.cells[room], kManyUsers);
    const Mark absent = mark.with_holder(SlotState::kAbsent, 0);
    std::uint64_t expected = mark.word;
    if (!look.view.slots[slot].mark.compare_exchange_strong(expected, absent.word,
                                                            std::memory_order_acq_rel, kPlain)) {
      return;
    }
    put_again(look, look.view.cells[room], slot, absent);
    ++findings_.lost;
  }

  Phase phase_ = Phase::kDone;
  std::uint32_t cursor_ = 0;
  std::uint32_t bound_ = 0;  // slots of this pass
  std::uint32_t cells_ = 0;  // of the first look; the proof looks at those published since, too
  std::uint32_t first_cell_ = 0;
  std::uint32_t first_slot_ = 0;
  std::uint32_t next_first_slot_ = 0;
  std::vector<std::uint64_t> bits_;  // seen in a magazine; then: is a suspect
  std::vector<Suspect> suspects_;
  RingFindings findings_;
};

}  // namespace zeropool::v1::lib
