#include <cstdint>
#include <memory>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/lib/hint_queue.hpp>

#include "tests/unit/support/schedule.hpp"

using namespace zeropool::lib;
using namespace zeropool::test;

namespace {

template <template <typename> class Atom>
struct Queue {
  HotQueueHead<Atom> head{};
  Atom<std::uint32_t> entries[4] = {};
  HotQueue<Atom> queue{&head, entries, 4};
};

// Where each number 0..9 came out; exactly once is right.
struct Seen {
  ScheduledAtomic<std::uint32_t> times[10];
  void add(std::uint32_t number) {
    if (number != kNone) times[number].fetch_add(1);
  }
};

struct World {
  Queue<ScheduledAtomic> q;
  Seen seen;
  void expect_each_once(std::uint32_t numbers) {
    for (auto& entry : q.entries) {
      const std::uint32_t left = entry.load();
      if (left != 0) seen.add(left - 1);
    }
    for (std::uint32_t i = 0; i < numbers; ++i) {
      expect(seen.times[i].load() == 1, "a number came out not once");
    }
  }
};

}  // namespace

TEST_CASE("the oldest number comes first") {
  Queue<std::atomic> q;
  std::uint32_t lost = 0;
  for (std::uint32_t i = 0; i < 4; ++i) CHECK(q.queue.push(i + 10) == kNone);
  CHECK(q.queue.size_estimate() == 4);
  for (std::uint32_t i = 0; i < 4; ++i) CHECK(q.queue.pop(4, lost) == i + 10);
  CHECK(q.queue.pop(4, lost) == kNone);
  CHECK(lost == 0);
  CHECK(q.queue.size_estimate() == 0);
}

TEST_CASE("an overrun returns what it displaces, and the oldest left is still first") {
  Queue<std::atomic> q;
  std::uint32_t lost = 0;
  for (std::uint32_t i = 0; i < 4; ++i) CHECK(q.queue.push(i) == kNone);
  for (std::uint32_t i = 4; i < 11; ++i) CHECK(q.queue.push(i) == i - 4);
  CHECK(q.queue.size_estimate() == 4);
  for (std::uint32_t i = 7; i < 11; ++i) CHECK(q.queue.pop(4, lost) == i);
  CHECK(q.queue.pop(4, lost) == kNone);
  CHECK(lost == 0);
}

TEST_CASE("a head before its tail, by any damage, ends no push and no pop") {
  for (const std::uint64_t head : {std::uint64_t{5}, ~std::uint64_t{0}, std::uint64_t{1} << 63}) {
    for (const std::uint64_t tail : {std::uint64_t{0}, ~std::uint64_t{0}, std::uint64_t{1} << 62}) {
      Queue<std::atomic> q;
      q.head.head.store(head);
      q.head.tail.store(tail);
      std::uint32_t lost = 0;
      std::uint32_t out = 0;
      for (std::uint32_t i = 0; i < 20; ++i) {
        if (q.queue.push(i) != kNone) ++out;
        if (q.queue.pop(4, lost) != kNone) ++out;
      }
      std::uint32_t left = 0;
      for (auto& entry : q.entries) left += entry.load() != 0 ? 1U : 0U;
      CHECK(out + left == 20);  // Q1
    }
  }
}

TEST_CASE("cursors at the end of 64 bits go on") {
  Queue<std::atomic> q;
  q.head.head.store(~std::uint64_t{0} - 2);
  q.head.tail.store(~std::uint64_t{0} - 2);
  std::uint32_t lost = 0;
  for (std::uint32_t i = 0; i < 12; ++i) {
    CHECK(q.queue.push(i) == kNone);
    CHECK(q.queue.pop(4, lost) == i);
  }
}

TEST_CASE("pushes and pops in any order lose and double no number" * doctest::skip(!kCanSchedule)) {
  for (const std::uint32_t before : {0U, 1U, 3U, 4U}) {
    const Explored result = explore([before] {
      auto world = std::make_shared<World>();
      for (std::uint32_t i = 0; i < before; ++i) world->q.queue.push(i);
      const auto push_pop = [world](std::uint32_t number) {
        std::uint32_t lost = 0;
        world->seen.add(world->q.queue.push(number));
        world->seen.add(world->q.queue.pop(2, lost));
        world->seen.add(world->q.queue.pop(2, lost));
      };
      return Script{{{[=] { push_pop(before); }}, {[=] { push_pop(before + 1); }}},
                    [=] { world->expect_each_once(before + 2); }};
    });
    CHECK(result.failure == "");
    CHECK(result.complete);
    CHECK(result.runs > 20);
  }
}

TEST_CASE("a queue that looks before it exchanges is caught" * doctest::skip(!kCanSchedule)) {
  const Explored result = explore([] {
    auto world = std::make_shared<World>();
    world->q.queue.push(0);
    const auto broken_pop = [world] {  // the entry is loaded, then cleared
      const std::uint32_t entry = world->q.entries[0].load();
      world->q.entries[0].store(0);
      if (entry != 0) world->seen.add(entry - 1);
    };
    return Script{{{broken_pop}, {broken_pop}}, [=] { world->expect_each_once(1); }};
  });
  CHECK(result.failure != "");
}

TEST_CASE("a kill in push or pop loses its own number at most" * doctest::skip(!kCanSchedule)) {
  for (const bool pusher_dies : {true, false}) {
    const Explored result = explore_kills([pusher_dies](std::uint32_t kill_after) {
      auto world = std::make_shared<World>();
      for (std::uint32_t i = 0; i < 3; ++i) world->q.queue.push(i);
      Actor push{[=] { world->seen.add(world->q.queue.push(3)); }};
      Actor pop{[=] {
        std::uint32_t lost = 0;
        world->seen.add(world->q.queue.pop(4, lost));
      }};
      (pusher_dies ? push : pop).kill_after = kill_after;
      return Script{{push, pop}, [=] {
                      std::uint32_t lost = 0;
                      for (int i = 0; i < 8; ++i) {  // it stays usable
                        world->seen.add(world->q.queue.push(static_cast<std::uint32_t>(4 + i % 4)));
                        world->seen.add(world->q.queue.pop(4, lost));
                      }
                      for (auto& entry : world->q.entries) {
                        if (entry.load() != 0) world->seen.add(entry.load() - 1);
                      }
                      std::uint32_t missing = 0;
                      for (std::uint32_t i = 0; i < 4; ++i) {
                        const std::uint32_t times = world->seen.times[i].load();
                        expect(times <= 1, "a number came out twice");
                        missing += times == 0 ? 1U : 0U;
                      }
                      expect(missing <= 1, "a kill lost more than one number");
                    }};
    });
    CHECK(result.failure == "");
    CHECK(result.complete);
    CHECK(result.killed > 0);
  }
}
