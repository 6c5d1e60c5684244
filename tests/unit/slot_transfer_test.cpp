#include <atomic>
#include <cstdint>
#include <memory>

#include <doctest/doctest.h>

#include <zeropool/lib/reclaim.hpp>
#include <zeropool/lib/slot_transfer.hpp>

#include "tests/unit/support/test_ring.hpp"

using namespace zeropool::lib;
using namespace zeropool::test;

namespace {

// The steps in wrong orders.
template <template <typename> class Atom>
void put_mark_before_count(Magazine<Atom>& magazine, SlotWords<Atom>* slots, std::uint32_t slot,
                           Mark held) {
  const std::uint32_t count = magazine.count.load();
  magazine.slots[count].store(slot);
  slots[slot].mark.store(held.next(SlotState::kFree, 0).word);
  magazine.count.store(count + 1);
}
template <template <typename> class Atom>
void put_count_before_slot(Magazine<Atom>& magazine, SlotWords<Atom>* slots, std::uint32_t slot,
                           Mark held) {
  const std::uint32_t count = magazine.count.load();
  magazine.count.store(count + 1);
  magazine.slots[count].store(slot);
  slots[slot].mark.store(held.next(SlotState::kFree, 0).word);
}
template <template <typename> class Atom>
void take_count_before_mark(Magazine<Atom>& magazine, SlotWords<Atom>* slots, std::uint64_t bits,
                            std::uint32_t& slot, Mark& mark) {
  const std::uint32_t top = magazine.count.load() - 1;
  slot = magazine.slots[top].load();
  mark = Mark{(slots[slot].mark.load() & ~Mark::kHolderMask) | bits};
  magazine.count.store(top);
  slots[slot].mark.store(mark.word);
}

enum class Steps { kRight, kPutMarkFirst, kPutCountFirst, kTakeCountFirst };

// Claims, takes two, puts one back; killed after `kill_after` accesses, beside a live worker; then reclaimed.
Script kill_script(Steps steps, std::uint32_t kill_after, bool with_other) {
  auto ring = std::make_shared<ScheduledRing>(RingShape{.cells = 3, .slots = 4});
  ring->fill(0, {0, 1});
  ring->fill(1, {2, 3});
  ring->view.hot(0).push(0);
  ring->view.hot(0).push(1);
  const auto work = [=](std::uint32_t client, bool breaks) {
    Worker<ScheduledAtomic> worker(*ring, client);
    if (!worker.claim_filled()) return;
    std::uint32_t first = kNone;
    std::uint32_t second = kNone;
    Mark first_mark;
    Mark second_mark;
    if (breaks && steps == Steps::kTakeCountFirst) {
      take_count_before_mark(worker.magazine(), ring->view.slots,
                             Mark::holder_bits(SlotState::kHeld, client), first, first_mark);
      ring->hold(first, client);
    } else if (!worker.get(first, first_mark)) {
      return;
    }
    const bool has_second = worker.get(second, second_mark);
    if (breaks && steps == Steps::kPutMarkFirst) {
      ring->let_go(first, client);
      put_mark_before_count(worker.magazine(), ring->view.slots, first, first_mark);
    } else if (breaks && steps == Steps::kPutCountFirst) {
      // The entry above what is there is stale: its slot is on its way to another client by now.
      ring->let_go(second, client);
      ring->view.slots[second].mark.store(Mark::make(2, SlotState::kInTransit, 3).word);
      ring->let_go(first, client);
      put_count_before_slot(worker.magazine(), ring->view.slots, first, first_mark);
    } else {
      worker.put(first, first_mark);
    }
    if (has_second && !(breaks && steps == Steps::kPutCountFirst)) worker.put(second, second_mark);
    worker.release();
  };
  Actor victim{[=] { work(1, true); }};
  victim.kill_after = kill_after;
  std::vector<Actor> actors = {victim};
  if (with_other) actors.push_back({[=] { work(2, false); }});
  return Script{actors, [=] {
                  ring->forget_dead(1);
                  Reclaimer<ScheduledAtomic> reclaimer(ring->view, 1, 1);
                  const ReclaimReport report = reclaimer.run();
                  expect(report.repairs == 0, "reclaim found damage");
                  expect(report.without_room == 0, "reclaim found no room");
                  ring->expect_whole();
                  const AuditReport audit = ring->audit();
                  expect(audit.held == 0 && audit.cached == 0, "the dead still has slots");
                  expect(audit.free + audit.in_transit == 4, "not every slot came back");
                }};
}

}  // namespace

TEST_CASE("get takes the slot put last, marks it, and keeps its generation") {
  TestRing<std::atomic> ring({.cells = 1, .slots = 4});
  ring.fill(0, {2, 3});
  Worker<std::atomic> worker(ring, 7);
  worker.cell = 0;
  std::uint32_t slot = 0;
  Mark mark;
  REQUIRE(worker.get(slot, mark));
  CHECK(slot == 3);
  CHECK(mark == Mark::make(1, SlotState::kHeld, 7));
  CHECK(Mark{ring.view.slots[3].mark.load()} == mark);
  worker.put(slot, mark);
  CHECK(Mark{ring.view.slots[3].mark.load()} == Mark::make(2, SlotState::kFree, 0));
  REQUIRE(worker.get(slot, mark));
  CHECK(slot == 3);
  REQUIRE(worker.get(slot, mark));
  CHECK(slot == 2);
  CHECK_FALSE(worker.get(slot, mark));
}

TEST_CASE("an entry that is held, absent, or no slot at all is dropped and not given out") {
  for (const std::uint32_t entry : {0U, 1U, 4U, kNone}) {
    TestRing<std::atomic> ring({.cells = 1, .slots = 4});
    ring.fill(0, {2, 3});
    ring.give(0, 9);  // 1 is absent
    ring.view.cells[0].slots[1].store(entry);
    std::uint32_t slot = 0;
    Mark mark;
    CHECK(take_slot(ring.view.cells[0], ring.view.slots, 4, Mark::holder_bits(SlotState::kHeld, 7),
                    slot, mark) == TakeOutcome::kDropped);
    CHECK(slot == entry);
    CHECK(ring.view.cells[0].count.load() == 1);
    CHECK(take_slot(ring.view.cells[0], ring.view.slots, 4, Mark::holder_bits(SlotState::kHeld, 7),
                    slot, mark) == TakeOutcome::kTaken);
    CHECK(slot == 2);
    CHECK(Mark{ring.view.slots[0].mark.load()}.is(SlotState::kHeld, 9));
  }
}

TEST_CASE("a count beyond a magazine serves no get") {
  TestRing<std::atomic> ring({.cells = 1, .slots = 4});
  for (const std::uint32_t count : {0U, 61U, 77U, 255U}) {
    ring.view.cells[0].count.store(count);
    std::uint32_t slot = 0;
    Mark mark;
    CHECK(take_slot(ring.view.cells[0], ring.view.slots, 4, 0, slot, mark) == TakeOutcome::kEmpty);
    CHECK(ring.view.cells[0].count.load() == count);
  }
}

TEST_CASE("a client killed at any step of get and put loses nothing, alone or beside another" *
          doctest::skip(!kCanSchedule)) {
  const Explored alone =
      explore_kills([](std::uint32_t n) { return kill_script(Steps::kRight, n, false); });
  CHECK(alone.failure == "");
  CHECK(alone.killed > 20);
  const Explored beside = explore_kills(
      [](std::uint32_t n) { return kill_script(Steps::kRight, n, true); }, {.preemptions = 2});
  CHECK(beside.failure == "");
  CHECK(beside.complete);
  CHECK(beside.killed > 1000);
}

TEST_CASE("every wrong order of the steps is caught" * doctest::skip(!kCanSchedule)) {
  for (const Steps steps : {Steps::kPutMarkFirst, Steps::kPutCountFirst, Steps::kTakeCountFirst}) {
    CAPTURE(static_cast<int>(steps));
    const Explored result =
        explore_kills([&](std::uint32_t n) { return kill_script(steps, n, false); });
    CHECK(result.failure.find(steps == Steps::kPutCountFirst ? "reclaim found damage"
                                                             : "a slot is lost") == 0);
  }
}

TEST_CASE("a release before the last put's count is caught" * doctest::skip(!kCanSchedule)) {
  for (const bool broken : {false, true}) {
    const Explored result = explore([broken] {
      auto ring = std::make_shared<ScheduledRing>(RingShape{.cells = 1, .slots = 2});
      ring->fill(0, {0});
      const Mark held = ring->give(1, 1);
      const OwnerWord me = OwnerWord::thread(1, 1, 1);
      ring->view.cells[0].owner.store(me.word);
      ring->view.hot(0).push(0);
      const auto releaser = [=] {
        Magazine<ScheduledAtomic>& magazine = ring->view.cells[0];
        ring->let_go(1, 1);
        if (!broken) {
          put_slot(magazine, ring->view.slots, 1, held);
          magazine.owner.store(0);
          return;
        }
        magazine.slots[1].store(1);
        magazine.owner.store(0);
        magazine.count.store(2);
        ring->view.slots[1].mark.store(held.next(SlotState::kFree, 0).word);
      };
      const auto claimer = [=] {
        Worker<ScheduledAtomic> worker(*ring, 2);
        std::uint32_t slot = kNone;
        Mark mark;
        if (worker.claim_filled() && worker.get(slot, mark)) worker.get(slot, mark);
      };
      return Script{{{releaser}, {claimer}}, [=] { ring->expect_whole(); }};
    });
    CHECK((result.failure != "") == broken);
  }
}

TEST_CASE("slots published and withdrawn beside claimers are in one place at any time" *
          doctest::skip(!kCanSchedule)) {
  // The daemon publishes slot 2 (a put with an absent mark), and withdraws slots 0 and 1 (gets).
  const Explored result = explore_kills(
      [](std::uint32_t kill_after) {
        auto ring = std::make_shared<ScheduledRing>(RingShape{.cells = 2, .slots = 3});
        ring->fill(0, {0, 1});
        ring->view.hot(0).push(0);
        ring->view.empty.set(1);
        const auto daemon = [=] {
          BatchRing<ScheduledAtomic> batch(ring->view);
          const OwnerWord me = OwnerWord::daemon();
          ClaimStats stats;
          const std::uint32_t to = batch.claim_with_room(me, stats);
          if (to != kNone) {
            put_slot(ring->view.cells[to], ring->view.slots, 2, Mark{});
            batch.release_cold(to, me);
          }
          if (!batch.try_claim(0, me)) return;
          std::uint32_t slot = kNone;
          Mark mark;
          while (take_slot(ring->view.cells[0], ring->view.slots, 3,
                           Mark::holder_bits(SlotState::kAbsent, 0), slot,
                           mark) == TakeOutcome::kTaken) {
          }
          batch.release(0, me, 0);
        };
        const auto client = [=] {
          Worker<ScheduledAtomic> worker(*ring, 2);
          if (!worker.claim_filled()) return;
          std::uint32_t slot = kNone;
          Mark mark;
          if (worker.get(slot, mark)) worker.put(slot, mark);
          worker.release();
        };
        Actor killed{daemon};
        killed.kill_after = kill_after;
        return Script{{killed, {client}}, [=] {
                        Reclaimer<ScheduledAtomic> reclaimer(ring->view, kDaemonClient, 0);
                        expect(reclaimer.magazines_only().repairs == 0, "the daemon left damage");
                        ring->expect_whole();
                        expect(ring->audit().cached == 0, "a magazine is still owned");
                      }};
      },
      {.runs = 200'000, .preemptions = 2});
  CHECK(result.failure == "");
  CHECK(result.complete);
  CHECK(result.killed > 100);
}
