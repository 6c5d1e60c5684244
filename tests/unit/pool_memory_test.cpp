#include "daemon/pool_memory.hpp"

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <random>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

#include <doctest/doctest.h>
#include <spdlog/spdlog.h>

#include "zeropool/lib/audit.hpp"
#include "zeropool/lib/segment.hpp"
#include "zeropool/lib/slot_transfer.hpp"

using namespace zeropool;
using namespace zeropool::daemon;

namespace {

std::atomic<int> punch_error{0};  // errno of each punch; 0: the kernel's

int fallocate_of_tests(int fd, int mode, off_t offset, off_t bytes) {
  if (const int error = punch_error; error != 0 && (mode & FALLOC_FL_PUNCH_HOLE) != 0) {
    errno = error;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fallocate, fd, mode, offset, bytes));
}

lib::Topology one_node() {
  lib::Topology topology;
  lib::Topology::Node node;
  node.memory_bytes = std::uint64_t{8} << 30;
  node.distances = {10};
  topology.nodes = {node};
  topology.cpus.resize(4);
  topology.cpus[2].domain = 1;
  topology.cpus[3].domain = 1;
  topology.domain_count = 2;
  topology.l2_bytes = 1 << 20;
  topology.l3_bytes = 32 << 20;
  return topology;
}

// A node whose free memory a test says.
class FakeNode {
 public:
  FakeNode() {
    char pattern[] = "/tmp/zeropool-node-XXXXXX";
    root_ = ::mkdtemp(pattern);
    std::filesystem::create_directories(root_ + "/node0");
    free_mib(4096);
  }
  ~FakeNode() { std::filesystem::remove_all(root_); }
  FakeNode(const FakeNode&) = delete;
  FakeNode& operator=(const FakeNode&) = delete;
  // Beyond the reserve.
  void free_mib(std::uint64_t mib) const {
    std::ofstream(root_ + "/node0/meminfo")
        << "Node 0 MemTotal: 4194304 kB\nNode 0 MemFree: " << (mib + 64) * 1024 << " kB\n";
  }
  MemoryGuardPaths paths() const { return {root_, root_, root_}; }

 private:
  std::string root_;
};

struct Machine {
  explicit Machine(std::uint64_t budget_bytes, std::vector<PageSize> pages = {PageSize::kSmall4KiB})
      : budget(budget_bytes), commits(false, MemoryGuard(node.paths())), sizes(std::move(pages)) {
    spdlog::set_level(spdlog::level::off);
    std::string why;
    ledger = Ledger::create(budget, 64, why);
    REQUIRE(ledger);
  }
  std::unique_ptr<PoolMemory> pool(const PoolConfig& config, std::string& why,
                                   std::uint32_t threads = 256) {
    return PoolMemory::create(config, config.limit_bytes.value_or(budget.budget()), 64, threads,
                              MemoryServices{budget, *ledger, commits, topology, sizes}, why);
  }
  // What is charged covers what is there, and neither exceeds the budget.
  void check_books(const PoolMemory& memory) {
    std::uint64_t data = 0;
    for (std::uint32_t a = 0; a < memory.plan().arena_bytes.size(); ++a) {
      CHECK(lib::segment_occupied_bytes(memory.data_fd(a)) == memory.committed_bytes(a));
      data += memory.committed_bytes(a);
    }
    CHECK(lib::segment_occupied_bytes(memory.control_fd()) == memory.metadata_bytes());
    const std::uint64_t all =
        data + memory.metadata_bytes() + lib::segment_occupied_bytes(ledger->fd());
    CHECK(all == budget.committed());
    CHECK(budget.committed() <= budget.budget());
    CHECK(ledger->header().committed_bytes.load() == budget.committed());
  }

  FakeNode node;
  lib::Topology topology = one_node();
  Budget budget;
  std::unique_ptr<Ledger> ledger;
  CommitThread commits;
  std::vector<PageSize> sizes;
};

PoolConfig straddling() {
  PoolConfig config;
  config.name = "straddling";
  config.classes = {4160, 65536, 3110400};
  return config;
}

// Everything published lies in the ring or with the daemon, once.
void check_idle_rings(const PoolMemory& memory) {
  for (std::uint32_t r = 0; r < memory.ring_count(); ++r) {
    const lib::AuditReport report = lib::audit_ring(memory.ring(r));
    CHECK(report.clean());
    CHECK(report.free == memory.published_slots(r));
    CHECK(report.free == report.slots - report.daemon);
  }
}

std::uint64_t states(const Machine& machine, const PoolMemory& memory, ExtentState wanted) {
  std::uint64_t count = 0;
  const auto& plan = memory.plan();
  const std::uint64_t all = Ledger::first_extent(plan, memory.ring_count());
  for (std::uint64_t i = 0; i < all; ++i) {
    if (machine.ledger->extent(memory.ledger_index(), i) == wanted) ++count;
  }
  return count;
}

// Writes to each free slot: nothing that is published may be missing.
void touch_every_free_slot(const PoolMemory& memory) {
  for (std::uint32_t r = 0; r < memory.ring_count(); ++r) {
    const lib::RingPlan& plan = memory.plan().rings[r];
    std::string why;
    const lib::Mapping data = lib::map_segment(
        memory.data_fd(plan.arena), memory.plan().arena_bytes[plan.arena], lib::kGiantPage, why);
    REQUIRE(data);
    const lib::SharedRingView ring = memory.ring(r);
    for (std::uint32_t slot = 0; slot < ring.slot_bound(); ++slot) {
      if (!lib::Mark{ring.slots[slot].mark.load()}.is_free()) continue;
      std::memset(data.data() + plan.region_offset + slot * plan.class_bytes, 0x5a,
                  plan.class_bytes);
    }
  }
}

}  // namespace

// Before libc's, in this program.
extern "C" {
int fallocate(int fd, int mode, off_t offset, off_t bytes) {
  return fallocate_of_tests(fd, mode, offset, bytes);
}
int fallocate64(int fd, int mode, off64_t offset, off64_t bytes) {
  return fallocate_of_tests(fd, mode, offset, bytes);
}
}

TEST_CASE("a new pool has slots of every class, exact books and clean rings") {
  Machine machine(std::uint64_t{256} << 20);
  std::string why;
  const auto memory = machine.pool(straddling(), why);
  REQUIRE_MESSAGE(memory, why);
  CHECK(lib::check_control_segment(memory->view().base(), memory->plan().segment_bytes).empty());
  for (std::uint32_t r = 0; r < memory->ring_count(); ++r) CHECK(memory->published_slots(r) > 0);
  check_idle_rings(*memory);
  machine.check_books(*memory);
  touch_every_free_slot(*memory);
  machine.check_books(*memory);  // no touch brought a page
  CHECK(memory->header().threads_published.load() == 64);
  CHECK(memory->header().orders_published.load() == 256);
  CHECK(memory->header().committed_bytes.load() ==
        machine.budget.snapshot(memory->account()).committed_bytes);
  const auto* cpus =
      reinterpret_cast<const lib::CpuEntry*>(memory->view().base() + memory->plan().cpus_offset);
  CHECK(cpus[3].domain == 1);
}

TEST_CASE("growing until the budget is spent stays within it, and trimming gives all of it back") {
  Machine machine(std::uint64_t{192} << 20);
  std::string why;
  const auto memory = machine.pool(straddling(), why);
  REQUIRE_MESSAGE(memory, why);
  std::vector<std::uint64_t> told(memory->ring_count(), 0);
  memory->on_published([&](std::uint32_t ring) { ++told[ring]; });
  for (int round = 0; round < 200; ++round) {
    for (std::uint32_t r = 0; r < memory->ring_count(); ++r) memory->grow(r, r == 0 ? 600 : 3);
    machine.commits.finish();
    if (round % 16 == 0) machine.check_books(*memory);
  }
  const GrowOutcome spent = memory->grow(0, 1);  // its limit is the budget
  CHECK((spent == GrowOutcome::kBudgetSpent || spent == GrowOutcome::kLimitReached));
  for (const std::uint64_t count : told) CHECK(count > 0);
  machine.check_books(*memory);
  check_idle_rings(*memory);
  touch_every_free_slot(*memory);
  machine.check_books(*memory);
  CHECK(states(machine, *memory, ExtentState::kPublished) * (2 << 20) <=
        memory->committed_bytes(0));

  const std::uint64_t before = memory->committed_bytes(0);
  const TrimReport some = memory->trim(1, lib::kNone);
  CHECK(some.extents == 1);
  check_idle_rings(*memory);
  machine.check_books(*memory);
  std::uint64_t bytes = some.bytes;
  for (;;) {
    const TrimReport report = memory->trim(std::uint64_t{1} << 40, lib::kNone);
    if (report.extents == 0) break;
    bytes += report.bytes;
    check_idle_rings(*memory);
  }
  CHECK(bytes == before);
  CHECK(memory->trimmed_bytes() == before);
  CHECK(memory->committed_bytes(0) == 0);
  CHECK(states(machine, *memory, ExtentState::kPublished) == 0);
  CHECK(states(machine, *memory, ExtentState::kDraining) == 0);
  machine.check_books(*memory);
  // And in again.
  CHECK(memory->grow(2, 5) == GrowOutcome::kStarted);
  CHECK(memory->grow(2, 5) == GrowOutcome::kUnderWay);
  CHECK(states(machine, *memory, ExtentState::kCommitting) > 0);
  machine.commits.finish();
  CHECK(memory->published_slots(2) >= 5);
  check_idle_rings(*memory);
  touch_every_free_slot(*memory);
  machine.check_books(*memory);
}

TEST_CASE("an extent that the kernel does not punch stays charged, and is punched later") {
  Machine machine(std::uint64_t{64} << 20);
  std::string why;
  const auto memory = machine.pool(straddling(), why);
  REQUIRE_MESSAGE(memory, why);
  memory->grow(1, 100);
  machine.commits.finish();
  const std::uint64_t before = memory->committed_bytes(0);
  punch_error = EIO;
  CHECK(memory->trim(1, lib::kNone).extents == 0);
  memory->top_up();
  CHECK(memory->committed_bytes(0) == before);
  CHECK(states(machine, *memory, ExtentState::kPunching) > 0);
  machine.check_books(*memory);
  check_idle_rings(*memory);
  punch_error = 0;
  memory->top_up();
  CHECK(states(machine, *memory, ExtentState::kPunching) == 0);
  CHECK(memory->committed_bytes(0) < before);
  machine.check_books(*memory);
  // It can be had again.
  memory->grow(1, 1000);
  machine.commits.finish();
  machine.check_books(*memory);
  check_idle_rings(*memory);
}

TEST_CASE("an extent with a held slot is not released, and its other slots go back") {
  Machine machine(std::uint64_t{128} << 20);
  std::string why;
  const auto memory = machine.pool(straddling(), why);
  REQUIRE_MESSAGE(memory, why);
  lib::SharedBatchRing ring(memory->ring(0));
  const lib::OwnerWord me = lib::OwnerWord::thread(7, 0, 0);
  lib::ClaimStats stats;
  const std::uint32_t cell = ring.claim_filled(0, me, stats);
  REQUIRE(cell != lib::kNone);
  std::uint32_t slot = 0;
  lib::Mark mark;
  REQUIRE(lib::take_slot(ring.view().cells[cell], ring.view().slots, ring.view().slot_bound(),
                         lib::Mark::holder_bits(lib::SlotState::kHeld, 7), slot,
                         mark) == lib::TakeOutcome::kTaken);
  ring.release(cell, me, 0);
  while (memory->trim(std::uint64_t{1} << 40, lib::kNone).extents > 0) {
  }
  CHECK(memory->published_slots(0) > 0);
  CHECK(memory->published_slots(1) == 0);
  const lib::AuditReport report = lib::audit_ring(memory->ring(0));
  CHECK(report.clean());
  CHECK(report.held == 1);
  CHECK(report.free + 1 == memory->published_slots(0));
  machine.check_books(*memory);
  touch_every_free_slot(*memory);
  machine.check_books(*memory);
}

TEST_CASE("a node that is full midway costs nothing and says so") {
  Machine machine(std::uint64_t{1} << 30);
  std::string why;
  PoolConfig config = straddling();
  const auto memory = machine.pool(config, why);
  REQUIRE_MESSAGE(memory, why);
  machine.node.free_mib(0);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the guard's last reading is old
  const std::uint64_t before = memory->published_slots(1);
  int told = 0;
  memory->on_published([&](std::uint32_t) { ++told; });
  CHECK(memory->grow(1, 1000) == GrowOutcome::kStarted);
  machine.commits.finish();
  CHECK(told > 0);
  CHECK(memory->grow(1, 1000) == GrowOutcome::kNodeFull);
  CHECK(memory->published_slots(1) == before);
  CHECK(states(machine, *memory, ExtentState::kCommitting) == 0);
  machine.check_books(*memory);
  machine.node.free_mib(4096);
  std::this_thread::sleep_for(std::chrono::milliseconds(120));
  CHECK(memory->grow(1, 1000) == GrowOutcome::kStarted);
  machine.commits.finish();
  CHECK(memory->published_slots(1) >= before + 1000);
  check_idle_rings(*memory);
  machine.check_books(*memory);
}

TEST_CASE("a pool too large for its budget says what it needs") {
  Machine machine(std::uint64_t{2} << 20);
  std::string why;
  PoolConfig config;
  CHECK_FALSE(machine.pool(config, why));
  CHECK(why.find("needs at least") != std::string::npos);
  CHECK(machine.budget.committed() == lib::segment_occupied_bytes(machine.ledger->fd()));
}

TEST_CASE("the smallest pool that is accepted has a slot") {
  std::string why;
  bool accepted = false;
  for (std::uint64_t mib = 3; mib < 12 && !accepted; ++mib) {
    Machine machine(mib << 20);
    PoolConfig config;
    const auto memory = machine.pool(config, why);
    if (!memory) continue;
    accepted = true;
    CHECK(memory->published_slots(0) > 0);
    machine.check_books(*memory);
    check_idle_rings(*memory);
  }
  CHECK(accepted);
}

TEST_CASE("page sizes that are not to be had fall back, and are counted") {
  Machine machine(std::uint64_t{256} << 20,
                  {PageSize::kHuge1GiB, PageSize::kHuge2MiB, PageSize::kThp, PageSize::kSmall4KiB});
  std::string why;
  const auto memory = machine.pool(straddling(), why);
  REQUIRE_MESSAGE(memory, why);
  const lib::PageKind kind = memory->plan().shape.arenas[0].page_kind;
  std::uint64_t fallbacks = 0;
  for (const PageSize to : {PageSize::kHuge2MiB, PageSize::kThp, PageSize::kSmall4KiB}) {
    fallbacks += memory->page_fallbacks(PageSize::kHuge1GiB, to);
  }
  CHECK(fallbacks == (kind == lib::PageKind::kGiant1GiB ? 0U : 1U));
  CHECK_FALSE(memory->notes().empty());
  check_idle_rings(*memory);
  machine.check_books(*memory);
}

TEST_CASE("watermarks grow a ring that runs low, and thread records and orders follow their use") {
  Machine machine(std::uint64_t{512} << 20);
  std::string why;
  PoolConfig config = straddling();
  config.watermarks.low_bytes = 8 << 20;
  config.watermarks.high_bytes = 24 << 20;
  const auto memory = machine.pool(config, why);
  REQUIRE_MESSAGE(memory, why);
  const std::uint64_t before = memory->published_slots(1);
  memory->top_up();  // nobody asked
  machine.commits.finish();
  CHECK(memory->published_slots(1) == before);
  memory->view().descriptor(1).low.store(1);
  memory->header().rings_low.store(1);
  memory->top_up();
  machine.commits.finish();
  CHECK(memory->free_slots_estimate(1) * 65536 >= (22U << 20));
  CHECK(memory->view().descriptor(1).low.load() == 0);

  memory->header().threads_wanted.store(1);
  memory->header().orders_wanted.store(1);
  memory->top_up();
  machine.commits.finish();
  CHECK(memory->header().threads_published.load() == 128);
  CHECK(memory->header().orders_published.load() == 512);
  for (std::uint32_t i = 0; i < 100; ++i) memory->view().thread(i).owner.store(1);
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  memory->top_up();
  machine.commits.finish();
  CHECK(memory->header().threads_published.load() == 256);
  memory->header().threads_wanted.store(1);
  memory->top_up();
  machine.commits.finish();
  CHECK(memory->header().threads_published.load() == 256);  // all there are
  for (std::uint32_t r = 0; r < memory->ring_count(); ++r) {
    CHECK(memory->ring(r).cell_bound() >=
          lib::ControlPlan::cells_needed(memory->plan().rings[r], memory->published_slots(r), 256));
  }
  machine.check_books(*memory);
  check_idle_rings(*memory);
}

TEST_CASE("what a hostile client writes never crashes or stops the daemon") {
  Machine machine(std::uint64_t{128} << 20);
  std::string why;
  const auto memory = machine.pool(straddling(), why);
  REQUIRE_MESSAGE(memory, why);
  std::mt19937 engine(7);
  const auto random = [&] { return static_cast<std::uint32_t>(engine()); };
  auto* words = reinterpret_cast<std::atomic<std::uint32_t>*>(memory->view().base());
  const std::uint64_t first = memory->plan().rings_offset / 4;
  const auto scribble = [&](std::uint64_t begin, std::uint64_t end, int times) {
    for (int i = 0; i < times; ++i) {
      const std::uint32_t value = random() % 3 == 0   ? 0xffffffffU
                                  : random() % 3 == 0 ? 0
                                                      : random();
      words[begin + random() % (end - begin)].store(value);
    }
  };
  for (int round = 0; round < 30; ++round) {
    scribble(0, first, 20);                                    // header
    scribble(first, memory->plan().threads_offset / 4, 2000);  // descriptors, hints
    for (std::uint32_t r = 0; r < memory->ring_count(); ++r) {
      const lib::RingPlan& plan = memory->plan().rings[r];
      const std::uint64_t cells =
          (memory->plan().magazines_offset + std::uint64_t{plan.first_cell} * 256) / 4;
      scribble(cells, cells + 100 * 64, 200);
      const std::uint64_t slots = (memory->plan().slots_offset + plan.first_slot * 16) / 4;
      scribble(slots, slots + 64, 20);
    }
    for (std::uint32_t r = 0; r < memory->ring_count(); ++r) {
      memory->grow(r, 1 + random() % 50);
      memory->free_slots_estimate(r);
    }
    memory->top_up();
    memory->trim(random() % (16 << 20), lib::kNone);
    machine.commits.finish();
  }
  std::uint64_t occupied = lib::segment_occupied_bytes(memory->control_fd()) +
                           lib::segment_occupied_bytes(memory->data_fd(0));
  CHECK(occupied == memory->metadata_bytes() + memory->committed_bytes(0));
  CHECK(machine.budget.committed() <= machine.budget.budget());
}

TEST_CASE("a pool that goes gives everything back") {
  Machine machine(std::uint64_t{256} << 20);
  std::string why;
  const std::uint64_t before = machine.budget.committed();
  {
    const auto memory = machine.pool(straddling(), why);
    REQUIRE_MESSAGE(memory, why);
    memory->grow(0, 10000);  // under way when it goes
  }
  // The ledger keeps the place of its extents' states.
  CHECK(machine.budget.committed() <= before + (64 << 10));
  const auto again = machine.pool(straddling(), why);
  REQUIRE_MESSAGE(again, why);
  machine.check_books(*again);
}
