// What goes back by itself, and what stays.

#include <chrono>

#include "daemon/demand_window.hpp"
#include "tests/unit/support/memory_machine.hpp"
#include "zeropool/lib/batch_ring.hpp"

using namespace zeropool;
using namespace zeropool::daemon;
using namespace zeropool::test;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t kAll = std::uint64_t{1} << 40;
constexpr std::uint32_t kClass = 1;  // 64 KiB

PoolConfig two_classes() {
  PoolConfig config;
  config.name = "idle";
  config.classes = {4096, 65536};
  config.watermarks = {4 * kMiB, 16 * kMiB};
  config.release = {8s, kGiB};
  return config;
}

// A client's thread that takes magazines and brings them back.
class Holder {
 public:
  explicit Holder(const PoolMemory& memory) : ring_(memory.ring(kClass)) {}
  std::uint64_t take(std::uint64_t bytes) {
    std::uint64_t taken = 0;
    while (taken < bytes) {
      lib::ClaimStats stats;
      const std::uint32_t cell = ring_.claim_filled(0, kMe, stats);
      if (cell == lib::kNone) break;
      cells_.push_back(cell);
      taken += ring_.count_of(cell) * std::uint64_t{65536};
    }
    return taken;
  }
  void put_back() {
    for (const std::uint32_t cell : cells_) ring_.release(cell, kMe, 0);
    cells_.clear();
  }

 private:
  const lib::OwnerWord kMe = lib::OwnerWord::thread(7, 0, 0);
  lib::SharedBatchRing ring_;
  std::vector<std::uint32_t> cells_;
};

struct Scene {
  explicit Scene(const PoolConfig& config = two_classes(), std::uint64_t budget = 256 * kMiB)
      : machine(budget) {
    std::string why;
    memory = machine.pool(config, why);
    REQUIRE_MESSAGE(memory, why);
  }
  void grow(std::uint64_t bytes) {
    memory->grow(kClass, bytes / 65536);
    machine.commits.finish();
  }
  // A look an eighth of the window later.
  IdleLook look(std::uint64_t most = kAll) {
    now += 1s;
    return memory->release_idle(most, attached, now);
  }
  std::uint64_t committed() const { return memory->committed_bytes(0); }

  Machine machine;
  std::unique_ptr<PoolMemory> memory;
  DemandWindow::Time now = std::chrono::steady_clock::now();
  bool attached = true;
};

}  // namespace

TEST_CASE("what nobody has needed for the window goes back, to what a pool starts with") {
  Scene scene;
  const std::uint64_t at_start = scene.committed();
  scene.grow(64 * kMiB);
  const std::uint64_t grown = scene.committed();
  CHECK(grown >= at_start + 60 * kMiB);
  for (int eighth = 0; eighth < 8; ++eighth) {
    CHECK(scene.look().later);
    CHECK(scene.committed() == grown);
  }
  for (int more = 0; more < 4; ++more) scene.look();
  CHECK(scene.committed() <= at_start);
  CHECK(scene.committed() >= 6 * kMiB);  // an extent of one class, 4 MiB of the other
  CHECK(scene.memory->released_bytes()[static_cast<std::size_t>(ReleaseReason::kIdle)] ==
        grown - scene.committed());
  CHECK_FALSE(scene.look().later);
  scene.machine.check_books(*scene.memory);
  check_idle_rings(*scene.memory);
  // And not fetched back by the low watermark.
  const std::uint64_t low = scene.committed();
  scene.memory->top_up();
  scene.machine.commits.finish();
  CHECK(scene.committed() == low);
}

TEST_CASE("a sawtooth that comes again within the window neither releases nor commits") {
  Scene scene;
  scene.grow(64 * kMiB);
  Holder holder(*scene.memory);
  const std::uint64_t grown = scene.committed();
  for (int second = 0; second < 100; ++second) {
    if (second % 7 == 0) CHECK(holder.take(56 * kMiB) >= 56 * kMiB);
    if (second % 7 == 2) holder.put_back();
    scene.look();
    CHECK(scene.committed() == grown);
  }
  holder.put_back();
  for (int second = 0; second < 20; ++second) scene.look();
  CHECK(scene.committed() < grown - 40 * kMiB);  // when it comes no more
  check_idle_rings(*scene.memory);
}

TEST_CASE("what is held stays, with a reserve of the high watermark") {
  Scene scene;
  scene.grow(96 * kMiB);
  Holder holder(*scene.memory);
  CHECK(holder.take(32 * kMiB) >= 32 * kMiB);
  for (int second = 0; second < 20; ++second) scene.look();
  const std::uint64_t kept = scene.memory->published_slots(kClass) * 65536;
  CHECK(kept >= 48 * kMiB);
  CHECK(kept <= 56 * kMiB);
  holder.put_back();
  check_idle_rings(*scene.memory);
}

TEST_CASE("a pool is not released below its reservation") {
  PoolConfig config = two_classes();
  config.reserved_bytes = 64 * kMiB;
  Scene scene(config);
  scene.grow(96 * kMiB);
  for (int second = 0; second < 30; ++second) scene.look();
  const PoolAccount account = scene.machine.budget.snapshot(scene.memory->account());
  CHECK(account.committed_bytes >= 64 * kMiB);
  CHECK(account.committed_bytes < 66 * kMiB);
  CHECK_FALSE(scene.memory->release_idle(kAll, true, scene.now + 1s).later);
}

TEST_CASE("a turn releases no more than it may") {
  Scene scene;
  scene.grow(64 * kMiB);
  for (int second = 0; second < 8; ++second) scene.look(0);
  const IdleLook first = scene.look(8 * kMiB);
  CHECK(first.released.bytes == 8 * kMiB);
  CHECK(first.more);
  const IdleLook least = scene.look(1);  // an extent, however little it may
  CHECK(least.released.bytes == 2 * kMiB);
}

TEST_CASE("what grows again right after its release waits longer the next time") {
  Scene scene;
  const auto seconds_till_released = [&] {
    const std::uint64_t grown = scene.committed();
    int seconds = 0;
    while (scene.committed() == grown && seconds < 200) {
      scene.look();
      ++seconds;
    }
    return seconds;
  };
  scene.grow(64 * kMiB);
  const int first = seconds_till_released();
  CHECK(first <= 11);
  // The pool takes the time of growth itself: so do the looks from here on.
  scene.now = std::chrono::steady_clock::now();
  scene.grow(128 * kMiB);
  for (int second = 0; second < 10; ++second) scene.look();
  scene.now = std::chrono::steady_clock::now();
  CHECK(seconds_till_released() > first);
}

TEST_CASE("without a window nothing goes back by itself") {
  PoolConfig config = two_classes();
  config.release.window = 0s;
  Scene scene(config);
  scene.grow(64 * kMiB);
  const std::uint64_t grown = scene.committed();
  for (int second = 0; second < 100; ++second) CHECK_FALSE(scene.look().later);
  CHECK(scene.committed() == grown);
}

TEST_CASE("with no client one look at the window's end is enough") {
  Scene scene;
  scene.attached = false;
  scene.grow(64 * kMiB);
  const std::uint64_t grown = scene.committed();
  scene.look();  // a client may have come and gone before it
  CHECK(scene.look().later);
  CHECK(scene.committed() == grown);
  scene.now += 9s;
  scene.look();
  CHECK(scene.committed() < grown);
}

TEST_CASE("extents that a slot here and there keeps are not looked at for ever") {
  Scene scene;
  scene.grow(64 * kMiB);
  Holder holder(*scene.memory);
  // A magazine of each extent: 16 slots of 32.
  while (holder.take(1) > 0) {
  }
  scene.attached = false;
  int looks = 0;
  while (scene.look().later && looks < 100) ++looks;
  CHECK(looks < 100);
  holder.put_back();
}

TEST_CASE("hugepages are not given back for pressure, ordinary pages are, and never what is hot") {
  Scene scene;
  scene.grow(64 * kMiB);
  const std::uint64_t grown = scene.committed();
  const std::uint64_t cold = scene.memory->cold_slots_estimate(kClass) * 65536;
  const TrimReport report = scene.memory->trim(kAll, lib::kNone, ReleaseReason::kPressure);
  CHECK(report.bytes > 0);
  CHECK(report.bytes <= cold + scene.memory->cold_slots_estimate(0) * 4096 + 8 * kMiB);
  CHECK(scene.committed() == grown - report.bytes);
  CHECK(scene.memory->released_bytes()[static_cast<std::size_t>(ReleaseReason::kPressure)] ==
        report.bytes);
  check_idle_rings(*scene.memory);
}
