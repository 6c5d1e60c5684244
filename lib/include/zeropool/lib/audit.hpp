#pragma once
// Audit: count every published slot of a ring, once, by who has it.
//
// Thread safety: reads only; exact while nobody works in the ring, an honest estimate otherwise (a slot that
// moves while it is looked at may then count as lost or doubled; `moved` says that something did).

#include <atomic>
#include <cstdint>
#include <vector>

#include <zeropool/lib/batch_ring.hpp>

namespace zeropool::inline v1::lib {

struct AuditReport {
  std::uint64_t slots = 0;   // published: what the sum below must be
  std::uint64_t free = 0;    // in magazines of the ring
  std::uint64_t cold = 0;    // of those: in full magazines set aside, by their hint
  std::uint64_t cached = 0;  // in magazines of threads
  std::uint64_t held = 0;    // by applications
  std::uint64_t in_transit = 0;
  std::uint64_t shared = 0;
  std::uint64_t quarantined = 0;
  std::uint64_t daemon = 0;  // absent: withdrawn, or in the daemon's hands
  std::uint64_t orphaned = 0;
  std::uint64_t lost = 0;     // free by its mark, and in no magazine
  std::uint64_t doubled = 0;  // in two magazines, or in the ring and with a holder
  std::uint64_t broken = 0;   // entries that name no slot, counts out of range, marks of no state
  std::uint64_t nowhere = 0;  // of the broken: slots, in no magazine and with a mark of no state

  // Every slot is counted in one place: what `slots` must be. Cold ones are among the free.
  std::uint64_t sum() const noexcept {
    return free + cached + held + in_transit + shared + quarantined + daemon + orphaned + lost +
           nowhere;
  }
  bool clean() const noexcept { return lost == 0 && doubled == 0 && broken == 0 && orphaned == 0; }

  AuditReport& operator+=(const AuditReport& other) noexcept {
    slots += other.slots;
    free += other.free;
    cold += other.cold;
    cached += other.cached;
    held += other.held;
    in_transit += other.in_transit;
    shared += other.shared;
    quarantined += other.quarantined;
    daemon += other.daemon;
    orphaned += other.orphaned;
    lost += other.lost;
    doubled += other.doubled;
    broken += other.broken;
    nowhere += other.nowhere;
    return *this;
  }
};

template <template <typename> class Atom>
AuditReport audit_ring(const RingView<Atom>& view) {
  AuditReport report;
  const std::uint32_t slots = view.slot_bound();
  const std::uint32_t cells = view.cell_bound();
  std::vector<bool> in_magazine(slots, false);
  for (std::uint32_t cell = 0; cell < cells; ++cell) {
    const Magazine<Atom>& magazine = view.cells[cell];
    const OwnerWord owner{magazine.owner.load(std::memory_order_acquire)};
    std::uint32_t count = magazine.count.load(std::memory_order_relaxed);
    if (count > view.magazine_slots) {
      ++report.broken;
      count = 0;
    }
    const bool cold = owner.in_ring() && count == view.magazine_slots && view.cold.test(cell);
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t slot = magazine.slots[i].load(std::memory_order_relaxed);
      if (slot >= slots) {
        ++report.broken;
        continue;
      }
      if (in_magazine[slot]) {
        ++report.doubled;
        continue;
      }
      in_magazine[slot] = true;
      const Mark mark{view.slots[slot].mark.load(std::memory_order_relaxed)};
      if (owner.in_ring() && !mark.is_free()) ++report.doubled;  // somebody holds it as well
      if (owner.in_ring()) {
        ++report.free;
        if (cold) ++report.cold;
      } else if (owner.kind() == OwnerKind::kDaemon) {
        ++report.daemon;
      } else {
        ++report.cached;
      }
    }
  }
  for (std::uint32_t slot = 0; slot < slots; ++slot) {
    ++report.slots;
    if (in_magazine[slot]) continue;  // S1
    switch (Mark{view.slots[slot].mark.load(std::memory_order_relaxed)}.state()) {
      case SlotState::kAbsent: ++report.daemon; break;
      case SlotState::kHeld: ++report.held; break;
      case SlotState::kInTransit: ++report.in_transit; break;
      case SlotState::kShared: ++report.shared; break;
      case SlotState::kQuarantined: ++report.quarantined; break;
      case SlotState::kOrphaned: ++report.orphaned; break;
      case SlotState::kFree: ++report.lost; break;
      default:
        ++report.broken;
        ++report.nowhere;
        break;
    }
  }
  return report;
}

}  // namespace zeropool::v1::lib
