// Hold ages: lower bounds that are never too high, estimates that stand for what is not watched, samples that are believed no
// further than marks bear them out.

#include "daemon/hold_ages.hpp"

#include <cstdint>
#include <memory>
#include <string>

#include <doctest/doctest.h>

#include "daemon/event_loop.hpp"
#include "daemon/hold_document.hpp"
#include "daemon/hold_watch.hpp"
#include "tests/unit/support/memory_machine.hpp"

using namespace zeropool;
using namespace zeropool::test;

namespace {

constexpr std::uint32_t kClient = 3;
constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kResolution = 20'000'000;  // of what the watch says

// A pool of one ring with some hundred slots and two clients.
struct World {
  explicit World(std::uint32_t most_watched = HoldWatch::kMostWatched) {
    PoolConfig config;
    config.name = "frames";
    config.classes = {4096};
    std::string why;
    pool.memory = machine.pool(config, why, 64);
    REQUIRE_MESSAGE(pool.memory, why);
    pool.memory->grow(0, 1000);
    machine.commits.finish();
    pool.holds = std::make_unique<HoldWatch>(*pool.memory, most_watched);
    for (const std::uint32_t id : {kClient, kClient + 1}) {
      ClientInfo client;
      client.id = id;
      client.pid = static_cast<std::int32_t>(100 + id);
      pool.clients.push_back(client);
    }
  }
  std::uint32_t slots() const { return pool.memory->ring(0).slot_bound(); }
  std::atomic<std::uint64_t>& mark(std::uint32_t slot) const {
    return pool.memory->ring(0).slots[slot].mark;
  }
  lib::Mark hold(std::uint32_t slot, std::uint32_t client = kClient,
                 std::uint64_t generation = 9) const {
    const lib::Mark held = lib::Mark::make(generation, lib::SlotState::kHeld, client);
    mark(slot).store(held.word);
    return held;
  }
  void look() const { pool.holds->tick(monotonic_ns() + kSecond); }
  void want_samples() {
    pool.memory->header().samples_wanted.store(1);
    pool.memory->top_up();
    machine.commits.finish();
    REQUIRE(pool.memory->published().samples > 0);
  }
  void write(std::uint32_t cell, std::uint32_t slot, lib::Mark held, std::uint64_t got_ns,
             std::uint32_t weight = 1) const {
    lib::SampledGet get;
    get.mark = held;
    get.got_ns = got_ns;
    get.slot = slot;
    get.weight = weight;
    get.depth = 2;
    get.frames[0] = 0x1000;
    get.frames[1] = 0x2000;
    lib::write_sample(pool.memory->view().samples(1).cells[cell], get);
  }
  // A sample of each slot, of a place of its own, through all blocks; the first slots are sampled with the highest weight.
  void sample_all(std::uint32_t count) const {
    REQUIRE(count <= slots());
    REQUIRE(count <= pool.memory->published().samples * lib::kBlockSamples);
    for (std::uint32_t slot = 0; slot < count; ++slot) {
      lib::SampledGet get;
      get.mark = hold(slot);
      get.got_ns = 1;
      get.slot = slot;
      get.weight = slot < 10 ? 50 : 1;
      get.depth = 1;
      get.frames[0] = 0x1000 + slot;
      auto& block = pool.memory->view().samples(slot / lib::kBlockSamples);
      lib::write_sample(block.cells[slot % lib::kBlockSamples], get);
    }
  }

  Machine machine{std::uint64_t{64} << 20};
  Pool pool;
};

}  // namespace

TEST_CASE("a slot has been held since the first look that saw its mark, and anew after each put") {
  World world;
  world.hold(5);
  world.hold(6);
  world.look();
  const std::uint64_t after_first = monotonic_ns();
  while (monotonic_ns() < after_first + 2 * kResolution) {
  }
  const std::uint64_t before_change = monotonic_ns();
  world.hold(6, kClient, 10);  // put and got again, by the same client
  world.hold(7);
  world.look();
  const std::uint64_t now_ns = monotonic_ns();
  const auto since = [&](std::uint32_t slot) {
    for (const HoldWatch::Watched& watched : world.pool.holds->watched(0)) {
      if (watched.slot == slot)
        return world.pool.holds->since_ns(watched, lib::Mark{world.mark(slot).load()}, now_ns);
    }
    FAIL("the slot is not watched");
    return std::uint64_t{0};
  };
  CHECK(since(5) <= after_first + kResolution);
  CHECK(since(6) >= before_change);
  CHECK(since(7) >= before_change);
  world.mark(5).store(lib::Mark::make(10, lib::SlotState::kFree, 0).word);
  world.look();
  world.hold(5);
  CHECK(since(5) == now_ns);  // not seen since
}

TEST_CASE(
    "of more slots than are watched, those that are stand for all, and nobody is told that this is "
    "exact") {
  World world(128);
  REQUIRE(world.slots() > 512);
  for (std::uint32_t slot = 0; slot < world.slots(); slot += 2) world.hold(slot);
  world.look();
  CHECK(world.pool.holds->watched(0).size() <= 128);
  CHECK(world.pool.holds->stands_for(0) >= world.slots() / 128);
  const PoolHolds holds = hold_ages(world.pool, {}, monotonic_ns());
  REQUIRE(holds.ages.size() == 1);
  CHECK_FALSE(holds.ages[0].exact);
  CHECK(holds.ages[0].buffers > world.slots() / 2 * 6 / 10);
  CHECK(holds.ages[0].buffers < world.slots() / 2 * 14 / 10);
}

TEST_CASE("where all are watched the count is exact, by client and by age") {
  World world;
  for (std::uint32_t slot = 0; slot < 30; ++slot) world.hold(slot);
  for (std::uint32_t slot = 30; slot < 35; ++slot) world.hold(slot, kClient + 1);
  world.hold(40, 77);  // of nobody who is attached
  world.look();
  const std::uint64_t now_ns = monotonic_ns() + 10 * kSecond;
  PoolHolds holds = hold_ages(world.pool, {}, now_ns);
  REQUIRE(holds.ages.size() == 2);
  CHECK(holds.ages[0].buffers == 30);
  CHECK(holds.ages[1].buffers == 5);
  CHECK(holds.ages[0].exact);
  CHECK(holds.ages[0].oldest_ns >= 9 * kSecond);
  CHECK(holds.ages[0].median_ns >= 9 * kSecond);
  CHECK(holds.watched_ns >= 10 * kSecond);
  CHECK(hold_ages(world.pool, {.older_than_ns = 9 * kSecond}, now_ns).ages.size() == 2);
  CHECK(hold_ages(world.pool, {.older_than_ns = 11 * kSecond}, now_ns).ages.empty());
  CHECK(hold_ages(world.pool, {.client = kClient + 1}, now_ns).ages.size() == 1);
}

// H2
TEST_CASE("the slots of a big pool are taken up some at a time, and all of them in the end") {
  World world;
  world.pool.memory->grow(0, 11'000);
  world.machine.commits.finish();
  REQUIRE(world.slots() > 10'000);
  world.pool.holds->tick(0);
  CHECK(world.pool.holds->considered(0) == 4096);
  world.pool.holds->tick(0);
  CHECK(world.pool.holds->considered(0) == 8192);
  world.look();
  CHECK(world.pool.holds->considered(0) == world.slots());
  CHECK(world.pool.holds->watched(0).size() == world.slots());
}

TEST_CASE("a tick that is cut off goes on where it was, until all were looked at") {
  World world;
  for (std::uint32_t slot = 0; slot < world.slots(); ++slot) world.hold(slot);
  for (std::uint32_t i = 0; i < world.slots() / 256 + 2; ++i) world.pool.holds->tick(0);
  for (const HoldWatch::Watched& watched : world.pool.holds->watched(0)) CHECK(watched.since != 0);
}

TEST_CASE(
    "a daemon that has just started knows of older holds by samples alone, and no more than is "
    "held") {
  World world;
  world.want_samples();
  const std::uint64_t now_ns = monotonic_ns();
  const std::uint64_t long_ago = now_ns > 100 * kSecond ? now_ns - 100 * kSecond : 1;
  const std::uint64_t wanted = (now_ns - long_ago) / 2;
  for (std::uint32_t slot = 0; slot < 4; ++slot) {
    world.write(slot, slot, world.hold(slot), long_ago, 5);
  }
  for (std::uint32_t slot = 4; slot < 12; ++slot) world.hold(slot);
  world.look();
  const PoolHolds holds = hold_ages(world.pool, {.older_than_ns = wanted}, monotonic_ns());
  REQUIRE(holds.ages.size() == 1);
  CHECK(holds.ages[0].buffers == 12);  // not 20: it holds no more
  CHECK(holds.ages[0].samples == 4);
  CHECK_FALSE(holds.ages[0].exact);
  CHECK(holds.ages[0].oldest_ns >= wanted);
  REQUIRE(holds.stacks.size() == 1);
  CHECK(holds.stacks[0].frames == std::vector<std::uint64_t>{0x1000, 0x2000});
  CHECK(holds.stacks[0].samples == 4);
}

TEST_CASE("samples of what is not held so, or nowhere, or in time to come, make nothing old") {
  World world;
  world.want_samples();
  const lib::Mark held = world.hold(2);
  world.write(0, 2, held.next(lib::SlotState::kHeld, kClient), 1);             // another generation
  world.write(1, 2, held.with_holder(lib::SlotState::kHeld, kClient + 1), 1);  // another holder
  world.write(2, 0xffffffffU, held, 1);                                        // no slot
  world.write(3, 2, held, ~std::uint64_t{0});                                  // not yet
  world.write(4, 2, held, 1, 0);                                               // stands for nothing
  lib::HoldSample<std::atomic>& cell = world.pool.memory->view().samples(1).cells[5];
  world.write(5, 2, held, 1);
  cell.tag.store(cell.tag.load() | 0xffff);  // no ring
  world.write(6, 2, held, 1);
  world.pool.memory->view().samples(1).cells[6].tag.fetch_or(
      lib::kSampleVersionOne);  // being written
  world.look();
  const PoolHolds holds = hold_ages(world.pool, {.older_than_ns = kSecond}, monotonic_ns());
  CHECK(holds.ages.empty());
  CHECK(holds.stacks.empty());
  CHECK(hold_ages(world.pool, {}, monotonic_ns()).ages[0].buffers == 1);
}

TEST_CASE(
    "blocks of samples come when a client wants some, one for each thread record, and are "
    "charged") {
  World world;
  CHECK(world.pool.memory->published().samples == 0);
  world.machine.check_books(*world.pool.memory);
  world.want_samples();
  CHECK(world.pool.memory->published().samples == world.pool.memory->published().threads);
  CHECK(world.pool.memory->header().samples_published.load() ==
        world.pool.memory->published().samples);
  world.machine.check_books(*world.pool.memory);
}

TEST_CASE(
    "where the budget has no room for all blocks of samples, there are some; the rest later") {
  World world;
  PoolMemory& memory = *world.pool.memory;
  Budget& budget = world.machine.budget;
  const std::uint64_t threads = memory.published().threads;
  constexpr std::uint64_t kRoom = 10 * sizeof(lib::SharedSampleBlock);
  REQUIRE(threads * sizeof(lib::SharedSampleBlock) > 2 * kRoom);
  const std::uint64_t spent = budget.budget() - budget.committed() - kRoom;
  REQUIRE(budget.charge_overhead(spent));
  world.want_samples();
  CHECK(memory.published().samples > 0);
  CHECK(memory.published().samples <= 10);
  budget.refund_overhead(spent);
  world.want_samples();
  CHECK(memory.published().samples == threads);
  world.machine.check_books(memory);
}

TEST_CASE(
    "of more samples than are kept at a time, those that are stand for all, however many there "
    "are") {
  World world;
  world.want_samples();
  world.sample_all(1200);
  const HoldQuery old = {.older_than_ns = 1};
  HoldBounds bounds;
  bounds.most_samples = 200;
  const PoolHolds holds = hold_ages(world.pool, old, monotonic_ns(), bounds);
  CHECK(holds.complete);
  REQUIRE(holds.ages.size() == 1);
  CHECK(holds.ages[0].samples <= 200);
  CHECK(holds.stacks.size() <= 200);
  CHECK(holds.stacks.size() > 20);
  for (const HoldStack& stack : holds.stacks) {
    CHECK(stack.samples == 1);
    CHECK(stack.buffers <= holds.ages[0].samples);  // never more than is known to be held
  }
  // What is held is known here, by the daemon's own looks: the estimate is near.
  world.look();
  const PoolHolds watched = hold_ages(world.pool, old, monotonic_ns(), bounds);
  REQUIRE_FALSE(watched.stacks.empty());
  std::uint64_t all = 0;
  for (const HoldStack& stack : watched.stacks) all += stack.buffers;
  CHECK(all > (1190 + 500) / 4);
  CHECK(all < (1190 + 500) * 4);
}

TEST_CASE("a look that is ended early says so, and calls nothing exact") {
  World world;
  world.want_samples();
  world.sample_all(1200);
  world.look();
  int looks = 0;
  HoldBounds bounds;
  bounds.spent = [&] { return ++looks > 4; };
  const PoolHolds some = hold_ages(world.pool, {}, monotonic_ns(), bounds);
  CHECK_FALSE(some.complete);
  REQUIRE(some.ages.size() == 1);
  CHECK_FALSE(some.ages[0].exact);
  CHECK(some.stacks.size() == std::size_t{4} * lib::kBlockSamples);
  bounds.spent = [] { return true; };
  const PoolHolds none = hold_ages(world.pool, {}, monotonic_ns(), bounds);
  CHECK_FALSE(none.complete);
  CHECK(none.ages.empty());
  CHECK(none.stacks.empty());
}

TEST_CASE("the document has the largest stacks of all pools, and counts those that it leaves out") {
  World world;
  World next;
  for (World* one : {&world, &next}) {
    one->want_samples();
    one->sample_all(1100);
  }
  const nlohmann::json document = hold_document({&world.pool, &next.pool}, {});
  CHECK(document["stacks"].size() == 1000);
  for (std::size_t i = 0; i < 20; ++i) CHECK(document["stacks"][i]["buffers"] == 50);
  CHECK(document["stacks"][20]["buffers"] == 1);
  CHECK(document["stacks_left_out"]["count"] == 2 * 1100 - 1000);
  CHECK(document["stacks_left_out"]["bytes"] == (2 * 1100 - 1000) * 4096);
  CHECK(document["holders"].size() == 2);
  CHECK(document["holders"][0]["pid"] == 100 + kClient);
  CHECK(document["holders_left_out"]["count"] == 0);
  for (const nlohmann::json& pool : document["pools"]) CHECK(pool["complete"] == true);
}

TEST_CASE("a question that is none is refused with a sentence") {
  HoldQuery query;
  CHECK(parse_hold_query("", query).empty());
  CHECK(parse_hold_query(R"({"older_than_seconds": 2.5, "pool": "frames", "client": 7})", query)
            .empty());
  CHECK(query.older_than_ns == 2'500'000'000);
  CHECK(query.pool == "frames");
  CHECK(query.client == 7);
  for (const char* wrong :
       {"5m", "[]", "{", R"({"older_than_seconds": -1})", R"({"older_than_seconds": 1e300})",
        R"({"older_than_seconds": "5m"})", R"({"client": -1})", R"({"client": 99999999999})",
        R"({"pool": 5})", R"({"since": 5})"}) {
    CAPTURE(wrong);
    CHECK_FALSE(parse_hold_query(wrong, query).empty());
  }
}
