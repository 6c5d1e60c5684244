// Who holds what and which extents are cold, counted in pieces.

#include "daemon/occupancy.hpp"

#include "daemon/audit_watch.hpp"
#include "daemon/idle_caches.hpp"
#include "daemon/lease_watch.hpp"
#include "daemon/order_desk.hpp"
#include "tests/unit/support/memory_machine.hpp"
#include "zeropool/lib/batch_ring.hpp"

using namespace zeropool;
using namespace zeropool::daemon;
using namespace zeropool::test;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t kSmall = 0;  // 4 KiB
constexpr std::uint32_t kLarge = 1;  // 64 KiB
constexpr std::uint32_t kClient = 7;

// Nothing in the first piece but 256 words, and then 256 more at a time.
constexpr OccupancyPace kTinyPieces = {0, 0, 0ms, 0};

struct Scene {
  Scene() : machine(256 * kMiB) {
    PoolConfig config;
    config.name = "looked";
    config.classes = {4096, 65536};
    std::string why;
    auto pool = std::make_unique<Pool>();
    pool->memory = machine.pool(config, why);
    REQUIRE_MESSAGE(pool->memory, why);
    ClientInfo client;
    client.id = kClient;
    pool->clients = {client};
    pools.push_back(std::move(pool));
    loop = EventLoop::create(why);
    REQUIRE(loop);
    memory().grow(kSmall, 8 * kMiB / 4096);
    memory().grow(kLarge, 8 * kMiB / 65536);
    machine.commits.finish();
  }
  PoolMemory& memory() { return *pools[0]->memory; }
  void mark(std::uint32_t ring, std::uint32_t slot, lib::SlotState state) {
    memory().ring(ring).slots[slot].mark.store(lib::Mark::make(1, state, kClient).word);
  }

  Machine machine;
  std::unique_ptr<EventLoop> loop;
  std::vector<std::unique_ptr<Pool>> pools;
};

}  // namespace

TEST_CASE("a look counts what a client holds, caches and has under way, and what lies cold") {
  Scene scene;
  lib::SharedBatchRing ring(scene.memory().ring(kLarge));
  lib::ClaimStats stats;
  const std::uint32_t cell = ring.claim_filled(0, lib::OwnerWord::thread(kClient, 0, 0), stats);
  REQUIRE(cell != lib::kNone);
  const std::uint64_t cached = ring.count_of(cell) * std::uint64_t{65536};
  for (std::uint32_t slot = 0; slot < 5; ++slot) scene.mark(kSmall, slot, lib::SlotState::kHeld);
  scene.mark(kLarge, 3, lib::SlotState::kHeld);
  scene.mark(kLarge, 4, lib::SlotState::kInTransit);
  OccupancyWatch watch(*scene.loop, scene.pools, {1'000'000'000, 0, 0ms, 0});
  const auto seen = watch.ask();
  REQUIRE(seen);
  REQUIRE(seen->pools.size() == 1);
  REQUIRE(seen->pools[0].clients.size() == 1);
  const ClientHolding& holding = seen->pools[0].clients[0];
  CHECK(holding.id == kClient);
  CHECK(holding.held_bytes == 5 * 4096 + 65536);
  CHECK(holding.in_transit_bytes == 65536);
  CHECK(holding.cached_bytes == cached);
  REQUIRE(seen->pools[0].rings.size() == 2);
  std::uint64_t committed = 0;
  for (std::uint32_t number = 0; number < 2; ++number) {
    const RingMap& map = seen->pools[0].rings[number];
    committed += map.committed_bytes();
    const std::uint64_t class_bytes = scene.memory().plan().rings[number].class_bytes;
    CHECK(map.cold_bytes() <= scene.memory().cold_slots_estimate(number) * class_bytes);
    CHECK(map.cold_bytes() > 0);
  }
  CHECK(committed == scene.memory().committed_bytes(0));
}

TEST_CASE("a look in tiny pieces comes to the same, between the loop's other work") {
  Scene scene;
  for (std::uint32_t slot = 0; slot < 2000; ++slot) scene.mark(kSmall, slot, lib::SlotState::kHeld);
  OccupancyWatch at_once(*scene.loop, scene.pools, {1'000'000'000, 0, 0ms, 0});
  const auto whole = at_once.ask();
  REQUIRE(whole);
  OccupancyWatch in_pieces(*scene.loop, scene.pools, kTinyPieces);
  CHECK(in_pieces.ask() == nullptr);  // the first piece was too short for all of it
  int rounds = 0;
  while (in_pieces.ask() == nullptr && rounds < 10'000) {
    scene.loop->run_once(1000);
    ++rounds;
  }
  CHECK(rounds > 3);
  const auto pieced = in_pieces.ask();
  REQUIRE(pieced);
  CHECK(pieced->pools[0].clients[0].held_bytes == 2000 * 4096);
  for (std::size_t ring = 0; ring < 2; ++ring) {
    const RingMap& a = whole->pools[0].rings[ring];
    const RingMap& b = pieced->pools[0].rings[ring];
    CHECK(a.committed_bytes() == b.committed_bytes());
    CHECK(a.cold_bytes() == b.cold_bytes());
    CHECK(a.cells.size() == b.cells.size());
  }
}

TEST_CASE("nobody is looked at again before it is time, and a map is bounded") {
  Scene scene;
  OccupancyWatch watch(*scene.loop, scene.pools, {1'000'000'000, 0, 0ms, 3'600'000'000'000});
  const auto first = watch.ask();
  REQUIRE(first);
  scene.mark(kSmall, 0, lib::SlotState::kHeld);
  CHECK(watch.ask() == first);
  scene.memory().grow(kSmall, 160 * kMiB / 4096);
  scene.machine.commits.finish();
  OccupancyWatch later(*scene.loop, scene.pools, {1'000'000'000, 0, 0ms, 0});
  const RingMap map = later.ask()->pools[0].rings[kSmall];
  CHECK(map.extents > RingMap::kMapCells);
  CHECK(map.cells.size() <= RingMap::kMapCells);
  CHECK(map.cells.size() == (map.extents + map.extents_per_cell - 1) / map.extents_per_cell);
}

TEST_CASE("a watch may go while a look is under way") {
  Scene scene;
  {
    OccupancyWatch watch(*scene.loop, scene.pools, kTinyPieces);
    CHECK(watch.ask() == nullptr);
  }
  scene.loop->run_once(10);
}

TEST_CASE("words that a client has damaged are counted for nobody") {
  Scene scene;
  auto* cells = scene.memory().ring(kSmall).cells;
  for (std::uint32_t cell = 0; cell < 4; ++cell) {
    cells[cell].count.store(0xffffffff);
    for (auto& slot : cells[cell].slots) slot.store(0xfffffff0);
  }
  scene.memory().ring(kSmall).slots[1].mark.store(~std::uint64_t{0});
  OccupancyWatch watch(*scene.loop, scene.pools, {1'000'000'000, 0, 0ms, 0});
  const auto seen = watch.ask();
  REQUIRE(seen);
  CHECK(seen->pools[0].clients[0].held_bytes == 0);
}
