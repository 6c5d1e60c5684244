#include <atomic>
#include <cstdint>
#include <memory>

#include <doctest/doctest.h>

#include <zeropool/lib/hot_path.hpp>
#include <zeropool/lib/reclaim.hpp>
#include <zeropool/lib/thread_tally.hpp>

#include "tests/unit/support/test_ring.hpp"

using namespace zeropool::lib;
using namespace zeropool::test;

namespace {

// A thread of client 7 with magazine 0 loaded.
template <template <typename> class Atom>
struct Thread {
  TestRing<Atom> ring{RingShape{.cells = 2, .slots = 3}};
  ThreadRecord<Atom> record{};
  RingRecord<Atom> ring_record{};
  ThreadCache<Atom> cache{};
  RingCache<Atom> rings{};
  Thread() {
    ring.fill(0, {0, 1});
    ring.view.cells[0].owner.store(OwnerWord::thread(7, 1, 1).word);
    ring_record.limit.store(2);
    cache.record = &record;
    cache.held_bits = Mark::holder_bits(SlotState::kHeld, 7);
    rings.loaded = &ring.view.cells[0];
    settle(ring_record, Tally{}, 1, rings.loaded);
    rings.record = &ring_record;
    rings.slots = ring.view.slots;
    rings.slot_bound = 3;
  }
};

}  // namespace

TEST_CASE("what is put last is got first, and each hit is counted once") {
  Thread<std::atomic> thread;
  std::uint32_t slot = 0;
  Mark mark;
  REQUIRE(get_hit(thread.cache, thread.rings, slot, mark));
  CHECK(slot == 1);
  CHECK(mark == Mark::make(1, SlotState::kAbsent, 0));  // the generation alone
  CHECK(Mark{thread.ring.view.slots[1].mark.load()} == Mark::make(1, SlotState::kHeld, 7));
  CHECK(thread.record.busy.load() == 0);
  REQUIRE(put_hit(thread.cache, thread.rings, slot, mark.generation_alone()));
  CHECK_FALSE(put_hit(thread.cache, thread.rings, slot, mark.generation_alone()));  // put twice
  REQUIRE(get_hit(thread.cache, thread.rings, slot, mark));
  CHECK(slot == 1);
  CHECK(mark.generation() == 2);
  const Tally counted = own_tally(thread.ring_record, thread.rings.loaded);
  CHECK(counted.hits == 2);
  CHECK(counted.puts == 1);
}

TEST_CASE("an empty, dummy or damaged magazine serves no hit and is left as it is") {
  for (const std::uint32_t count : {0U, kDummyCount, 60U, 77U}) {
    Thread<std::atomic> thread;
    thread.ring.view.cells[0].count.store(count);
    const Mark held = thread.ring.give(2, 7);
    std::uint32_t slot = 0;
    Mark mark;
    CHECK_FALSE(get_hit(thread.cache, thread.rings, slot, mark));
    if (count != 0) CHECK_FALSE(put_hit(thread.cache, thread.rings, 2, held.generation_alone()));
    CHECK(thread.ring.view.cells[0].count.load() == count);
    CHECK(thread.record.busy.load() == 0);
  }
}

TEST_CASE("a put of what is not mine, of an old generation, or beyond the limit is no hit") {
  Thread<std::atomic> thread;
  thread.ring.view.cells[0].count.store(1);
  const Mark held = thread.ring.give(2, 7);
  CHECK_FALSE(put_hit(thread.cache, thread.rings, 2, held.next(SlotState::kAbsent, 0)));
  CHECK_FALSE(
      put_hit(thread.cache, thread.rings, 3, held.generation_alone()));  // beyond slot_bound
  thread.ring_record.limit.store(0);
  CHECK_FALSE(put_hit(thread.cache, thread.rings, 2, held.generation_alone()));
  thread.ring_record.limit.store(2);
  thread.ring.give(2, 8);
  CHECK_FALSE(put_hit(thread.cache, thread.rings, 2, held.generation_alone()));
  thread.ring.give(2, 7);
  CHECK(put_hit(thread.cache, thread.rings, 2, held.generation_alone()));
}

TEST_CASE("an entry that is not free or no slot is left to the slow path") {
  for (const std::uint32_t entry : {2U, 3U, kNone}) {
    Thread<std::atomic> thread;
    thread.ring.view.cells[0].slots[1].store(entry);
    std::uint32_t slot = 0;
    Mark mark;
    CHECK_FALSE(get_hit(thread.cache, thread.rings, slot, mark));
    CHECK(thread.ring.view.cells[0].count.load() == 2);
  }
}

TEST_CASE("while the daemon asks for or has the caches, no hit touches a magazine") {
  for (const std::uint32_t steal : {kStealRequested, kStealTaken}) {
    Thread<std::atomic> thread;
    thread.record.steal.store(steal);
    std::uint32_t slot = 0;
    Mark mark;
    CHECK_FALSE(get_hit(thread.cache, thread.rings, slot, mark));
    thread.ring.view.cells[0].count.store(1);
    const Mark held = thread.ring.give(2, 7);
    CHECK_FALSE(put_hit(thread.cache, thread.rings, 2, held.generation_alone()));
    CHECK(thread.ring.view.cells[0].count.load() == 1);
    CHECK(thread.record.busy.load() == 0);
  }
}

TEST_CASE("an idle thread's magazine is taken only between its operations" *
          doctest::skip(!kCanSchedule)) {
  for (const bool asks_busy : {true, false}) {
    const Explored result = explore([asks_busy] {
      auto thread = std::make_shared<Thread<ScheduledAtomic>>();
      const auto owner = [=] {
        std::uint32_t slot = kNone;
        Mark mark;
        for (int i = 0; i < 2; ++i) {
          if (get_hit(thread->cache, thread->rings, slot, mark)) thread->ring.hold(slot, 7);
        }
      };
      const auto daemon = [=] {
        std::uint32_t expected = kStealNone;
        if (!thread->record.steal.compare_exchange_strong(expected, kStealRequested)) return;
        if (asks_busy && thread->record.busy.load() != 0) {
          thread->record.steal.store(kStealNone);
          return;
        }
        thread->record.steal.store(kStealTaken);
        thread->ring.view.cells[0].owner.store(0);
        Worker<ScheduledAtomic> thief(thread->ring, 8);
        std::uint32_t slot = kNone;
        Mark mark;
        if (!thief.batch.try_claim(0, thief.me)) return;
        thief.cell = 0;
        thief.get(slot, mark);
      };
      return Script{{{owner}, {daemon}}, [=] {
                      expect(thread->ring.audit().lost <= 1, "slots are lost");  // slot 2 is absent
                      expect(thread->ring.audit().doubled == 0, "a slot is doubled");
                    }};
    });
    CHECK((result.failure == "") == asks_busy);
    if (asks_busy) CHECK(result.complete);
  }
}

TEST_CASE("a kill at any step of a hit loses nothing" * doctest::skip(!kCanSchedule)) {
  const Explored result = explore_kills([](std::uint32_t kill_after) {
    auto thread = std::make_shared<Thread<ScheduledAtomic>>();
    Actor victim{[=] {
                   std::uint32_t slot = kNone;
                   std::uint32_t second = kNone;
                   Mark mark;
                   Mark second_mark;
                   if (!get_hit(thread->cache, thread->rings, slot, mark)) return;
                   if (!get_hit(thread->cache, thread->rings, second, second_mark)) return;
                   put_hit(thread->cache, thread->rings, slot, mark.generation_alone());
                 },
                 kill_after};
    return Script{{victim}, [=] {
                    Reclaimer<ScheduledAtomic> reclaimer(thread->ring.view, 7, 1);
                    expect(reclaimer.run().repairs == 0, "reclaim found damage");
                    thread->ring.expect_whole();
                    expect(thread->ring.audit().free == 2, "not every slot came back");
                  }};
  });
  CHECK(result.failure == "");
  CHECK(result.killed > 20);
}
