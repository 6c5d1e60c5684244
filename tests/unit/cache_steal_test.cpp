#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/lib/cache_steal.hpp>
#include <zeropool/lib/hot_path.hpp>
#include <zeropool/lib/reclaim.hpp>

#include "tests/unit/support/test_ring.hpp"

using namespace zeropool::lib;
using namespace zeropool::test;

namespace {

constexpr std::uint32_t kClient = 7;
constexpr std::uint32_t kOther = 8;
constexpr OwnerWord kMe = OwnerWord::thread(kClient, 1, 0);

// Thread 0 of client 7 with one magazine loaded, as its client keeps it; and a thief.
template <template <typename> class Atom>
struct Thread {
  TestRing<Atom> ring{RingShape{.cells = 3, .slots = 2, .magazine_slots = 1, .hot_size = 1}};
  ThreadRecord<Atom> record{};
  RingRecord<Atom> named{};
  ThreadCache<Atom> cache{};
  RingCache<Atom> rings{};
  Magazine<Atom> dummy{};
  std::vector<StealRing<Atom>> stolen_rings{{ring.view, 0}};
  CacheSteal<Atom> steal{stolen_rings};
  std::vector<StolenMagazine> list;

  Thread() {
    ring.fill(0, {0});
    ring.fill(1, {1});
    ring.view.cells[0].owner.store(kMe.word);
    dummy.count.store(kDummyCount);
    record.owner.store(kMe.word);
    record.barriers.store(1);
    named.loaded.store(1);
    named.limit.store(1);
    cache.record = &record;
    cache.held_bits = Mark::holder_bits(SlotState::kHeld, kClient);
    rings.loaded = &ring.view.cells[0];
    rings.record = &named;
    rings.slots = ring.view.slots;
    rings.slot_bound = 2;
    list.reserve(16);
  }

  void load(std::uint32_t cell) {
    rings.loaded = cell == kNone ? &dummy : &ring.view.cells[cell];
    named.loaded.store(cell == kNone ? 0 : cell + 1);
  }
  void forget() {
    load(kNone);
    named.previous.store(0);
    named.spare_count.store(0);
  }
  // As CacheOps::begin().
  void begin() {
    while (!enter(record)) {
      leave(record);
      answer_steal(record, [this] { forget(); });
    }
  }
  std::uint32_t loaded_cell() const { return loaded_number(named.loaded.load()) - 1; }

  // A get by the hit path, else by another magazine of the ring.
  bool get(std::uint32_t& slot, Mark& mark) {
    if (get_hit(cache, rings, slot, mark)) {
      ring.hold(slot, kClient);
      return true;
    }
    begin();
    bool got = take_slot(*rings.loaded, rings.slots, 2U, cache.held_bits, slot, mark) ==
               TakeOutcome::kTaken;
    if (!got) {
      BatchRing<Atom> batch(ring.view);
      const std::uint32_t old = loaded_cell();
      for (std::uint32_t cell = 0; cell < 3 && !got; ++cell) {
        if (!batch.try_claim(cell, kMe)) continue;
        if (ring.view.cells[cell].count.load() == 0) {
          batch.release(cell, kMe, 0);
          continue;
        }
        if (old != kNone) batch.release(old, kMe, 0);
        load(cell);
        got = take_slot(*rings.loaded, rings.slots, 2U, cache.held_bits, slot, mark) ==
              TakeOutcome::kTaken;
      }
    }
    if (got) ring.hold(slot, kClient);
    leave(record);
    return got;
  }
  void put(std::uint32_t slot, Mark mark) {
    ring.let_go(slot, kClient);
    if (put_hit(cache, rings, slot, mark.generation_alone())) return;
    begin();
    BatchRing<Atom> batch(ring.view);
    for (std::uint32_t pass = 0; rings.loaded->count.load() != 0 && pass < 8; ++pass) {
      const std::uint32_t old = loaded_cell();
      for (std::uint32_t cell = 0; cell < 3; ++cell) {
        if (!batch.try_claim(cell, kMe)) continue;
        if (ring.view.cells[cell].count.load() != 0) {
          batch.release(cell, kMe, 0);
          continue;
        }
        if (old != kNone) batch.release(old, kMe, 0);
        load(cell);
        break;
      }
    }
    expect(put_slot(*rings.loaded, rings.slots, slot, mark), "there is no room for a put");
    leave(record);
  }

  // The thief: steps 1 to 5.
  enum class Variant { kRight, kNoLook, kListAfterTaken };
  void take(Variant variant = Variant::kRight) {
    if (!ask_for_caches(record)) return;
    if (variant != Variant::kNoLook && !caches_are_idle(record)) return;
    list.clear();
    if (variant != Variant::kListAfterTaken) steal.list_by_record(0, &named, kMe, list);
    if (!take_caches(record)) return;
    if (variant == Variant::kListAfterTaken) steal.list_by_record(0, &named, kMe, list);
    for (std::size_t i = 0; i < list.size(); ++i) steal.release(list[i]);
  }
  bool anything_unnamed() {
    list.clear();
    steal.list_by_words(
        0, [](OwnerWord owner) { return owner == kMe; }, list);
    bool unnamed = false;
    const bool taken = record.steal.load() == kStealTaken;
    for (std::size_t i = 0; i < list.size(); ++i) {
      unnamed = unnamed || taken || !steal.is_named(&named, 0, list[i].cell);
    }
    return unnamed;
  }
  // What the next thief does first: takes by the owner words what nobody knows of any more.
  void finish_broken() {
    leave_caches(record);
    if (!anything_unnamed()) return;
    if (record.steal.load() != kStealTaken && !ask_for_caches(record)) return;
    if (!caches_are_idle(record)) return;
    list.clear();
    steal.list_by_words(
        0, [](OwnerWord owner) { return owner == kMe; }, list);
    if (!take_caches(record)) return;
    for (std::size_t i = 0; i < list.size(); ++i) steal.release(list[i]);
  }
  void expect_all_known() {
    ring.expect_whole();
    expect(!anything_unnamed(), "a magazine is owned by a thread that does not know of it");
  }
};

using Scheduled = Thread<ScheduledAtomic>;

// get, put, get: by hit and by claim, whatever is taken meanwhile. It keeps what it got last.
void work(Scheduled& thread) {
  std::uint32_t slot = kNone;
  Mark mark;
  if (!thread.get(slot, mark)) return;
  thread.put(slot, mark);
  thread.get(slot, mark);
}

// Somebody else who takes a slot out of whatever lies in the ring.
void rob(Scheduled& thread) {
  Worker<ScheduledAtomic> other(thread.ring, kOther);
  for (std::uint32_t cell = 0; cell < 2; ++cell) {
    if (!other.batch.try_claim(cell, other.me)) continue;
    other.cell = cell;
    std::uint32_t slot = kNone;
    Mark mark;
    other.get(slot, mark);
    other.release();
  }
}

Explored steal_against(Scheduled::Variant variant) {
  return explore(
      [variant] {
        auto thread = std::make_shared<Scheduled>();
        return Script{{{[=] { work(*thread); }}, {[=] {
                         thread->take(variant);
                         rob(*thread);
                       }}},
                      [=] { thread->expect_all_known(); }};
      },
      {.preemptions = 3});
}

}  // namespace

TEST_CASE("an idle thread's magazines go to the ring, and it forgets them when it wakes") {
  Thread<std::atomic> thread;
  thread.ring.view.cells[1].owner.store(kMe.word);
  thread.named.previous.store(2);
  thread.take();
  CHECK(thread.record.steal.load() == kStealTaken);
  CHECK(thread.list.size() == 2);
  CHECK(thread.ring.audit().free == 2);
  CHECK_FALSE(ask_for_caches(thread.record));  // it has not answered
  std::uint32_t slot = kNone;
  Mark mark;
  CHECK(thread.get(slot, mark));
  CHECK(thread.record.steal.load() == kStealNone);
  CHECK(thread.named.previous.load() == 0);
  thread.expect_all_known();
}

TEST_CASE("a thread at work, and one whose process takes part in no barrier, is left alone") {
  Thread<std::atomic> thread;
  thread.record.busy.store(1);
  thread.take();
  CHECK(thread.record.steal.load() == kStealNone);
  CHECK(thread.list.empty());
  thread.record.busy.store(0);
  thread.record.barriers.store(0);
  CHECK_FALSE(ask_for_caches(thread.record));
  CHECK(thread.record.steal.load() == kStealNone);
  CHECK(thread.ring.view.cells[0].owner.load() == kMe.word);
}

TEST_CASE(
    "a record that names what is not its thread's, or one magazine twice, gives nothing more") {
  Thread<std::atomic> thread;
  thread.ring.view.cells[1].owner.store(OwnerWord::thread(kOther, 1, 5).word);
  thread.named.previous.store(1);  // as loaded
  thread.named.spare_count.store(77);
  for (std::uint32_t i = 0; i < kMaxSpares; ++i) thread.named.spares[i].store(0xffffff00U + i);
  thread.named.spares[0].store(2);  // another thread's
  thread.named.spares[1].store(3);  // the ring's
  thread.named.spares[2].store(4);  // none
  thread.take();
  REQUIRE(thread.list.size() == 1);
  CHECK(thread.list[0].cell == 0);
  CHECK(thread.list[0].slots == 1);
  CHECK(thread.ring.view.cells[1].owner.load() == OwnerWord::thread(kOther, 1, 5).word);
  // The same magazine once more in the list would be released under its next owner.
  CHECK_FALSE(thread.steal.release(thread.list[0]));
}

TEST_CASE("a thread that gets, puts and claims while its caches are taken: no slot in two hands" *
          doctest::skip(!kCanSchedule)) {
  const Explored result = steal_against(Scheduled::Variant::kRight);
  CHECK(result.failure == "");
  CHECK(result.complete);
  MESSAGE(result.runs << " interleavings");
}

TEST_CASE("taken without a look at busy, or listed after TAKEN: found" *
          doctest::skip(!kCanSchedule)) {
  CHECK(steal_against(Scheduled::Variant::kNoLook).failure != "");
  CHECK(steal_against(Scheduled::Variant::kListAfterTaken).failure != "");
}

TEST_CASE("a thief killed at any step is followed by one that finishes" *
          doctest::skip(!kCanSchedule)) {
  for (const bool finishes : {true, false}) {
    const Explored result = explore_kills(
        [finishes](std::uint32_t kill_after) {
          auto thread = std::make_shared<Scheduled>();
          Actor thief{[=] { thread->take(); }, kill_after};
          Actor next{[=] {
                       if (finishes) thread->finish_broken();
                     },
                     kNever, 1};
          return Script{{{[=] { work(*thread); }}, thief, next}, [=] {
                          // The thread may have been awake at each look; it sleeps now.
                          if (finishes) thread->finish_broken();
                          thread->expect_all_known();
                        }};
        },
        {.preemptions = 3});
    CHECK((result.failure == "") == finishes);
    if (finishes) {
      CHECK(result.failure == "");
      CHECK(result.complete);
      CHECK(result.killed > 8);
    }
  }
}

TEST_CASE("a thief killed twice, the second time at the mending, is followed by one that finishes" *
          doctest::skip(!kCanSchedule)) {
  std::uint32_t killed = 0;
  for (std::uint32_t first = 0; first < 14; ++first) {
    const Explored result = explore_kills(
        [first](std::uint32_t kill_after) {
          auto thread = std::make_shared<Scheduled>();
          Actor thief{[=] { thread->take(); }, first, -1, {}, true};
          Actor next{[=] { thread->finish_broken(); }, kill_after, 1};
          return Script{{{[=] { work(*thread); }}, thief, next}, [=] {
                          thread->finish_broken();
                          thread->expect_all_known();
                        }};
        },
        {.preemptions = 2});
    CHECK_MESSAGE(result.failure == "", "first killed after " << first);
    killed += result.killed;
  }
  CHECK(killed > 100);
}

TEST_CASE("a thread killed at any step while its caches are taken is reclaimed whole" *
          doctest::skip(!kCanSchedule)) {
  const Explored result = explore_kills(
      [](std::uint32_t kill_after) {
        auto thread = std::make_shared<Scheduled>();
        Actor victim{[=] { work(*thread); }, kill_after};
        return Script{{victim, {[=] { thread->take(); }}}, [=] {
                        thread->ring.forget_dead(kClient);
                        Reclaimer<ScheduledAtomic> reclaimer(thread->ring.view, kClient, 1);
                        expect(reclaimer.run().repairs == 0, "reclaim found damage");
                        thread->ring.expect_whole();
                        expect(thread->ring.audit().free == 2, "not every slot came back");
                      }};
      },
      {.preemptions = 3});
  CHECK(result.failure == "");
  CHECK(result.complete);
  CHECK(result.killed > 30);
}
