#include <atomic>
#include <cstdint>
#include <memory>

#include <doctest/doctest.h>

#include <zeropool/lib/cache_steal.hpp>
#include <zeropool/lib/hot_path.hpp>
#include <zeropool/lib/thread_tally.hpp>

#include "tests/unit/support/test_ring.hpp"

using namespace zeropool::lib;
using namespace zeropool::test;

namespace {

constexpr OwnerWord kMe = OwnerWord::thread(7, 1, 0);
constexpr std::uint64_t kOthersTakes = 1000 * kTake<std::atomic>;

// Thread 0 of client 7 with magazine 0 loaded, two slots in it; magazine 1 is its own, too.
template <template <typename> class Atom>
struct Scene {
  TestRing<Atom> ring{RingShape{.cells = 2, .slots = 3}};
  ThreadRecord<Atom> thread{};
  RingRecord<Atom> record{};
  ThreadCache<Atom> cache{};
  RingCache<Atom> rings{};
  Magazine<Atom> dummy{};
  std::uint64_t done = 0;  // hits of the thread

  Scene() {
    ring.fill(0, {0, 1});
    ring.fill(1, {2});
    for (std::uint32_t cell = 0; cell < 2; ++cell) ring.view.cells[cell].owner.store(kMe.word);
    dummy.count.store(kDummyCount);
    thread.owner.store(kMe.word);
    thread.barriers.store(1);
    record.limit.store(2);
    cache.record = &thread;
    cache.held_bits = Mark::holder_bits(SlotState::kHeld, 7);
    rings.record = &record;
    rings.slots = ring.view.slots;
    rings.slot_bound = 3;
    load(0, Tally{});
  }
  void load(std::uint32_t cell, Tally tally) {
    rings.loaded = &ring.view.cells[cell];
    settle(record, tally, cell + 1, rings.loaded);
  }
  Tally own() const { return own_tally(record, rings.loaded); }
  Tally read() const {
    return read_tally(thread, record, [this](std::uint32_t number) -> const Magazine<Atom>* {
      return number <= 2 ? &ring.view.cells[number - 1] : nullptr;
    });
  }
  void get() {
    std::uint32_t slot = kNone;
    Mark mark;
    if (get_hit(cache, rings, slot, mark)) ++done;
  }
  // As CacheOps::begin().
  void begin() {
    while (!enter(thread)) {
      leave(thread);
      answer_steal(thread, [this] {
        rings.loaded = &dummy;
        settle<Atom>(record, {record.taken_hits.load(), record.taken_puts.load()}, 0, nullptr);
      });
    }
  }
  // What another does with magazine 0 once it is not the thread's.
  void use_by_another() {
    Magazine<Atom>& magazine = ring.view.cells[0];
    if (magazine.owner.load() == kMe.word) return;
    magazine.count.word.store(magazine.count.word.load() + kOthersTakes);
  }
};

// A reader without the second look.
template <template <typename> class Atom>
Tally read_once(const Scene<Atom>& scene) {
  const std::uint64_t loaded = scene.record.loaded.load();
  const TallyBase<Atom>& base = scene.record.tallies[(loaded >> 32) & 1];
  const Tally tally{base.hits.load(), base.puts.load()};
  const std::uint64_t since = base.since.load();
  if (loaded_number(loaded) == 0) return tally;
  return advance(tally, since, scene.ring.view.cells[loaded_number(loaded) - 1].count.word.load());
}

}  // namespace

TEST_CASE("hits are counted by the magazine's word, through settles and changes of the magazine") {
  Scene<std::atomic> scene;
  scene.get();
  CHECK(scene.own().hits == 1);
  CHECK(scene.own().puts == 0);
  REQUIRE(
      put_hit(scene.cache, scene.rings, 1, Mark::make(1, SlotState::kHeld, 7).generation_alone()));
  CHECK(scene.own().hits == 1);
  CHECK(scene.own().puts == 1);
  // A slot that leaves by neither.
  const Tally before = scene.own();
  scene.rings.loaded->count.store(1);
  settle(scene.record, before, 1, scene.rings.loaded);
  scene.get();
  scene.load(1, scene.own());
  scene.get();
  scene.get();  // it is empty
  CHECK(scene.own().hits == 3);
  CHECK(scene.own().puts == 1);
  CHECK(scene.read().hits == 3);
  settle<std::atomic>(scene.record, scene.own(), 0, nullptr);
  CHECK(scene.read().hits == 3);
  CHECK(scene.read().puts == 1);
}

TEST_CASE("a count word wraps, a link lies over its takes, and its count stays") {
  CHECK(advance({5, 5}, ~std::uint64_t{0xff} | 3, 1).hits == 6);
  CHECK(advance({5, 5}, ~std::uint64_t{0xff} | 3, 1).puts == 4);
  CountWord<std::atomic> word{};
  word.store(59);
  word.set_link(0xfffffffe);
  CHECK(word.load() == 59);
  CHECK(word.link() == 0xfffffffe);
  word.store(0);
  CHECK(word.link() == 0xfffffffe);
  word.set_link(0);
  CHECK(word.load() == 0);
  CHECK(word.word.load() == 0);
}

TEST_CASE("who reads while a thread changes its magazine sees one moment" *
          doctest::skip(!kCanSchedule)) {
  for (const bool looks_twice : {true, false}) {
    const Explored result = explore([looks_twice] {
      auto scene = std::make_shared<Scene<ScheduledAtomic>>();
      const auto owner = [=] {
        scene->get();
        scene->load(1, scene->own());
        scene->ring.view.cells[0].owner.store(0);
        scene->use_by_another();
      };
      const auto reader = [=] {
        const Tally seen = looks_twice ? scene->read() : read_once(*scene);
        expect(seen.hits <= 1 && seen.puts == 0, "another's gets were counted");
      };
      return Script{{{owner}, {reader}}, [=] {
                      expect(scene->read().hits == scene->done, "hits were lost");
                      expect(scene->read().puts == 0, "a put was made up");
                    }};
    });
    CHECK((result.failure == "") == looks_twice);
    if (looks_twice) CHECK(result.complete);
  }
}

TEST_CASE("a thief that takes the magazine takes no count" * doctest::skip(!kCanSchedule)) {
  for (const bool notes_first : {true, false}) {
    const Explored result = explore([notes_first] {
      auto scene = std::make_shared<Scene<ScheduledAtomic>>();
      const auto owner = [=] {
        scene->get();
        scene->begin();
        leave(scene->thread);
      };
      const auto thief = [=] {
        if (!ask_for_caches(scene->thread) || !caches_are_idle(scene->thread)) return;
        const Tally tally = scene->read();
        if (notes_first) note_taken(scene->record, tally);
        if (!take_caches(scene->thread)) return;
        if (!notes_first) note_taken(scene->record, tally);
        scene->ring.view.cells[0].owner.store(0);
        scene->use_by_another();
      };
      return Script{{{owner}, {thief}}, [=] {
                      expect(scene->read().hits == scene->done, "hits were lost");
                      expect(scene->read().puts == 0, "a put was made up");
                    }};
    });
    CHECK((result.failure == "") == notes_first);
    if (notes_first) CHECK(result.complete);
  }
}

TEST_CASE("a kill at any step leaves each hit counted once, and so does a second settle" *
          doctest::skip(!kCanSchedule)) {
  const Explored result = explore_kills([](std::uint32_t kill_after) {
    auto scene = std::make_shared<Scene<ScheduledAtomic>>();
    Actor victim{[=] {
                   scene->get();
                   scene->load(1, scene->own());
                   scene->get();
                   settle<ScheduledAtomic>(scene->record, scene->own(), 0, nullptr);
                 },
                 kill_after};
    return Script{{victim}, [=] {
                    std::uint64_t takes = 0;
                    for (std::uint32_t cell = 0; cell < 2; ++cell) {
                      takes += scene->ring.view.cells[cell].count.word.load() >> 8;
                    }
                    expect(scene->read().hits == takes, "a hit is not counted, or twice");
                    expect(scene->read().puts == 0, "a put was made up");
                    settle<ScheduledAtomic>(scene->record, scene->read(), 0, nullptr);
                    settle<ScheduledAtomic>(scene->record, scene->read(), 0, nullptr);
                    expect(scene->read().hits == takes, "settling again changes the count");
                  }};
  });
  CHECK(result.failure == "");
  CHECK(result.killed > 20);
}
