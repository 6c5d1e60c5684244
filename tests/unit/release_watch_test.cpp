// Budget and limits that were lowered, pressure, and sleep.

#include "daemon/release_watch.hpp"

#include <chrono>

#include "daemon/lease_watch.hpp"
#include "daemon/order_desk.hpp"
#include "tests/unit/support/memory_machine.hpp"
#include "zeropool/lib/batch_ring.hpp"

using namespace zeropool;
using namespace zeropool::daemon;
using namespace zeropool::test;
using namespace std::chrono_literals;

namespace {

struct Scene {
  explicit Scene(std::uint64_t budget) : machine(budget) {
    loop = EventLoop::create(why);
    REQUIRE(loop);
  }
  Pool& add(const std::string& name, std::uint64_t reserved = 0) {
    PoolConfig config;
    config.name = name;
    config.classes = {65536};
    config.reserved_bytes = reserved;
    config.watermarks = {4 * kMiB, 8 * kMiB};
    config.release.window = 0s;
    auto pool = std::make_unique<Pool>();
    pool->config = config;
    pool->memory = machine.pool(config, why);
    REQUIRE_MESSAGE(pool->memory, why);
    pools.push_back(std::move(pool));
    return *pools.back();
  }
  void watch() {
    // Nothing there to hear: a test says it itself.
    PressurePaths paths{"/nonexistent", "/nonexistent", 0};
    release = std::make_unique<ReleaseWatch>(*loop, machine.budget, pools, paths);
  }
  void grow(Pool& pool, std::uint64_t bytes) {
    pool.memory->grow(0, bytes / 65536);
    machine.commits.finish();
  }
  PoolAccount account(Pool& pool) { return machine.budget.snapshot(pool.memory->account()); }
  template <typename Condition>
  bool runs_until(Condition done) {
    const auto deadline = std::chrono::steady_clock::now() + 5s;
    while (!done() && std::chrono::steady_clock::now() < deadline) loop->run_once(20);
    return done();
  }

  Machine machine;
  std::string why;
  std::unique_ptr<EventLoop> loop;
  std::vector<std::unique_ptr<Pool>> pools;
  std::unique_ptr<ReleaseWatch> release;
};

struct Held {
  Held(Pool& pool, std::uint64_t bytes) : ring(pool.memory->ring(0)) {
    std::uint64_t taken = 0;
    lib::ClaimStats stats;
    while (taken < bytes) {
      const std::uint32_t cell = ring.claim_filled(0, me, stats);
      REQUIRE(cell != lib::kNone);
      cells.push_back(cell);
      taken += ring.count_of(cell) * std::uint64_t{65536};
    }
  }
  void put_back() {
    for (const std::uint32_t cell : cells) ring.release(cell, me, 0);
    cells.clear();
  }
  const lib::OwnerWord me = lib::OwnerWord::thread(7, 0, 0);
  lib::SharedBatchRing ring;
  std::vector<std::uint32_t> cells;
};

}  // namespace

TEST_CASE(
    "a smaller budget: what is free goes, what is held stays, nothing grows, and the rest goes "
    "when it comes") {
  Scene scene(192 * kMiB);
  Pool& pool = scene.add("a");
  scene.grow(pool, 128 * kMiB);
  Held held(pool, 64 * kMiB);
  scene.watch();
  scene.machine.budget.set_budget(32 * kMiB);
  std::uint64_t last = scene.machine.budget.committed();
  scene.release->look();
  CHECK(scene.runs_until([&] {
    const std::uint64_t now = scene.machine.budget.committed();
    CHECK(now <= last);  // it only falls
    last = now;
    return now < 72 * kMiB;
  }));
  for (int round = 0; round < 20; ++round) scene.loop->run_once(5);
  CHECK(scene.machine.budget.committed() >= 64 * kMiB);
  CHECK(scene.release->statistics().excess_bytes == scene.machine.budget.committed() - 32 * kMiB);
  CHECK(pool.memory->grow(0, 5000) == GrowOutcome::kBudgetSpent);
  held.put_back();  // without a word to the daemon
  CHECK(scene.runs_until([&] { return scene.machine.budget.committed() <= 32 * kMiB; }));
  CHECK(scene.release->statistics().excess_bytes == 0);
  CHECK(pool.memory->released_bytes()[static_cast<std::size_t>(ReleaseReason::kShrink)] >
        90 * kMiB);
  scene.machine.check_books(*pool.memory);
  check_idle_rings(*pool.memory);
}

TEST_CASE("a turn of a shrink releases a bounded part, so that the loop serves others between") {
  Scene scene(512 * kMiB);
  Pool& pool = scene.add("a");
  scene.grow(pool, 400 * kMiB);
  scene.watch();
  scene.machine.budget.set_budget(64 * kMiB);
  const std::uint64_t before = scene.machine.budget.committed();
  scene.release->look();
  CHECK(scene.machine.budget.committed() < before);
  CHECK(scene.machine.budget.committed() + ReleaseWatch::kTurnBytes + 2 * kMiB >= before);
  CHECK(scene.runs_until([&] { return scene.machine.budget.committed() <= 64 * kMiB; }));
}

TEST_CASE("a pool above its new limit shrinks, its neighbour does not") {
  Scene scene(256 * kMiB);
  Pool& a = scene.add("a");
  Pool& b = scene.add("b");
  scene.grow(a, 64 * kMiB);
  scene.grow(b, 64 * kMiB);
  scene.watch();
  const std::uint64_t of_b = scene.account(b).committed_bytes;
  PoolConfig config = a.config;
  config.limit_bytes = 16 * kMiB;
  a.memory->reconfigure(config);
  scene.release->look();
  CHECK(scene.runs_until([&] { return scene.account(a).committed_bytes <= 16 * kMiB; }));
  CHECK(scene.account(b).committed_bytes == of_b);
  CHECK(a.memory->grow(0, 5000) == GrowOutcome::kLimitReached);
}

TEST_CASE("a reservation that is raised is made room for, by those that are above theirs") {
  Scene scene(128 * kMiB);
  Pool& a = scene.add("a");
  Pool& b = scene.add("b", 24 * kMiB);
  Pool& c = scene.add("c");
  scene.grow(b, 20 * kMiB);
  scene.grow(c, 500 * kMiB);
  while (c.memory->grow(0, c.memory->published_slots(0) + 32) == GrowOutcome::kStarted) {
    scene.machine.commits.finish();
  }
  scene.watch();
  const std::uint64_t of_b = scene.account(b).committed_bytes;
  PoolConfig config = a.config;
  config.reserved_bytes = 64 * kMiB;
  a.memory->reconfigure(config);
  CHECK(scene.machine.budget.excess() > 0);
  scene.release->look();
  CHECK(scene.runs_until([&] { return scene.machine.budget.excess() == 0; }));
  if (of_b <= 24 * kMiB) CHECK(scene.account(b).committed_bytes == of_b);
  CHECK(scene.account(b).committed_bytes >= std::min(of_b, 24 * kMiB));
  // All of it can be had.
  a.memory->grow(0, 58 * kMiB / 65536);
  scene.machine.commits.finish();
  CHECK(scene.account(a).committed_bytes >= 58 * kMiB);
  CHECK(scene.machine.budget.committed() <= scene.machine.budget.budget());
}

TEST_CASE("pressure gives cold memory back at once, and holds growth ahead of demand") {
  Scene scene(512 * kMiB);
  Pool& pool = scene.add("a", 48 * kMiB);
  scene.grow(pool, 256 * kMiB);
  scene.watch();
  const std::uint64_t before = scene.machine.budget.committed();
  scene.release->on_pressure(PressureSource::kHigh);
  CHECK(scene.machine.budget.committed() < before);
  for (int event = 0; event < 12; ++event) {
    for (int round = 0; round < 4; ++round) scene.loop->run_once(70);
    scene.release->on_pressure(PressureSource::kStall);
  }
  CHECK(scene.account(pool).committed_bytes >= 48 * kMiB);  // not what is reserved
  CHECK(scene.account(pool).committed_bytes < 80 * kMiB);
  const ReleaseStatistics statistics = scene.release->statistics();
  CHECK(statistics.pressure_events[static_cast<std::size_t>(PressureSource::kHigh)] == 1);
  CHECK(statistics.pressure_events[static_cast<std::size_t>(PressureSource::kStall)] == 12);
  // A ring that runs low is not topped up now; an order is served all the same.
  const std::uint64_t slots = pool.memory->published_slots(0);
  pool.memory->view().descriptor(0).low.store(1);
  pool.memory->header().rings_low.store(1);
  pool.memory->top_up();
  scene.machine.commits.finish();
  CHECK(pool.memory->published_slots(0) == slots);
  CHECK(pool.memory->grow(0, 32) == GrowOutcome::kStarted);
  scene.machine.commits.finish();
  check_idle_rings(*pool.memory);
}

TEST_CASE("with nothing to give back no timer runs") {
  Scene scene(128 * kMiB);
  Pool& pool = scene.add("a");
  PoolConfig config = pool.config;
  config.release.window = 80ms;
  pool.memory->reconfigure(config);
  scene.grow(pool, 64 * kMiB);
  const std::uint64_t grown = scene.machine.budget.committed();
  scene.watch();
  scene.release->look();
  CHECK(scene.runs_until([&] { return scene.machine.budget.committed() < grown - 50 * kMiB; }));
  for (int round = 0; round < 10; ++round) scene.loop->run_once(20);
  const auto begin = std::chrono::steady_clock::now();
  scene.loop->run_once(400);
  CHECK(std::chrono::steady_clock::now() - begin >= 390ms);
  scene.release->look_before_sleep();  // nothing has changed
  const auto again = std::chrono::steady_clock::now();
  scene.loop->run_once(200);
  CHECK(std::chrono::steady_clock::now() - again >= 190ms);
}
