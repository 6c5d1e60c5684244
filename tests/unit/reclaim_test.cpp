#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/lib/hand_off.hpp>
#include <zeropool/lib/reclaim.hpp>

#include "tests/unit/support/test_ring.hpp"

using namespace zeropool::lib;
using namespace zeropool::test;

namespace {

using PlainRing = TestRing<std::atomic>;

// A cycle of a client: claim, get two, put two, release; or a get whose slot it keeps.
template <template <typename> class Atom>
void cycle(TestRing<Atom>& ring, std::uint32_t client, bool keeps) {
  Worker<Atom> worker(ring, client);
  if (!worker.claim_filled()) return;
  std::uint32_t slot = kNone;
  Mark mark;
  if (!worker.get(slot, mark)) return;
  if (!keeps) worker.put(slot, mark);
  worker.release();
}

// Reclaim that believes the marks only: what a slot's mark says is where it is.
void reclaim_by_marks(ScheduledRing& ring, std::uint32_t dead) {
  BatchRing<ScheduledAtomic> batch(ring.view);
  const OwnerWord me = OwnerWord::thread(dead, 1, OwnerWord::kUncachedThread);
  ClaimStats stats;
  for (std::uint32_t slot = 0; slot < ring.view.slot_capacity; ++slot) {
    const Mark mark{ring.view.slots[slot].mark.load()};
    if (!mark.is(SlotState::kHeld, dead)) continue;
    const std::uint32_t cell = batch.claim_with_room(me, stats);
    if (cell != kNone) put_slot(ring.view.cells[cell], ring.view.slots, slot, mark);
  }
  for (std::uint32_t cell = 0; cell < ring.view.cell_capacity; ++cell) {
    const OwnerWord owner{ring.view.cells[cell].owner.load()};
    if (owner.client() == dead) batch.release_cold(cell, owner);
  }
}

void expect_no_trace(const ScheduledRing& ring, std::uint32_t dead) {
  for (std::uint32_t cell = 0; cell < ring.view.cell_capacity; ++cell) {
    expect(OwnerWord{ring.view.cells[cell].owner.load()}.client() != dead,
           "the dead owns a magazine");
  }
  for (std::uint32_t slot = 0; slot < ring.view.slot_capacity; ++slot) {
    expect(!Mark{ring.view.slots[slot].mark.load()}.is(SlotState::kHeld, dead),
           "the dead holds a slot");
  }
}

std::shared_ptr<ScheduledRing> two_magazines() {
  auto ring = std::make_shared<ScheduledRing>(RingShape{.cells = 4, .slots = 4});
  ring->fill(0, {0, 1});
  ring->fill(1, {2, 3});
  ring->view.hot(0).push(0);
  ring->view.hot(0).push(1);
  return ring;
}

}  // namespace

TEST_CASE("a dead client's slots come back from its magazines, its hands, and its mailbox") {
  PlainRing ring({.cells = 6, .slots = 8});
  ring.fill_all();
  Worker<std::atomic> dead(ring, 5);
  REQUIRE(dead.claim_filled());
  std::uint32_t slot = 0;
  Mark mark;
  REQUIRE(dead.get(slot, mark));
  Worker<std::atomic> dead_too(ring, 5);
  REQUIRE(dead_too.claim_filled());
  Worker<std::atomic> other(ring, 6);
  REQUIRE(other.claim_filled());
  std::uint64_t generation = 0;
  REQUIRE(other.get(slot, mark));
  REQUIRE(begin_hand_off(ring.view.slots[slot], mark, TransitNote::make(1, 5, 0), generation));
  std::uint32_t other_slot = 0;
  REQUIRE(other.get(other_slot, mark));
  Reclaimer<std::atomic> reclaimer(ring.view, 5, 1);
  const ReclaimReport report = reclaimer.run();
  CHECK(report.magazines == 2);
  CHECK(report.held_slots == 1);
  CHECK(report.cached_slots == 3);
  CHECK(report.expired_slots == 1);
  CHECK(report.repairs == 0);
  const AuditReport audit = ring.audit();
  CHECK(audit.clean());
  CHECK(audit.free == 7);
  CHECK(audit.held == 1);
  TransitNote note;
  CHECK_FALSE(end_hand_off(ring.view.slots[slot], generation, 7, note));
}

TEST_CASE("of a client with direct I/O only what it held itself is quarantined") {
  PlainRing ring({.cells = 6, .slots = 8});
  ring.fill_all();
  Worker<std::atomic> dead(ring, 5);
  REQUIRE(dead.claim_filled());
  std::uint32_t held = 0;
  Mark held_mark;
  REQUIRE(dead.get(held, held_mark));
  Worker<std::atomic> dead_too(ring, 5);
  REQUIRE(dead_too.claim_filled());
  std::uint32_t sent = 0;
  Mark mark;
  REQUIRE(dead_too.get(sent, mark));
  std::uint64_t generation = 0;  // its I/O into this one had ended, it says
  REQUIRE(begin_hand_off(ring.view.slots[sent], mark, TransitNote::make(1, 0, 0), generation));
  Worker<std::atomic> other(ring, 6);
  REQUIRE(other.claim_filled());
  std::uint32_t received = 0;  // never adopted, so no I/O of the dead is under way
  REQUIRE(other.get(received, mark));
  std::uint64_t to_the_dead = 0;
  REQUIRE(begin_hand_off(ring.view.slots[received], mark, TransitNote::make(1, 5, 0), to_the_dead));
  std::vector<std::uint32_t> seen;
  Reclaimer<std::atomic> reclaimer(ring.view, 5, 1);
  const ReclaimReport report =
      reclaimer.run_with_quarantine([&](std::uint32_t slot) { seen.push_back(slot); });
  CHECK(report.quarantined_slots == 1);
  CHECK(report.held_slots == 0);
  CHECK(report.cached_slots == 2);
  CHECK(report.expired_slots == 1);
  CHECK(report.left_in_transit == 1);
  CHECK(seen == std::vector<std::uint32_t>{held});
  // It names nobody, and its generation goes on when it is put again.
  const Mark now{ring.view.slots[held].mark.load()};
  CHECK(now.is(SlotState::kQuarantined, 0));
  CHECK(now.generation() == held_mark.generation());
  const AuditReport audit = ring.audit();
  CHECK(audit.clean());
  CHECK(audit.quarantined == 1);
  CHECK(audit.in_transit == 1);
  // Run again, it finds nothing.
  Reclaimer<std::atomic> again(ring.view, 5, 1);
  CHECK(again.run_with_quarantine([](std::uint32_t) {}).quarantined_slots == 0);
  CHECK(ring.audit().quarantined == 1);
}

TEST_CASE("more slots than the dead has room for go into magazines of the ring") {
  PlainRing ring({.cells = 9, .slots = 12});
  for (std::uint32_t slot = 0; slot < 11; ++slot) ring.give(slot, 5);
  ring.fill(3, {11});
  ring.view.partial.set(3);
  ring.view.cells[6].owner.store(OwnerWord::thread(5, 1, 2).word);
  ring.view.cells[8].owner.store(OwnerWord::grant(5, 1, 2, 3).word);
  Reclaimer<std::atomic> reclaimer(ring.view, 5, 1);
  const ReclaimReport report = reclaimer.run();
  CHECK(report.held_slots == 11);
  CHECK(report.without_room == 0);
  CHECK(ring.audit().clean());
  CHECK(ring.audit().free == 12);
  // Filled one after the other: no more than one is partial.
  std::uint32_t partial = 0;
  for (std::uint32_t cell = 0; cell < 9; ++cell)
    partial += ring.view.cells[cell].count.load() == 1 ? 1U : 0U;
  CHECK(partial <= 1);
}

TEST_CASE(
    "a magazine damaged in any way is reclaimed without a crash, and other holders keep theirs") {
  for (const std::uint32_t count : {0U, 1U, 2U, 3U, 60U, 61U, 77U, 0xffffffffU}) {
    for (const std::uint32_t low : {0U, 1U, 2U, 3U, 9U, kNone}) {
      for (const std::uint32_t high : {0U, 1U, 2U, 3U, 9U, kNone}) {
        PlainRing ring({.cells = 6, .slots = 4});
        ring.fill(0, {0, 1});
        ring.give(2, 6);  // a live other; 3 is absent
        ring.view.cells[0].owner.store(OwnerWord::thread(5, 1, 1).word);
        ring.view.cells[0].slots[0].store(low);
        ring.view.cells[0].slots[1].store(high);
        ring.view.cells[0].count.store(count);
        CAPTURE(count);
        CAPTURE(low);
        CAPTURE(high);
        Reclaimer<std::atomic> reclaimer(ring.view, 5, 1);
        const ReclaimReport report = reclaimer.run();
        const AuditReport audit = ring.audit();
        CHECK(audit.doubled == 0);
        CHECK(audit.broken == 0);
        CHECK(audit.held == 1);
        CHECK(Mark{ring.view.slots[2].mark.load()}.is(SlotState::kHeld, 6));
        CHECK(Mark{ring.view.slots[3].mark.load()} == Mark{});
        CHECK(ring.view.cells[0].owner.load() == 0);
        const bool damaged =
            count > 2 || (count >= 1 && low > 1) || (count == 2 && (high > 1 || high == low));
        CHECK((report.repairs > 0) == damaged);
      }
    }
  }
}

TEST_CASE(
    "what the daemon left half published or withdrawn is mended, and absent slots stay absent") {
  PlainRing ring({.cells = 2, .slots = 4});
  ring.fill(0, {0, 1});
  ring.view.slots[1].mark.store(
      Mark::make(4, SlotState::kAbsent, 0).word);  // put 2 done, put 3 not
  ring.view.cells[0].owner.store(OwnerWord::daemon(7).word);
  Reclaimer<std::atomic> reclaimer(ring.view, kDaemonClient, 0);
  CHECK(reclaimer.magazines_only().magazines == 1);
  CHECK(ring.audit().clean());
  CHECK(ring.audit().free == 2);
  CHECK(ring.audit().daemon == 2);
  CHECK(Mark{ring.view.slots[1].mark.load()} == Mark::make(5, SlotState::kFree, 0));
}

TEST_CASE("membership beats the mark: reclaim by marks alone is caught" *
          doctest::skip(!kCanSchedule)) {
  for (const bool broken : {false, true}) {
    const Explored result = explore_kills([broken](std::uint32_t kill_after) {
      auto ring = two_magazines();
      Actor victim{[=] { cycle(*ring, 1, false); }};
      victim.kill_after = kill_after;
      return Script{{victim}, [=] {
                      ring->forget_dead(1);
                      if (broken) {
                        reclaim_by_marks(*ring, 1);
                      } else {
                        Reclaimer<ScheduledAtomic>(ring->view, 1, 1).run();
                      }
                      ring->expect_whole();
                      expect_no_trace(*ring, 1);
                    }};
    });
    CHECK((result.failure != "") == broken);
    if (broken) CHECK(result.failure.find("a slot is doubled") == 0);
  }
}

TEST_CASE("reclaim beside a working client takes nothing of it, wherever the dead was killed" *
          doctest::skip(!kCanSchedule)) {
  for (const bool live_keeps : {false, true}) {
    const Explored result = explore_kills(
        [live_keeps](std::uint32_t kill_after) {
          auto ring = two_magazines();
          Actor victim{[=] { cycle(*ring, 1, false); }, kill_after};
          Actor reclaimer{[=] { Reclaimer<ScheduledAtomic>(ring->view, 1, 1).run(); }, kNever, 0,
                          [=] { ring->forget_dead(1); }};
          Actor live{[=] { cycle(*ring, 2, live_keeps); }};
          return Script{{victim, reclaimer, live}, [=] {
                          ring->expect_whole();
                          expect_no_trace(*ring, 1);
                          expect(ring->audit().cached == 0, "a magazine is still owned");
                        }};
        },
        {.runs = 100'000, .preemptions = 2});
    CHECK(result.failure == "");
    CHECK(result.complete);
    CHECK(result.killed > 1000);
  }
}

TEST_CASE("a reclaim killed at any step and run again loses nothing, beside a working client" *
          doctest::skip(!kCanSchedule)) {
  // The victim dies while it holds one slot, has another half put, and owns a magazine.
  std::uint64_t kills = 0;
  for (const std::uint32_t victim_dies : {14U, 15U, 16U, 17U, 18U, 19U, 20U, 21U, 22U}) {
    const Explored result = explore_kills(
        [victim_dies](std::uint32_t kill_after) {
          auto ring = two_magazines();
          Actor victim{[=] { cycle(*ring, 1, false); }, victim_dies};
          victim.dies_anyway = true;
          Actor first{[=] { Reclaimer<ScheduledAtomic>(ring->view, 1, 1).run(); }, kill_after, 0,
                      [=] { ring->forget_dead(1); }};
          Actor again{[=] { Reclaimer<ScheduledAtomic>(ring->view, 1, 1).run(); }, kNever, 1};
          Actor live{[=] { cycle(*ring, 2, false); }, kNever, 0};
          return Script{{victim, first, again, live}, [=] {
                          ring->expect_whole();
                          expect_no_trace(*ring, 1);
                        }};
        },
        {.runs = 20'000, .preemptions = 1});
    CHECK(result.failure == "");
    CHECK(result.complete);
    kills += result.killed;
  }
  CHECK(kills > 1000);
}

TEST_CASE(
    "no slot that the dead held for direct I/O comes into the ring, wherever it and reclaim die" *
    doctest::skip(!kCanSchedule)) {
  std::uint64_t kills = 0;
  for (std::uint32_t victim_dies = 10; victim_dies < 24; ++victim_dies) {
    const Explored result = explore_kills(
        [victim_dies](std::uint32_t kill_after) {
          auto ring = two_magazines();
          const Mark held = ring->give(0, 1);  // and not in its magazine any more
          ring->fill(0, {1});
          ring->view.slots[0].mark.store(held.word);
          Actor victim{[=] { cycle(*ring, 1, false); }, victim_dies};
          victim.dies_anyway = true;
          const auto reclaim = [=] {
            Reclaimer<ScheduledAtomic>(ring->view, 1, 1).run_with_quarantine([](std::uint32_t) {});
          };
          Actor first{reclaim, kill_after, 0, [=] { ring->forget_dead(1); }};
          Actor again{reclaim, kNever, 1};
          Actor live{[=] { cycle(*ring, 2, false); }, kNever, 0};
          return Script{{victim, first, again, live}, [=] {
                          ring->expect_whole();
                          expect_no_trace(*ring, 1);
                          expect(
                              Mark{ring->view.slots[0].mark.load()}.is(SlotState::kQuarantined, 0),
                              "a slot under direct I/O is not quarantined");
                          expect(ring->audit().cached == 0, "a magazine is still owned");
                        }};
        },
        {.runs = 20'000, .preemptions = 1});
    CHECK(result.failure == "");
    CHECK(result.complete);
    kills += result.killed;
  }
  CHECK(kills > 1000);
}

TEST_CASE("three clients with up to three preemptions at random places, one killed, lose nothing" *
          doctest::skip(!kCanSchedule)) {
  std::uint64_t killed = 0;
  for (std::uint32_t kill_after = 0; kill_after < 40; ++kill_after) {
    const Explored result = explore(
        [kill_after] {
          auto ring = two_magazines();
          Actor victim{[=] { cycle(*ring, 1, false); }, kill_after};
          Actor reclaimer{[=] { Reclaimer<ScheduledAtomic>(ring->view, 1, 1).run(); }, kNever, 0,
                          [=] { ring->forget_dead(1); }};
          const auto twice = [=](std::uint32_t client) {
            cycle(*ring, client, false);
            cycle(*ring, client, client == 3);
          };
          return Script{{victim, reclaimer, {[=] { twice(2); }}, {[=] { twice(3); }}}, [=] {
                          ring->expect_whole();
                          expect_no_trace(*ring, 1);
                        }};
        },
        {.runs = 1500, .random_seed = kill_after + 1});
    REQUIRE(result.failure == "");
    CHECK(result.runs == 1500);
    killed += result.killed;
  }
  CHECK(killed > 10'000);
}

TEST_CASE("an entry that a live other puts elsewhere meanwhile is not taken from it" *
          doctest::skip(!kCanSchedule)) {
  const Explored result = explore([] {
    auto ring = std::make_shared<ScheduledRing>(RingShape{.cells = 4, .slots = 2});
    ring->fill(0, {0});
    const Mark held = ring->give(1, 2);
    ring->view.cells[0].slots[1].store(1);  // damage: slot 1 is with client 2
    ring->view.cells[0].count.store(2);
    ring->view.cells[0].owner.store(OwnerWord::thread(1, 1, 1).word);
    ring->view.cells[3].owner.store(OwnerWord::thread(2, 1, 1).word);
    // Where the entry is seen while it is held; later it cannot be told from a good one.
    const auto put = [=] {
      Worker<ScheduledAtomic> worker(*ring, 2);
      worker.cell = 3;
      worker.put(1, held);
    };
    return Script{{{[=] { Reclaimer<ScheduledAtomic>(ring->view, 1, 1).run(); }}, {put}}, [=] {
                    const AuditReport audit = ring->audit();
                    expect(audit.broken == 0 && audit.lost == 0, "damage was spread");
                    expect(Mark{ring->view.slots[1].mark.load()}.is_free(),
                           "a live put was undone");
                    expect(ring->view.cells[3].count.load() == 1, "a live magazine was changed");
                  }};
  });
  CHECK(result.failure == "");
  CHECK(result.complete);
}
