#include <atomic>
#include <cstdint>
#include <memory>

#include <doctest/doctest.h>

#include <zeropool/lib/hand_off.hpp>
#include <zeropool/lib/reclaim.hpp>

#include "tests/unit/support/test_ring.hpp"

using namespace zeropool::lib;
using namespace zeropool::test;

namespace {

// Adopts by look and store, and without a look at the generation.
template <template <typename> class Atom>
bool broken_adopt(SlotWords<Atom>& slot, std::uint32_t adopter) {
  const Mark found{slot.mark.load()};
  if (found.state() != SlotState::kInTransit) return false;
  slot.mark.store(found.with_holder(SlotState::kHeld, adopter).word);
  return true;
}

// Writes the note before it has the mark.
template <template <typename> class Atom>
bool broken_release(SlotWords<Atom>& slot, Mark held, TransitNote note, std::uint64_t& generation) {
  if (slot.mark.load() != held.word) return false;
  slot.note.store(note.word);
  const Mark transit = held.next(SlotState::kInTransit, held.client());
  std::uint64_t expected = held.word;
  if (!slot.mark.compare_exchange_strong(expected, transit.word)) return false;
  generation = transit.generation();
  return true;
}

std::shared_ptr<ScheduledRing> ring_with_transit(std::uint32_t receiver,
                                                 std::uint64_t& generation) {
  auto ring = std::make_shared<ScheduledRing>(RingShape{.cells = 2, .slots = 1});
  ring->fill(0, {});
  const Mark held = ring->give(0, 1);
  ring->let_go(0, 1);
  begin_hand_off(ring->view.slots[0], held, TransitNote::make(100, receiver, 3), generation);
  return ring;
}

}  // namespace

TEST_CASE("a handle brings size, tag and the buffer, once") {
  TestRing<std::atomic> ring({.cells = 1, .slots = 1});
  const Mark held = ring.give(0, 1);
  std::uint64_t generation = 0;
  REQUIRE(begin_hand_off(ring.view.slots[0], held, TransitNote::make(100, 2, 3), generation));
  CHECK(generation == held.generation() + 1);
  CHECK(Mark{ring.view.slots[0].mark.load()} == Mark::make(generation, SlotState::kInTransit, 1));
  CHECK_FALSE(begin_hand_off(ring.view.slots[0], held, TransitNote::make(9, 9, 9), generation));
  TransitNote note;
  CHECK_FALSE(end_hand_off(ring.view.slots[0], generation + 1, 2, note));
  CHECK_FALSE(end_hand_off(ring.view.slots[0], generation - 1, 2, note));
  REQUIRE(end_hand_off(ring.view.slots[0], generation, 2, note));
  CHECK(note.bytes() == 100);
  CHECK(note.receiver() == 2);
  CHECK(note.tag() == 3);
  CHECK_FALSE(end_hand_off(ring.view.slots[0], generation, 2, note));
  CHECK(Mark{ring.view.slots[0].mark.load()} == Mark::make(generation, SlotState::kHeld, 2));
}

TEST_CASE("a look at a handle's note adopts nothing, and an old handle has none") {
  TestRing<std::atomic> ring({.cells = 1, .slots = 1});
  const Mark held = ring.give(0, 1);
  std::uint64_t generation = 0;
  REQUIRE(begin_hand_off(ring.view.slots[0], held, TransitNote::make(100, 2, 3), generation));
  const Mark transit{ring.view.slots[0].mark.load()};
  TransitNote note;
  REQUIRE(read_hand_off(ring.view.slots[0], generation, note));
  CHECK(note.tag() == 3);
  CHECK(note.bytes() == 100);
  CHECK_FALSE(read_hand_off(ring.view.slots[0], generation - 1, note));
  CHECK(Mark{ring.view.slots[0].mark.load()} == transit);
  REQUIRE(end_hand_off(ring.view.slots[0], generation, 2, note));
  CHECK_FALSE(read_hand_off(ring.view.slots[0], generation, note));
}

TEST_CASE("an old handle of a slot that is in transit again adopts nothing") {
  TestRing<std::atomic> ring({.cells = 1, .slots = 1});
  Mark held = ring.give(0, 1);
  std::uint64_t first = 0;
  std::uint64_t second = 0;
  TransitNote note;
  REQUIRE(begin_hand_off(ring.view.slots[0], held, TransitNote::make(1, 0, 0), first));
  REQUIRE(end_hand_off(ring.view.slots[0], first, 2, note));
  held = Mark{ring.view.slots[0].mark.load()};
  REQUIRE(begin_hand_off(ring.view.slots[0], held, TransitNote::make(1, 0, 0), second));
  CHECK_FALSE(end_hand_off(ring.view.slots[0], first, 3, note));
  CHECK(end_hand_off(ring.view.slots[0], second, 3, note));
}

TEST_CASE("of two adopters one has the buffer; look and store is caught" *
          doctest::skip(!kCanSchedule)) {
  for (const bool broken : {false, true}) {
    const Explored result = explore([broken] {
      std::uint64_t generation = 0;
      auto ring = ring_with_transit(0, generation);
      const auto adopt = [=](std::uint32_t client) {
        TransitNote note;
        SlotWords<ScheduledAtomic>& slot = ring->view.slots[0];
        const bool mine =
            broken ? broken_adopt(slot, client) : end_hand_off(slot, generation, client, note);
        if (mine) ring->hold(0, client);
      };
      return Script{{{[=] { adopt(2); }}, {[=] { adopt(3); }}}, [=] {
                      ring->expect_whole();
                      expect(ring->audit().held == 1, "nobody has the buffer");
                    }};
    });
    CHECK((result.failure != "") == broken);
    if (!broken) CHECK(result.complete);
  }
}

TEST_CASE(
    "of two threads that release one buffer one wins, and the note is the winner's; note before "
    "CAS is caught" *
    doctest::skip(!kCanSchedule)) {
  for (const bool broken : {false, true}) {
    const Explored result = explore([broken] {
      struct World {
        ScheduledRing ring{RingShape{.cells = 2, .slots = 1}};
        Mark held;
        std::uint64_t generations[2] = {0, 0};
      };
      auto world = std::make_shared<World>();
      world->ring.fill(0, {});
      world->held = world->ring.give(0, 1);
      world->ring.let_go(0, 1);
      const auto release = [=](std::uint32_t thread) {
        SlotWords<ScheduledAtomic>& slot = world->ring.view.slots[0];
        const auto note = TransitNote::make(100 + thread, 2 + thread, 0);
        std::uint64_t& generation = world->generations[thread];
        if (broken) {
          broken_release(slot, world->held, note, generation);
        } else {
          begin_hand_off(slot, world->held, note, generation);
        }
      };
      return Script{
          {{[=] { release(0); }}, {[=] { release(1); }}}, [=] {
            const bool first = world->generations[0] != 0;
            expect(first != (world->generations[1] != 0), "not one of them won");
            const std::uint32_t winner = first ? 0 : 1;
            TransitNote note;
            expect(end_hand_off(world->ring.view.slots[0], world->generations[winner], 3, note),
                   "the winner's handle is stale");
            expect(note.bytes() == 100 + winner && note.receiver() == 2 + winner,
                   "the note is the loser's");
          }};
    });
    CHECK((result.failure != "") == broken);
    if (!broken) CHECK(result.complete);
  }
}

TEST_CASE("release, adopt and put, with a kill of either at every step, lose nothing" *
          doctest::skip(!kCanSchedule)) {
  for (const bool releaser_dies : {true, false}) {
    const Explored result = explore_kills(
        [releaser_dies](std::uint32_t kill_after) {
          struct World {
            ScheduledRing ring{RingShape{.cells = 3, .slots = 2}};
            ScheduledAtomic<std::uint64_t> mailbox;  // 1 + generation
          };
          auto world = std::make_shared<World>();
          world->ring.fill(0, {0, 1});
          world->ring.view.hot(0).push(0);
          Actor releaser{[=] {
            Worker<ScheduledAtomic> worker(world->ring, 1);
            std::uint32_t slot = kNone;
            Mark mark;
            std::uint64_t generation = 0;
            if (!worker.claim_filled() || !worker.get(slot, mark)) return;
            world->ring.let_go(slot, 1);
            begin_hand_off(world->ring.view.slots[slot], mark, TransitNote::make(5, 2, 0),
                           generation);
            world->mailbox.store(generation + 1);
            worker.release();
          }};
          Actor adopter{[=] {
            for (int look = 0; look < 2; ++look) {
              const std::uint64_t letter = world->mailbox.load();
              if (letter == 0) continue;
              TransitNote note;
              if (!end_hand_off(world->ring.view.slots[1], letter - 1, 2, note)) return;
              world->ring.hold(1, 2);
              expect(note.bytes() == 5 && note.receiver() == 2, "the note is not the hand-off's");
              Worker<ScheduledAtomic> worker(world->ring, 2);
              if (!worker.claim_with_room()) return;
              worker.put(1, Mark{world->ring.view.slots[1].mark.load()});
              worker.release();
              return;
            }
          }};
          (releaser_dies ? releaser : adopter).kill_after = kill_after;
          return Script{{releaser, adopter}, [=] {
                          const std::uint32_t dead = releaser_dies ? 1 : 2;
                          world->ring.forget_dead(dead);
                          Reclaimer<ScheduledAtomic> reclaimer(world->ring.view, dead, 1);
                          expect(reclaimer.run().repairs == 0, "reclaim found damage");
                          world->ring.expect_whole();
                          const AuditReport audit = world->ring.audit();
                          expect(audit.cached == 0, "a magazine is still owned");
                          expect(
                              audit.in_transit == 0 || releaser_dies || world->mailbox.load() != 0,
                              "a slot is in transit to the dead");
                          if (!releaser_dies) {
                            expect(audit.in_transit == 0, "a slot is in transit to the dead");
                          }
                        }};
        },
        {.runs = 300'000});
    CHECK(result.failure == "");
    CHECK(result.complete);
    CHECK(result.killed > 20);
  }
}

TEST_CASE("of an adopter and the reclaim of the dead receiver one has the slot" *
          doctest::skip(!kCanSchedule)) {
  const Explored result = explore([] {
    std::uint64_t generation = 0;
    auto ring = ring_with_transit(2, generation);  // to client 2, which is dead
    const auto adopt = [=] {
      TransitNote note;
      if (end_hand_off(ring->view.slots[0], generation, 3, note)) ring->hold(0, 3);
    };
    const auto reclaim = [=] {
      Reclaimer<ScheduledAtomic> reclaimer(ring->view, 2, 1);
      reclaimer.run();
    };
    return Script{{{adopt}, {reclaim}}, [=] {
                    ring->expect_whole();
                    const AuditReport audit = ring->audit();
                    expect(audit.held + audit.free == 1, "the slot is neither adopted nor back");
                  }};
  });
  CHECK(result.failure == "");
  CHECK(result.complete);
  CHECK(result.runs > 3);
}

TEST_CASE("what the dead released to others is left to them" * doctest::skip(!kCanSchedule)) {
  const Explored result = explore([] {
    std::uint64_t generation = 0;
    auto ring = ring_with_transit(3, generation);
    const auto adopt = [=] {
      TransitNote note;
      expect(end_hand_off(ring->view.slots[0], generation, 3, note),
             "reclaim took another's hand-off");
      ring->hold(0, 3);
    };
    return Script{{{adopt}, {[=] { Reclaimer<ScheduledAtomic>(ring->view, 1, 1).run(); }}},
                  [=] { ring->expect_whole(); }};
  });
  CHECK(result.failure == "");
  CHECK(result.complete);
}
