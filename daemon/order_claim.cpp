#include "daemon/order_claim.hpp"

#include "daemon/checked_put.hpp"
#include "zeropool/lib/slot_transfer.hpp"

namespace zeropool::daemon {
namespace {

constexpr lib::OwnerWord kDaemon = lib::OwnerWord::daemon();

}  // namespace

std::uint64_t OrderClaim::take(std::uint32_t ring, std::uint64_t wanted, bool exact) {
  lib::SharedBatchRing batch(memory_.ring(ring));
  std::uint64_t got = 0;
  // Each round takes another magazine out of the ring: bounded by how many there are.
  for (std::uint32_t round = 0; got < wanted && round < batch.view().cell_capacity; ++round) {
    lib::ClaimStats stats;
    const std::uint32_t cell = batch.claim_filled(0, kDaemon, stats);
    if (cell == lib::kNone) break;
    std::uint32_t count = batch.count_of(cell);
    if (exact && got + count > wanted &&
        put_back_surplus(batch, cell, static_cast<std::uint32_t>(wanted - got))) {
      count = batch.count_of(cell);
    }
    if (count == 0) {  // its entries were no slots
      batch.release(cell, kDaemon, 0);
      continue;
    }
    taken_.push_back({ring, cell, kDaemon});
    bytes_ += count * memory_.plan().rings[ring].class_bytes;
    got += count;
  }
  return got;
}

bool OrderClaim::put_back_surplus(lib::SharedBatchRing& batch, std::uint32_t cell,
                                  std::uint32_t keep) {
  const lib::SharedRingView& ring = batch.view();
  lib::SharedMagazine& from = ring.cells[cell];
  const std::uint32_t bound = ring.slot_bound();
  lib::ClaimStats stats;
  std::uint32_t room = batch.claim_with_room(kDaemon, stats);
  // At most as many steps as a magazine has entries, whatever is written into the count meanwhile.
  for (std::uint32_t step = 0; step < lib::kMaxMagazineSlots && batch.count_of(cell) > keep;
       ++step) {
    if (room != lib::kNone && batch.count_of(room) >= ring.magazine_slots) {
      batch.release(room, kDaemon, 0);
      room = batch.claim_with_room(kDaemon, stats);
    }
    if (room == lib::kNone) return false;
    std::uint32_t slot = lib::kNone;
    lib::Mark mark;
    switch (lib::take_slot(from, ring.slots, bound,
                           lib::Mark::holder_bits(lib::SlotState::kAbsent, 0), slot, mark)) {
      case lib::TakeOutcome::kTaken: break;
      case lib::TakeOutcome::kDropped: ++repairs_; continue;
      case lib::TakeOutcome::kEmpty: batch.release(room, kDaemon, 0); return true;
    }
    if (!put_checked(ring, room, slot, mark) && !put_checked(ring, cell, slot, mark)) ++repairs_;
  }
  if (room != lib::kNone) batch.release(room, kDaemon, 0);
  return true;
}

bool OrderClaim::grant(lib::OwnerWord owner, std::uint32_t& first_granted) {
  // Links first: the client follows them once the order is granted.
  std::uint32_t next = 0;
  for (std::size_t i = taken_.size(); i-- > 0;) {
    const Taken& taken = taken_[i];
    memory_.ring(taken.ring).cells[taken.cell].count.set_link(next);
    next = 1 + memory_.plan().rings[taken.ring].first_cell + taken.cell;
  }
  first_granted = next;
  for (Taken& taken : taken_) {
    std::uint64_t expected = taken.owner.word;
    if (!memory_.ring(taken.ring)
             .cells[taken.cell]
             .owner.compare_exchange_strong(expected, owner.word, std::memory_order_acq_rel)) {
      ++repairs_;
      give_back();
      return false;
    }
    taken.owner = owner;
  }
  return !taken_.empty();
}

void OrderClaim::give_back() {
  for (const Taken& taken : taken_) {
    lib::SharedBatchRing batch(memory_.ring(taken.ring));
    batch.release(taken.cell, taken.owner, 0);
  }
  taken_.clear();
}

}  // namespace zeropool::daemon
