#pragma once
// A batch ring over memory of the test's own, and a worker that uses it as a client's thread does.

#include <cstdint>
#include <initializer_list>
#include <memory>

#include <zeropool/lib/audit.hpp>
#include <zeropool/lib/batch_ring.hpp>
#include <zeropool/lib/slot_transfer.hpp>

#include "tests/unit/support/schedule.hpp"

namespace zeropool::test {

struct RingShape {
  std::uint32_t cells = 4;
  std::uint32_t slots = 4;
  std::uint32_t magazine_slots = 2;
  std::uint32_t domains = 1;
  std::uint32_t hot_size = 2;
};

template <template <typename> class Atom>
class TestRing {
 public:
  explicit TestRing(const RingShape& shape)
      : cells_(new lib::Magazine<Atom>[shape.cells]()),
        slots_(new lib::SlotWords<Atom>[shape.slots]()),
        holders_(new Atom<std::uint32_t>[shape.slots]()),
        hot_heads_(new lib::HotQueueHead<Atom>[shape.domains]()),
        hot_entries_(new Atom<std::uint32_t>[std::size_t{shape.domains} * shape.hot_size]()),
        words_((shape.cells + 63) / 64),
        bits_(new Atom<std::uint64_t>[std::size_t{3} * (words_ + (words_ + 63) / 64)]()) {
    cells_published.store(shape.cells);
    slots_published.store(shape.slots);
    view.cells = cells_.get();
    view.slots = slots_.get();
    view.cells_published = &cells_published;
    view.slots_published = &slots_published;
    view.drain_begin = &drain_begin;
    view.drain_end = &drain_end;
    view.cell_capacity = shape.cells;
    view.slot_capacity = shape.slots;
    view.magazine_slots = shape.magazine_slots;
    view.domain_count = shape.domains;
    view.hot_heads = hot_heads_.get();
    view.hot_entries = hot_entries_.get();
    view.hot_size = shape.hot_size;
    view.cold = bitmap(0);
    view.partial = bitmap(1);
    view.empty = bitmap(2);
  }

  // Puts free slots into a magazine of the ring, without a hint.
  void fill(std::uint32_t cell, std::initializer_list<std::uint32_t> numbers) {
    std::uint32_t count = 0;
    for (const std::uint32_t slot : numbers) {
      view.cells[cell].slots[count++].store(slot);
      view.slots[slot].mark.store(lib::Mark::make(1, lib::SlotState::kFree, 0).word);
    }
    view.cells[cell].count.store(count);
  }
  // As fill(), as many magazines as it takes, all slots; hints each, the rest as empty.
  void fill_all() {
    for (std::uint32_t slot = 0; slot < view.slot_capacity; ++slot) {
      lib::Magazine<Atom>& magazine = view.cells[slot / view.magazine_slots];
      magazine.slots[slot % view.magazine_slots].store(slot);
      magazine.count.store(slot % view.magazine_slots + 1);
      view.slots[slot].mark.store(lib::Mark::make(1, lib::SlotState::kFree, 0).word);
    }
    lib::BatchRing<Atom> ring(view);
    for (std::uint32_t cell = 0; cell < view.cell_capacity; ++cell) {
      ring.hint(cell, view.cells[cell].count.load(), 0);
    }
  }
  // Makes a slot that is in no magazine held by `client`, as after a get.
  lib::Mark give(std::uint32_t slot, std::uint32_t client) {
    const lib::Mark mark = lib::Mark::make(1, lib::SlotState::kHeld, client);
    view.slots[slot].mark.store(mark.word);
    holders_[slot].store(client);
    return mark;
  }

  // What applications hold, by their own word: never two at a time.
  void hold(std::uint32_t slot, std::uint32_t client) {
    expect(holders_[slot].exchange(client) == 0, "a slot has two live holders");
  }
  void let_go(std::uint32_t slot, std::uint32_t client) {
    expect(holders_[slot].exchange(0) == client, "a slot was taken from its holder");
  }
  void forget_dead(std::uint32_t client) {
    for (std::uint32_t slot = 0; slot < view.slot_capacity; ++slot) {
      if (holders_[slot].load() == client) holders_[slot].store(0);
    }
  }

  lib::AuditReport audit() const { return lib::audit_ring(view); }
  // Everything is somewhere, once; what is held is held by who says so.
  void expect_whole() const {
    const lib::AuditReport report = audit();
    expect(report.lost == 0, "a slot is lost");
    expect(report.doubled == 0, "a slot is doubled");
    expect(report.broken == 0, "an entry is broken");
    expect(report.orphaned == 0, "a slot is orphaned");
    expect(report.free + report.cached + report.held + report.in_transit + report.shared +
                   report.quarantined + report.daemon ==
               view.slot_capacity,
           "the sum over all places is not the number of slots");
    std::uint64_t held = 0;
    for (std::uint32_t slot = 0; slot < view.slot_capacity; ++slot) {
      const std::uint32_t holder = holders_[slot].load();
      if (holder == 0) continue;
      ++held;
      expect(lib::Mark{view.slots[slot].mark.load()}.is(lib::SlotState::kHeld, holder),
             "a live holder's slot is not marked as its own");
    }
    expect(held == report.held, "somebody is said to hold a slot that it does not hold");
  }

  lib::RingView<Atom> view;
  Atom<std::uint32_t> cells_published;
  Atom<std::uint32_t> slots_published;
  Atom<std::uint32_t> drain_begin;
  Atom<std::uint32_t> drain_end;
  lib::HintBitmapHead<Atom> bitmap_heads[3];

 private:
  lib::HintBitmap<Atom> bitmap(std::uint32_t number) {
    const std::uint32_t summaries = (words_ + 63) / 64;
    Atom<std::uint64_t>* summary = bits_.get() + number * (words_ + summaries);
    return lib::HintBitmap<Atom>(&bitmap_heads[number], summary, summary + summaries, words_);
  }

  std::unique_ptr<lib::Magazine<Atom>[]> cells_;
  std::unique_ptr<lib::SlotWords<Atom>[]> slots_;
  std::unique_ptr<Atom<std::uint32_t>[]> holders_;
  std::unique_ptr<lib::HotQueueHead<Atom>[]> hot_heads_;
  std::unique_ptr<Atom<std::uint32_t>[]> hot_entries_;
  std::uint32_t words_;
  std::unique_ptr<Atom<std::uint64_t>[]> bits_;
};

using ScheduledRing = TestRing<ScheduledAtomic>;

// A thread of `client`. Trivially destructible: a killed fiber may drop it.
template <template <typename> class Atom>
struct Worker {
  Worker(TestRing<Atom>& in, std::uint32_t client_id)
      : ring(in), batch(in.view), client(client_id), me(lib::OwnerWord::thread(client_id, 1, 1)) {}

  bool claim_filled() {
    cell = batch.claim_filled(0, me, stats);
    return cell != lib::kNone;
  }
  bool claim_with_room() {
    cell = batch.claim_with_room(me, stats);
    return cell != lib::kNone;
  }
  lib::Magazine<Atom>& magazine() { return ring.view.cells[cell]; }
  bool get(std::uint32_t& slot, lib::Mark& mark) {
    const auto outcome =
        lib::take_slot(magazine(), ring.view.slots, ring.view.slot_capacity,
                       lib::Mark::holder_bits(lib::SlotState::kHeld, client), slot, mark);
    if (outcome != lib::TakeOutcome::kTaken) return false;
    ring.hold(slot, client);
    return true;
  }
  void put(std::uint32_t slot, lib::Mark mark) {
    ring.let_go(slot, client);
    lib::put_slot(magazine(), ring.view.slots, slot, mark);
  }
  void release() {
    expect(batch.release(cell, me, 0), "a magazine was taken from its owner");
    cell = lib::kNone;
  }

  TestRing<Atom>& ring;
  lib::BatchRing<Atom> batch;
  std::uint32_t client;
  lib::OwnerWord me;
  std::uint32_t cell = lib::kNone;
  lib::ClaimStats stats;
};

}  // namespace zeropool::test
