#pragma once
// Reclaim: give a dead client's slots of one ring back. The daemon's, also for what the daemon itself left
// behind when it was killed.
//
// Thread safety: one reclaimer at a time; the client is dead (its stores are visible: fence after the pidfd);
// other clients go on.
// Invariants: S1 (membership beats the mark); every step is one that get, put or claim has, so reclaim can be
// killed anywhere and run again.
// Crash safety:
//   step 1  a slot below the count of a dead magazine that names the dead: mark = free       again: same
//   step 1' an entry that names another live holder, or twice the same slot: the magazine   again: step 2
//           is emptied by get steps down to it, and the entry dropped
//   step 2  a slot still held by the dead: put steps into a magazine claimed in its name     again: step 1
//   step 2q the same of a client that did direct I/O: mark = quarantined, and into no        again: the rest
//           magazine: the kernel may still write it                                          (by its own mark)
//   step 2' in transit to the dead: CAS InTransit -> Held by the dead, then as step 2        again: step 2
//           (never 2q: it was not adopted, so no I/O of the dead is under way; killed
//           between the two it may be quarantined all the same, which costs a page)
//   step 2" no magazine with room (damage): mark = orphaned                               the daemon's sweep
//   step 3  CAS owner dead -> 0, each magazine                                               again: the rest

#include <atomic>
#include <cstdint>

#include <zeropool/lib/batch_ring.hpp>
#include <zeropool/lib/slot_transfer.hpp>

namespace zeropool::inline v1::lib {

struct ReclaimReport {
  std::uint64_t held_slots = 0;         // were with the application, and went into magazines
  std::uint64_t quarantined_slots = 0;  // were with the application, and its direct I/O
  std::uint64_t cached_slots = 0;       // were in its magazines
  std::uint64_t magazines = 0;
  std::uint64_t expired_slots = 0;  // in transit to the dead
  std::uint64_t left_in_transit =
      0;  // released by the dead: they wait for their adopter, or the lease
  std::uint64_t repairs = 0;
  std::uint64_t without_room = 0;  // no magazine with room could be found: damage, see repairs

  ReclaimReport& operator+=(const ReclaimReport& other) noexcept {
    held_slots += other.held_slots;
    quarantined_slots += other.quarantined_slots;
    cached_slots += other.cached_slots;
    magazines += other.magazines;
    expired_slots += other.expired_slots;
    left_in_transit += other.left_in_transit;
    repairs += other.repairs;
    without_room += other.without_room;
    return *this;
  }
};

// A mark that says "with the dead": Held by a client; Absent for the daemon, which holds what is not published.
constexpr bool held_by(Mark mark, std::uint32_t client) noexcept {
  if (client == kDaemonClient) return mark.state() == SlotState::kAbsent;
  return mark.is(SlotState::kHeld, client);
}

template <template <typename> class Atom>
class Reclaimer {
 public:
  // `users`: the stamp of the dead's user (magazine.hpp, C4).
  Reclaimer(const RingView<Atom>& view, std::uint32_t client, std::uint32_t epoch,
            std::uint32_t users = kManyUsers) noexcept
      : ring_(view),
        view_(ring_.view()),
        client_(client),
        users_(users),
        me_(client == kDaemonClient
                ? OwnerWord::daemon()
                : OwnerWord::thread(client, epoch, OwnerWord::kUncachedThread)) {}

  // All steps. For the daemon's own leftovers use magazines_only(): what it holds stays absent.
  ReclaimReport run() noexcept {
    mend_magazines();
    collect_slots([](std::uint32_t, Mark) { return false; });
    release_magazines();
    return report_;
  }
  // The same for a client that did direct I/O: what it held is quarantined, and `visit` called with each slot.
  template <typename Visit>
  ReclaimReport run_with_quarantine(Visit visit) {
    mend_magazines();
    collect_slots([&](std::uint32_t slot, Mark held) {
      view_.slots[slot].mark.store(held.with_holder(SlotState::kQuarantined, 0).word,
                                   std::memory_order_release);  // COMMIT
      visit(slot);
      return true;
    });
    release_magazines();
    return report_;
  }
  ReclaimReport magazines_only() noexcept {
    mend_magazines();
    release_magazines();
    return report_;
  }

  Reclaimer(const Reclaimer&) = delete;
  Reclaimer& operator=(const Reclaimer&) = delete;

 private:
  bool is_dead(OwnerWord owner) const noexcept {
    return !owner.in_ring() && owner.client() == client_;
  }

  // Step 1.
  void mend_magazines() noexcept {
    const std::uint32_t cells = view_.cell_bound();
    const std::uint32_t slots = view_.slot_bound();
    for (std::uint32_t cell = 0; cell < cells; ++cell) {
      Magazine<Atom>& magazine = view_.cells[cell];
      if (!is_dead(OwnerWord{magazine.owner.load(std::memory_order_acquire)})) continue;
      ++report_.magazines;
      std::uint32_t count = magazine.count.load(std::memory_order_relaxed);
      if (count > view_.magazine_slots) {
        ++report_.repairs;
        count = view_.magazine_slots;
        magazine.count.store(count, std::memory_order_relaxed);
      }
      std::uint64_t bad = 0;  // a bit an entry
      for (std::uint32_t i = count; i-- > 0;) {
        const std::uint32_t slot = magazine.slots[i].load(std::memory_order_relaxed);
        if (slot >= slots || appears_below(magazine, i, slot)) {
          bad |= std::uint64_t{1} << i;
          continue;
        }
        const Mark mark{view_.slots[slot].mark.load(std::memory_order_relaxed)};
        if (held_by(mark, client_)) {
          view_.slots[slot].mark.store(mark.next(SlotState::kFree, 0).word,
                                       std::memory_order_relaxed);
        } else if (!mark.is_free()) {
          bad |= std::uint64_t{1} << i;
        }
      }
      if (bad != 0) drop_entries(magazine, bad, count, slots);
      report_.cached_slots += magazine.count.load(std::memory_order_relaxed);
    }
  }

  static bool appears_below(const Magazine<Atom>& magazine, std::uint32_t top,
                            std::uint32_t slot) noexcept {
    for (std::uint32_t i = 0; i < top; ++i) {
      if (magazine.slots[i].load(std::memory_order_relaxed) == slot) return true;
    }
    return false;
  }

  // Step 1': get steps in the dead's name, down to the lowest bad entry. A bad one is dropped without another
  // look at its mark: its live holder may have put it into a magazine of its own meanwhile.
  void drop_entries(Magazine<Atom>& magazine, std::uint64_t bad, std::uint32_t count,
                    std::uint32_t slots) noexcept {
    const std::uint64_t dead_bits = client_ == kDaemonClient
                                        ? Mark::holder_bits(SlotState::kAbsent, 0)
                                        : Mark::holder_bits(SlotState::kHeld, client_);
    while (bad != 0) {
      --count;
      const std::uint64_t bit = std::uint64_t{1} << count;
      if ((bad & bit) != 0) {
        magazine.count.store(count, std::memory_order_relaxed);
        ++report_.repairs;
        bad &= ~bit;
        continue;
      }
      std::uint32_t slot = kNone;
      Mark mark;
      if (take_slot(magazine, view_.slots, slots, dead_bits, slot, mark) != TakeOutcome::kTaken) {
        ++report_.repairs;
      }
    }
  }

  // Step 2; 2q for the slots of its hands that `quarantine` takes.
  template <typename Quarantine>
  void collect_slots(Quarantine quarantine) {
    const std::uint32_t slots = view_.slot_bound();
    std::uint32_t room = kNone;
    for (std::uint32_t slot = 0; slot < slots; ++slot) {
      // Acquire: pairs with H-release, so that the note read below is not older than the mark.
      Mark mark{view_.slots[slot].mark.load(std::memory_order_acquire)};
      std::uint32_t users = users_;
      if (mark.state() == SlotState::kInTransit) {
        if (!take_from_transit(slot, mark)) continue;
        users = kManyUsers;  // its releaser's bytes
      } else if (held_by(mark, client_)) {
        if (quarantine(slot, mark)) {
          ++report_.quarantined_slots;
          continue;
        }
        ++report_.held_slots;
      } else {
        continue;
      }
      room = magazine_with_room(room);
      if (room != kNone) admit(view_.cells[room], users);
      if (room != kNone && put_slot(view_.cells[room], view_.slots, slot, mark)) continue;
      // Damage: the daemon's sweep collects it. It must not go on naming the dead.
      ++report_.without_room;
      view_.slots[slot].mark.store(mark.next(SlotState::kOrphaned, 0).word,
                                   std::memory_order_release);
    }
  }

  // Step 2': only what was released to the dead; a late adopter's CAS then fails.
  bool take_from_transit(std::uint32_t slot, Mark& mark) noexcept {
    const TransitNote note{view_.slots[slot].note.load(std::memory_order_relaxed)};
    if (note.receiver() != client_) {
      if (mark.client() == client_) ++report_.left_in_transit;
      return false;
    }
    const Mark taken = mark.with_holder(SlotState::kHeld, client_);
    if (!view_.slots[slot].mark.compare_exchange_strong(mark.word, taken.word,
                                                        std::memory_order_acquire)) {
      return false;
    }
    mark = taken;
    ++report_.expired_slots;
    return true;
  }

  std::uint32_t magazine_with_room(std::uint32_t current) noexcept {
    if (current != kNone &&
        view_.cells[current].count.load(std::memory_order_relaxed) < view_.magazine_slots) {
      return current;
    }
    // One that the dead owned already, then one from the ring.
    const std::uint32_t cells = view_.cell_bound();
    for (; next_own_ < cells; ++next_own_) {
      if (is_dead(OwnerWord{view_.cells[next_own_].owner.load(std::memory_order_relaxed)}) &&
          view_.cells[next_own_].count.load(std::memory_order_relaxed) < view_.magazine_slots) {
        return next_own_;
      }
    }
    // A pass over the ring is no snapshot: live clients that move from one magazine to the next may hide what
    // has room. It is there (docs/architecture.md, "There is always room for a put"): look again.
    for (std::uint32_t pass = 0; pass < kRoomPasses; ++pass) {
      ClaimStats stats;
      const std::uint32_t cell = ring_.claim_with_room(me_, stats);
      if (cell != kNone) return cell;
    }
    return kNone;
  }

  // Step 3.
  void release_magazines() noexcept {
    const std::uint32_t cells = view_.cell_bound();
    for (std::uint32_t cell = 0; cell < cells; ++cell) {
      const OwnerWord owner{view_.cells[cell].owner.load(std::memory_order_relaxed)};
      if (is_dead(owner)) ring_.release_cold(cell, owner);
    }
  }

  static constexpr std::uint32_t kRoomPasses = 64;

  BatchRing<Atom> ring_;
  const RingView<Atom>& view_;
  std::uint32_t client_;
  std::uint32_t users_;
  OwnerWord me_;
  std::uint32_t next_own_ = 0;
  ReclaimReport report_;
};

}  // namespace zeropool::v1::lib
