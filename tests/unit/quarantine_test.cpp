#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <random>
#include <thread>
#include <unistd.h>
#include <vector>

#include <doctest/doctest.h>

#include "tests/unit/support/memory_machine.hpp"
#include "zeropool/lib/client_record.hpp"
#include "zeropool/lib/reclaim.hpp"

using namespace zeropool;
using namespace zeropool::daemon;
using namespace zeropool::test;

namespace {

constexpr std::uint32_t kDead = 7;
constexpr std::uint32_t kLive = 8;

// A pool whose slots a test takes, marks as it likes, writes, and puts.
class Scene {
 public:
  Scene(Machine& machine, std::unique_ptr<PoolMemory> memory)
      : machine_(machine), memory_(std::move(memory)) {
    map();
  }

  PoolMemory& memory() { return *memory_; }
  lib::SharedRingView ring(std::uint32_t number) { return memory_->ring(number); }
  std::byte* at(std::uint32_t ring_number, std::uint32_t slot) {
    const lib::RingPlan& plan = memory_->plan().rings[ring_number];
    return data_.data() + plan.region_offset + slot * plan.class_bytes;
  }
  std::uint64_t class_bytes(std::uint32_t number) {
    return memory_->plan().rings[number].class_bytes;
  }
  // Its first and its last word.
  void write(std::uint32_t number, std::uint32_t slot, std::uint64_t value) {
    std::memcpy(at(number, slot), &value, sizeof value);
    std::memcpy(at(number, slot) + class_bytes(number) - sizeof value, &value, sizeof value);
  }
  bool has(std::uint32_t number, std::uint32_t slot, std::uint64_t value) {
    return std::memcmp(at(number, slot), &value, sizeof value) == 0 &&
           std::memcmp(at(number, slot) + class_bytes(number) - sizeof value, &value,
                       sizeof value) == 0;
  }

  // All that the ring has, each with a word of its own.
  std::vector<std::uint32_t> take_all(std::uint32_t number, std::uint32_t client) {
    lib::SharedBatchRing batch(ring(number));
    const lib::SharedRingView& view = batch.view();
    const lib::OwnerWord me = lib::OwnerWord::thread(client, 0, 0);
    std::vector<std::uint32_t> slots;
    for (std::uint32_t cell = 0; cell < view.cell_bound(); ++cell) {
      if (!batch.try_claim(cell, me)) continue;
      std::uint32_t slot = 0;
      lib::Mark mark;
      while (lib::take_slot(view.cells[cell], view.slots, view.slot_bound(),
                            lib::Mark::holder_bits(lib::SlotState::kHeld, client), slot,
                            mark) == lib::TakeOutcome::kTaken) {
        slots.push_back(slot);
        write(number, slot, slot + 1);
      }
      batch.release_cold(cell, me);
    }
    std::sort(slots.begin(), slots.end());
    return slots;
  }
  void put(std::uint32_t number, std::uint32_t slot) {
    lib::SharedBatchRing batch(ring(number));
    const lib::SharedRingView& view = batch.view();
    const lib::Mark mark{view.slots[slot].mark.load()};
    const lib::OwnerWord me = lib::OwnerWord::thread(mark.client(), 0, 0);
    lib::ClaimStats stats;
    const std::uint32_t cell = batch.claim_with_room(me, stats);
    REQUIRE(cell != lib::kNone);
    REQUIRE(lib::put_slot(view.cells[cell], view.slots, slot, mark));
    batch.release_cold(cell, me);
  }
  void give(std::uint32_t number, std::uint32_t slot, std::uint32_t client) {
    std::atomic<std::uint64_t>& mark = ring(number).slots[slot].mark;
    mark.store(lib::Mark{mark.load()}.with_holder(lib::SlotState::kHeld, client).word);
  }

  void reclaim_dead() {
    for (std::uint32_t r = 0; r < memory_->ring_count(); ++r) {
      lib::Reclaimer<std::atomic>(ring(r), kDead, 0).run_with_quarantine([&](std::uint32_t slot) {
        memory_->quarantine(r, slot);
      });
    }
  }
  std::uint64_t quarantined() {
    std::uint64_t sum = 0;
    for (std::uint32_t r = 0; r < memory_->ring_count(); ++r) sum += memory_->quarantined_slots(r);
    return sum;
  }
  // As the daemon's loop does it, `rounds` times its waits; how many are left.
  std::uint64_t replace(int rounds = 1) {
    for (int round = 0; round < rounds; ++round) {
      const auto wait = memory_->next_replacement();
      if (quarantined() == 0) break;
      REQUIRE(wait.count() > 0);
      std::this_thread::sleep_for(wait);
      memory_->replace_quarantined();
      machine_.commits.finish();
    }
    return quarantined();
  }
  lib::AuditReport audit() {
    lib::AuditReport sum;
    for (std::uint32_t r = 0; r < memory_->ring_count(); ++r) sum += lib::audit_ring(ring(r));
    return sum;
  }

  // The daemon is killed, and the next one takes the pool up.
  void next_daemon(const PoolConfig& config) {
    PoolSegments segments;
    segments.control.reset(::dup(memory_->control_fd()));
    segments.data.emplace_back(::dup(memory_->data_fd(0)));
    const std::uint32_t index = memory_->ledger_index();
    machine_.ledger->keep_pools(true);
    memory_.reset();
    std::string why;
    memory_ = PoolMemory::adopt(config, machine_.budget.budget(), index, std::move(segments),
                                MemoryServices{machine_.budget, *machine_.ledger, machine_.commits,
                                               machine_.topology, machine_.sizes},
                                why);
    REQUIRE_MESSAGE(memory_, why);
    machine_.ledger->keep_pools(false);
    map();
  }

 private:
  void map() {
    std::string why;
    data_ =
        lib::map_segment(memory_->data_fd(0), memory_->plan().arena_bytes[0], lib::kGiantPage, why);
    REQUIRE_MESSAGE(data_, why);
  }

  Machine& machine_;
  std::unique_ptr<PoolMemory> memory_;
  lib::Mapping data_;
};

PoolConfig one_class(std::uint64_t bytes) {
  PoolConfig config;
  config.name = "quarantine";
  config.classes = {bytes};
  return config;
}

std::unique_ptr<PoolMemory> made(Machine& machine, const PoolConfig& config) {
  std::string why;
  auto memory = machine.pool(config, why);
  REQUIRE_MESSAGE(memory, why);
  return memory;
}

}  // namespace

TEST_CASE("quarantined slots get new pages, and nobody else's are touched") {
  Machine machine(std::uint64_t{64} << 20);
  Scene scene(machine, made(machine, one_class(65536)));
  const std::vector<std::uint32_t> slots = scene.take_all(0, kLive);
  REQUIRE(slots.size() >= 32);
  const std::uint64_t published = scene.memory().published_slots(0);
  for (const std::uint32_t slot : {3U, 4U, 5U, 20U}) scene.give(0, slot, kDead);
  scene.reclaim_dead();
  CHECK(scene.quarantined() == 4);
  CHECK(scene.audit().quarantined == 4);
  CHECK(scene.memory().published_slots(0) == published - 4);
  CHECK(scene.replace() == 0);
  for (const std::uint32_t slot : slots) {
    const bool dead = slot == 20 || (slot >= 3 && slot <= 5);
    CHECK(scene.has(0, slot, dead ? 0 : slot + 1));
  }
  const lib::AuditReport audit = scene.audit();
  CHECK(audit.clean());
  CHECK(audit.free == 4);
  CHECK(audit.held == slots.size() - 4);
  CHECK(scene.memory().published_slots(0) == published);
  CHECK(scene.memory().next_replacement().count() == 0);
  machine.check_books(scene.memory());
}

TEST_CASE("a quarantined slot waits until the others on its page are with the daemon, unpinned") {
  Machine machine(std::uint64_t{64} << 20);
  Scene scene(machine, made(machine, one_class(1024)));
  const std::vector<std::uint32_t> slots = scene.take_all(0, kLive);
  scene.give(0, 5, kDead);
  scene.reclaim_dead();
  CHECK(scene.replace() == 1);
  for (const std::uint32_t slot : {4U, 6U}) scene.put(0, slot);
  CHECK(scene.replace() == 1);
  CHECK(scene.audit().free == 2);  // and can be had meanwhile
  CHECK(scene.audit().clean());
  CHECK(scene.has(0, 7, 8));
  auto* pins = reinterpret_cast<lib::PinCell<std::atomic>*>(scene.memory().view().base() +
                                                            scene.memory().plan().pins_offset);
  pins[3].ring.store(0);
  pins[3].first_slot.store(6);
  pins[3].slot_count.store(1);
  pins[3].owner.store(lib::OwnerWord::thread(kLive, 0, 0).word);
  scene.put(0, 7);
  CHECK(scene.replace() == 1);
  pins[3].owner.store(0);
  CHECK(scene.replace() == 0);
  CHECK(scene.audit().free == 4);
  for (const std::uint32_t slot : slots) {
    CHECK(scene.has(0, slot, slot >= 4 && slot <= 7 ? 0 : slot + 1));
  }
  machine.check_books(scene.memory());
}

TEST_CASE("without memory for new pages slots stay quarantined and charged, until there is some") {
  Machine machine(std::uint64_t{64} << 20);
  Scene scene(machine, made(machine, one_class(65536)));
  const std::vector<std::uint32_t> slots = scene.take_all(0, kLive);
  const std::uint64_t committed = machine.budget.committed();
  for (std::uint32_t slot = 0; slot < 8; ++slot) scene.give(0, slot, kDead);
  scene.reclaim_dead();
  machine.node.free_mib(0);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the guard's last reading is old
  CHECK(scene.replace() == 8);
  CHECK(machine.budget.committed() == committed);
  CHECK(scene.audit().quarantined == 8);
  CHECK(scene.memory().trim(std::uint64_t{1} << 40, lib::kNone).extents == 0);
  const auto wait = scene.memory().next_replacement();
  CHECK(scene.replace() == 8);
  CHECK(scene.memory().next_replacement() > wait);  // less and less often
  machine.node.free_mib(4096);
  CHECK(scene.replace() == 0);
  CHECK(scene.audit().free == 8);
  machine.check_books(scene.memory());
}

TEST_CASE("pages that were punched and not committed again are committed by the next daemon") {
  for (const std::uint64_t bytes : {std::uint64_t{65536}, std::uint64_t{1024}}) {
    Machine machine(std::uint64_t{64} << 20);
    const PoolConfig config = one_class(bytes);
    Scene scene(machine, made(machine, config));
    const std::vector<std::uint32_t> slots = scene.take_all(0, kLive);
    scene.give(0, 5, kDead);
    for (const std::uint32_t slot : {4U, 6U, 7U}) scene.put(0, slot);
    scene.reclaim_dead();
    machine.node.free_mib(0);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    CHECK(scene.replace() == 1);  // as killed between the two
    machine.node.free_mib(4096);
    scene.next_daemon(config);
    CHECK(scene.quarantined() == 1);
    // Nothing that shares the hole can be had yet.
    CHECK(scene.take_all(0, kLive).size() == (bytes == 1024 ? 0 : 3));
    CHECK(scene.replace() == 0);
    CHECK(scene.audit().clean());
    CHECK(scene.audit().free == (bytes == 1024 ? 4 : 1));
    for (const std::uint32_t slot : slots) {
      if (slot < 4 || slot > 7) CHECK(scene.has(0, slot, slot + 1));
    }
    machine.check_books(scene.memory());
  }
}

TEST_CASE("slots that straddle pages and extents: what others hold stays theirs, all comes back") {
  std::mt19937 engine(5);
  const auto below = [&](std::size_t bound) { return static_cast<std::size_t>(engine() % bound); };
  Machine machine(std::uint64_t{128} << 20);
  PoolConfig config = straddling();
  config.classes = {192, 4160, 65536, 3110400};
  Scene scene(machine, made(machine, config));
  for (int round = 0; round < 6; ++round) {
    std::vector<std::vector<std::uint32_t>> live(scene.memory().ring_count());
    std::uint64_t dead = 0;
    for (std::uint32_t r = 0; r < live.size(); ++r) {
      for (const std::uint32_t slot : scene.take_all(r, kLive)) {
        const std::size_t fate = below(round % 2 == 0 ? 40 : 400);
        if (fate == 0) {
          scene.give(r, slot, kDead);
          ++dead;
        } else if (fate == 1) {
          live[r].push_back(slot);
        } else {
          scene.put(r, slot);
        }
      }
    }
    scene.reclaim_dead();
    CHECK(scene.quarantined() == dead);
    const bool restarts = round >= 3;
    if (restarts) scene.next_daemon(config);
    scene.replace(2);
    for (std::uint32_t r = 0; r < live.size(); ++r) {
      for (const std::uint32_t slot : live[r]) REQUIRE(scene.has(r, slot, slot + 1));
    }
    CHECK(scene.audit().clean());
    if (restarts) scene.next_daemon(config);
    for (std::uint32_t r = 0; r < live.size(); ++r) {
      for (const std::uint32_t slot : live[r]) scene.put(r, slot);
    }
    CHECK(scene.replace(4) == 0);
    check_idle_rings(scene.memory());
    machine.check_books(scene.memory());
  }
}
