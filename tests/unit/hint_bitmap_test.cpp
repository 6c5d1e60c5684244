#include <cstdint>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/lib/hint_bitmap.hpp>

#include "tests/unit/support/schedule.hpp"

using namespace zeropool::lib;
using namespace zeropool::test;

namespace {

template <template <typename> class Atom>
struct Bits {
  explicit Bits(std::uint32_t word_count)
      : summary((word_count + 63) / 64),
        words(word_count),
        bitmap(&head, summary.data(), words.data(), word_count) {}
  HintBitmapHead<Atom> head{};
  std::vector<Atom<std::uint64_t>> summary;
  std::vector<Atom<std::uint64_t>> words;
  HintBitmap<Atom> bitmap;
  std::uint32_t take() {
    std::uint32_t lost = 0;
    bool emptied = false;
    return bitmap.take(lost, emptied);
  }
};

}  // namespace

TEST_CASE("everything set is taken once, from any cursor, with any last word") {
  std::mt19937_64 random(3);
  for (const std::uint32_t words : {1U, 2U, 63U, 64U, 65U, 128U, 130U}) {
    for (const std::uint64_t cursor : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{words} - 1,
                                       std::uint64_t{words}, ~std::uint64_t{0}}) {
      Bits<std::atomic> bits(words);
      bits.head.cursor.store(cursor);
      std::set<std::uint32_t> expected = {0, words * 64 - 1};
      for (int i = 0; i < 100; ++i)
        expected.insert(static_cast<std::uint32_t>(random() % (words * 64)));
      for (const std::uint32_t cell : expected) bits.bitmap.set(cell);
      CHECK(bits.bitmap.count_estimate(words * 64) == expected.size());
      std::set<std::uint32_t> taken;
      for (std::uint32_t cell = bits.take(); cell != kNone; cell = bits.take()) {
        CHECK(taken.insert(cell).second);
      }
      CHECK(taken == expected);
      for (auto& summary : bits.summary) CHECK(summary.load() == 0);
    }
  }
}

TEST_CASE("a word behind the cursor is found again after the wrap") {
  Bits<std::atomic> bits(130);
  bits.head.cursor.store(129);
  bits.bitmap.set(3);
  CHECK(bits.take() == 3);
  bits.bitmap.set(129 * 64 + 63);  // the cursor has moved to word 1
  bits.bitmap.set(5);
  CHECK(bits.take() == 129 * 64 + 63);
  CHECK(bits.take() == 5);
  CHECK(bits.take() == kNone);
}

TEST_CASE("taking the last one of a word is told") {
  Bits<std::atomic> bits(2);
  bits.bitmap.set(1);
  bits.bitmap.set(2);
  std::uint32_t lost = 0;
  bool emptied = false;
  CHECK(bits.bitmap.take(lost, emptied) == 1);
  CHECK_FALSE(emptied);
  CHECK(bits.bitmap.take(lost, emptied) == 2);
  CHECK(emptied);
}

TEST_CASE("clear takes a bit out, and the summary with the last one") {
  Bits<std::atomic> bits(2);
  bits.bitmap.set(64);
  bits.bitmap.set(65);
  bits.bitmap.clear(64);
  CHECK_FALSE(bits.bitmap.test(64));
  CHECK(bits.bitmap.test(65));
  bits.bitmap.clear(65);
  bits.bitmap.clear(65);
  CHECK(bits.summary[0].load() == 0);
  CHECK(bits.take() == kNone);
}

TEST_CASE("a summary bit for a word behind the end is passed over") {
  Bits<std::atomic> bits(2);
  bits.summary[0].store(~std::uint64_t{0});
  bits.bitmap.set(127);
  CHECK(bits.take() == 127);
  CHECK(bits.take() == kNone);
}

TEST_CASE("a set beside takes and sets is neither lost nor doubled" *
          doctest::skip(!kCanSchedule)) {
  for (const bool same_word : {true, false}) {
    const Explored result = explore([same_word] {
      struct World {
        Bits<ScheduledAtomic> bits{2};
        ScheduledAtomic<std::uint32_t> taken[128];
      };
      auto world = std::make_shared<World>();
      world->bits.bitmap.set(1);
      const std::uint32_t other = same_word ? 2 : 70;
      const auto take = [world] {
        const std::uint32_t cell = world->bits.take();
        if (cell != kNone) world->taken[cell].fetch_add(1);
      };
      return Script{{{[=] {
                       take();
                       take();
                     }},
                     {[=] {
                       world->bits.bitmap.set(other);
                       take();
                     }}},
                    [=] {
                      // B2: whatever is left is still found.
                      for (std::uint32_t cell = world->bits.take(); cell != kNone;
                           cell = world->bits.take()) {
                        world->taken[cell].fetch_add(1);
                      }
                      expect(world->taken[1].load() == 1, "the first bit came out not once");
                      expect(world->taken[other].load() == 1, "the other bit came out not once");
                    }};
    });
    CHECK(result.failure == "");
    CHECK(result.complete);
    CHECK(result.runs > 20);
  }
}

TEST_CASE("after a kill in take or set, the next set of the word brings all of it back" *
          doctest::skip(!kCanSchedule)) {
  for (const bool taker_dies : {true, false}) {
    const Explored result = explore_kills([taker_dies](std::uint32_t kill_after) {
      auto bits = std::make_shared<Bits<ScheduledAtomic>>(1);
      bits->bitmap.set(1);
      Actor taker{[=] { bits->take(); }};
      Actor setter{[=] { bits->bitmap.set(2); }};
      (taker_dies ? taker : setter).kill_after = kill_after;
      return Script{{taker, setter}, [=] {
                      bits->bitmap.set(3);
                      const std::uint32_t left = bits->bitmap.count_estimate(64);
                      std::uint32_t found = 0;
                      while (bits->take() != kNone) ++found;
                      expect(found == left, "a set bit is not found any more");
                    }};
    });
    CHECK(result.failure == "");
    CHECK(result.complete);
    CHECK(result.killed > 0);
  }
}
