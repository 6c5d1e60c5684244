#include <atomic>
#include <cstdint>
#include <memory>

#include <doctest/doctest.h>

#include <zeropool/lib/batch_ring.hpp>

#include "tests/unit/support/test_ring.hpp"

using namespace zeropool::lib;
using namespace zeropool::test;

namespace {

using PlainRing = TestRing<std::atomic>;
const OwnerWord kMe = OwnerWord::thread(1, 1, 1);

// What an engineer in a hurry would write: a look, then a store.
template <template <typename> class Atom>
bool broken_try_claim(RingView<Atom>& view, std::uint32_t cell, OwnerWord me) {
  if (view.cells[cell].owner.load() != 0) return false;
  view.cells[cell].owner.store(me.word);
  return true;
}

}  // namespace

TEST_CASE("full magazines are claimed oldest first, then cold, then partial; empty ones never") {
  PlainRing ring({.cells = 6, .slots = 10});
  ring.fill(0, {0});
  ring.fill(1, {1, 2});
  ring.fill(2, {3, 4});
  ring.fill(3, {5, 6});
  ring.fill(4, {});
  BatchRing<std::atomic> batch(ring.view);
  for (const std::uint32_t cell : {0U, 1U, 2U, 3U, 4U})
    batch.hint(cell, ring.view.cells[cell].count.load(), 0);
  ClaimStats stats;
  CHECK(batch.claim_filled(0, kMe, stats) == 2);  // 1 was displaced by 3: cold
  CHECK(batch.claim_filled(0, kMe, stats) == 3);
  CHECK_FALSE(stats.low);
  CHECK(batch.claim_filled(0, kMe, stats) == 1);
  CHECK(stats.low);
  CHECK(batch.claim_filled(0, kMe, stats) == 0);
  CHECK(batch.claim_filled(0, kMe, stats) == kNone);
  CHECK(batch.claim_empty(kMe, stats) == 4);
}

TEST_CASE(
    "what is cold is low when no more words than the watermark's have any, and asked for once a "
    "word") {
  PlainRing ring({.cells = 256, .slots = 256});
  BatchRing<std::atomic> all(ring.view);
  for (std::uint32_t cell = 0; cell < 256; ++cell) {
    ring.fill(cell, {cell});
    ring.view.cold.set(cell);
  }
  std::atomic<std::uint32_t> low_words{1};
  ring.view.low_words = &low_words;
  BatchRing<std::atomic> batch(ring.view);
  for (std::uint32_t claim = 1; claim <= 256; ++claim) {
    ClaimStats stats;
    REQUIRE(batch.claim_filled(0, kMe, stats) != kNone);
    CAPTURE(claim);
    CHECK(stats.low == (claim == 192 || claim == 256));
  }
}

TEST_CASE("a put finds a partial magazine before an empty one, and claim_empty the other way") {
  PlainRing ring({.cells = 3, .slots = 4});
  ring.fill(0, {0, 1});
  ring.fill(1, {2});
  BatchRing<std::atomic> batch(ring.view);
  for (const std::uint32_t cell : {0U, 1U, 2U})
    batch.hint(cell, ring.view.cells[cell].count.load(), 0);
  ClaimStats stats;
  CHECK(batch.claim_with_room(kMe, stats) == 1);
  CHECK(batch.release(1, kMe, 0));
  CHECK(batch.claim_empty(kMe, stats) == 2);
  CHECK(batch.claim_empty(kMe, stats) == 1);
  CHECK(batch.claim_empty(kMe, stats) == kNone);
}

TEST_CASE("with every hint lost, scans find the slots and the room") {
  PlainRing ring({.cells = 300, .slots = 4});
  ring.fill(299, {0, 1});
  BatchRing<std::atomic> batch(ring.view);
  ClaimStats stats;
  std::uint32_t found = kNone;
  for (std::uint32_t thread = 0; thread < 64 && found == kNone; ++thread) {
    found = batch.claim_filled(0, OwnerWord::thread(1, 1, thread), stats);  // scans start elsewhere
  }
  CHECK(found == 299);
  for (std::uint32_t cell = 0; cell < 299; ++cell)
    ring.view.cells[cell].count.store(cell == 150 ? 1 : 2);
  CHECK(batch.claim_with_room(kMe, stats) == 150);
}

TEST_CASE("stale, doubled and rubbish hints are harmless") {
  PlainRing ring({.cells = 4, .slots = 4});
  ring.fill(1, {0, 1});
  BatchRing<std::atomic> batch(ring.view);
  ring.view.cells[0].owner.store(OwnerWord::thread(9, 1, 1).word);
  ring.view.hot_entries[0].store(0xfffffff0U);
  ring.view.hot_entries[1].store(1);
  ring.view.hot_heads[0].tail.store(2);
  for (std::uint32_t cell = 0; cell < 4; ++cell) {
    ring.view.cold.set(cell);
    ring.view.partial.set(cell);
    ring.view.empty.set(cell);
  }
  ClaimStats stats;
  CHECK(batch.claim_filled(0, kMe, stats) == 1);
  CHECK(batch.claim_filled(0, kMe, stats) == kNone);
  CHECK(stats.contention > 0);
  CHECK(batch.release(1, kMe, 0));
  CHECK_FALSE(batch.release(1, kMe, 0));
  CHECK_FALSE(batch.release_cold(0, kMe));
}

TEST_CASE("a published count beyond what is laid out is cut") {
  PlainRing ring({.cells = 4, .slots = 4});
  ring.cells_published.store(0xffffffffU);
  ring.slots_published.store(77);
  CHECK(ring.view.cell_bound() == 4);
  CHECK(ring.view.slot_bound() == 4);
  ring.cells_published.store(0);
  BatchRing<std::atomic> batch(ring.view);
  ClaimStats stats;
  ring.view.cold.set(1);
  CHECK(batch.claim_filled(0, kMe, stats) == kNone);
  CHECK(batch.claim_with_room(kMe, stats) == kNone);
}

TEST_CASE("a damaged count is cut at the claim, so that no put writes behind the cell") {
  for (const std::uint32_t count : {3U, 60U, 77U, 0xffffffffU}) {
    PlainRing ring({.cells = 1, .slots = 4});
    ring.fill(0, {0, 1});
    ring.view.cells[0].count.store(count);
    BatchRing<std::atomic> batch(ring.view);
    ClaimStats stats;
    ring.view.partial.set(0);
    CHECK(batch.claim_with_room(kMe, stats) == kNone);
    CHECK(batch.claim_filled(0, kMe, stats) == 0);
    CHECK(ring.view.cells[0].count.load() == 2);
  }
}

TEST_CASE("draining magazines are passed over, wherever they lie, and stay hinted") {
  PlainRing ring({.cells = 8, .slots = 16});
  for (std::uint32_t cell = 0; cell < 8; ++cell) ring.fill(cell, {2 * cell, 2 * cell + 1});
  for (std::uint32_t cell = 0; cell < 8; ++cell) ring.view.cold.set(cell);
  ring.drain_end.store(14);  // all but magazine 7
  BatchRing<std::atomic> batch(ring.view);
  ClaimStats stats;
  CHECK(batch.claim_filled(0, kMe, stats) == 7);
  CHECK(batch.claim_filled(0, kMe, stats) == kNone);
  CHECK(ring.view.cold.count_estimate(8) == 7);
  CHECK(ring.view.hot(0).size_estimate() == 0);
  ring.drain_end.store(0);
  CHECK(batch.claim_filled(0, kMe, stats) != kNone);
}

TEST_CASE("there is room for a put even where every magazine with room is draining") {
  PlainRing ring({.cells = 2, .slots = 4});
  ring.fill(0, {0});
  ring.fill(1, {1});
  ring.drain_end.store(4);
  BatchRing<std::atomic> batch(ring.view);
  ClaimStats stats;
  CHECK(batch.claim_with_room(kMe, stats) != kNone);
}

TEST_CASE("of two claimers of one magazine one has it" * doctest::skip(!kCanSchedule)) {
  for (const bool hinted_twice : {false, true}) {
    const Explored result = explore([hinted_twice] {
      auto ring = std::make_shared<ScheduledRing>(RingShape{.cells = 2, .slots = 2});
      ring->fill(0, {0, 1});
      ring->view.hot(0).push(0);
      if (hinted_twice) ring->view.cold.set(0);
      auto claimed = std::make_shared<std::uint32_t>(0);
      const auto claim = [=](std::uint32_t client) {
        Worker<ScheduledAtomic> worker(*ring, client);
        if (worker.claim_filled()) ++*claimed;
      };
      return Script{{{[=] { claim(1); }}, {[=] { claim(2); }}}, [=] {
                      expect(*claimed == 1, "not one of two claimers has the magazine");
                      expect(ring->view.cells[0].owner.load() != 0, "a claim left no owner word");
                      ring->expect_whole();
                    }};
    });
    CHECK(result.failure == "");
    CHECK(result.complete);
    CHECK(result.runs > 10);
  }
}

TEST_CASE("a claim by look and store is caught" * doctest::skip(!kCanSchedule)) {
  const Explored result = explore([] {
    auto ring = std::make_shared<ScheduledRing>(RingShape{.cells = 1, .slots = 2});
    ring->fill(0, {0, 1});
    auto claimed = std::make_shared<std::uint32_t>(0);
    const auto claim = [=](std::uint32_t client) {
      if (broken_try_claim(ring->view, 0, OwnerWord::thread(client, 1, 1))) ++*claimed;
    };
    return Script{{{[=] { claim(1); }}, {[=] { claim(2); }}},
                  [=] { expect(*claimed == 1, "two owners"); }};
  });
  CHECK(result.failure.find("two owners") == 0);
}

TEST_CASE("a claim and release beside a claim lose no magazine and no hint for good" *
          doctest::skip(!kCanSchedule)) {
  for (const std::uint32_t cells : {1U, 3U}) {
    const Explored result = explore(
        [cells] {
          auto ring = std::make_shared<ScheduledRing>(RingShape{.cells = cells, .slots = 2});
          ring->fill(0, {0, 1});
          ring->view.hot(0).push(0);
          const auto cycle = [=](std::uint32_t client) {
            Worker<ScheduledAtomic> worker(*ring, client);
            if (!worker.claim_filled()) return;
            std::uint32_t slot = kNone;
            Mark mark;
            if (client == 1 && worker.get(slot, mark)) worker.put(slot, mark);
            worker.release();
          };
          return Script{{{[=] { cycle(1); }}, {[=] { cycle(2); }}}, [=] {
                          ring->expect_whole();
                          expect(ring->view.cells[0].owner.load() == 0,
                                 "a released magazine is owned");
                          Worker<ScheduledAtomic> last(*ring, 3);
                          expect(last.claim_filled(), "a full magazine of the ring is not found");
                          expect(last.stats.low == false, "its hint was lost without a kill");
                        }};
        },
        {.runs = 400'000});
    CHECK(result.failure == "");
    CHECK(result.complete);
  }
}

TEST_CASE("a kill anywhere in claim and release leaves the magazine to be found or reclaimed" *
          doctest::skip(!kCanSchedule)) {
  const Explored result = explore_kills(
      [](std::uint32_t kill_after) {
        auto ring = std::make_shared<ScheduledRing>(RingShape{.cells = 2, .slots = 2});
        ring->fill(0, {0, 1});
        ring->view.hot(0).push(0);
        Actor victim{[=] {
          Worker<ScheduledAtomic> worker(*ring, 1);
          if (worker.claim_filled()) worker.release();
        }};
        victim.kill_after = kill_after;
        return Script{{victim, {[=] {
                         Worker<ScheduledAtomic> worker(*ring, 2);
                         if (worker.claim_filled()) worker.release();
                       }}},
                      [=] {
                        ring->expect_whole();
                        const OwnerWord owner{ring->view.cells[0].owner.load()};
                        expect(owner.in_ring() || owner.client() == 1,
                               "the survivor left its word");
                        Worker<ScheduledAtomic> last(*ring, 3);
                        if (owner.in_ring()) expect(last.claim_filled(), "a magazine is not found");
                      }};
      },
      {.runs = 100'000});
  CHECK(result.failure == "");
  CHECK(result.complete);
  CHECK(result.killed > 0);
}
