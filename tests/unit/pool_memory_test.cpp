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

#include "daemon/event_loop.hpp"
#include "tests/unit/support/memory_machine.hpp"
#include "zeropool/lib/audit.hpp"
#include "zeropool/lib/segment.hpp"
#include "zeropool/lib/slot_transfer.hpp"

using namespace zeropool;
using namespace zeropool::daemon;
using namespace zeropool::test;

namespace {

std::atomic<int> punch_error{0};  // errno of each punch; 0: the kernel's

int fallocate_of_tests(int fd, int mode, off_t offset, off_t bytes) {
  if (const int error = punch_error; error != 0 && (mode & FALLOC_FL_PUNCH_HOLE) != 0) {
    errno = error;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fallocate, fd, mode, offset, bytes));
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

TEST_CASE("while a ring grows nobody need ask again: what is taken meanwhile is brought, too") {
  Machine machine(std::uint64_t{512} << 20);
  std::string why;
  PoolConfig config = straddling();
  config.watermarks.low_bytes = 8 << 20;
  config.watermarks.high_bytes = 24 << 20;
  const auto memory = machine.pool(config, why);
  REQUIRE_MESSAGE(memory, why);
  std::atomic<std::uint32_t>& low = memory->view().descriptor(1).low;
  const std::uint64_t before = memory->published_slots(1);
  low.store(lib::kLowFillUp);
  memory->header().rings_low.store(1);
  memory->top_up();
  CHECK(low.load() == lib::kLowUnderWay);
  memory->top_up();  // another's turn changes nothing
  CHECK(low.load() == lib::kLowUnderWay);
  // Before what comes is there, a client takes all there is.
  const lib::OwnerWord me = lib::OwnerWord::thread(7, 0, 0);
  lib::SharedBatchRing ring(memory->ring(1));
  lib::ClaimStats stats;
  std::vector<std::uint32_t> taken;
  for (;;) {
    const std::uint32_t cell = ring.claim_filled(0, me, stats);
    if (cell == lib::kNone) break;
    taken.push_back(cell);
  }
  REQUIRE(taken.size() * memory->plan().rings[1].magazine_slots >= before);
  REQUIRE(before * 65536 > (2U << 20));  // more than the last extent's rounding up
  machine.commits.finish();
  CHECK(low.load() == 0);
  CHECK(memory->free_slots_estimate(1) * 65536 >= (22U << 20));
  CHECK((memory->published_slots(1) - before) * 65536 >= (22U << 20));
  for (const std::uint32_t cell : taken) ring.release(cell, me, 0);
  machine.check_books(*memory);
  check_idle_rings(*memory);
}

TEST_CASE(
    "after a growth that failed clients may ask again, and are told that nothing is to come") {
  Machine machine(std::uint64_t{512} << 20);
  std::string why;
  PoolConfig config = straddling();
  config.watermarks.low_bytes = 8 << 20;
  config.watermarks.high_bytes = 24 << 20;
  const auto memory = machine.pool(config, why);
  REQUIRE_MESSAGE(memory, why);
  std::atomic<std::uint32_t>& low = memory->view().descriptor(1).low;
  const std::uint64_t before = memory->published_slots(1);
  machine.node.free_mib(0);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the guard's last reading is old
  low.store(lib::kLowFillUp);
  memory->header().rings_low.store(1);
  memory->top_up();
  CHECK(low.load() == lib::kLowUnderWay);
  machine.commits.finish();
  CHECK(low.load() == 0);  // clients may ask again,
  CHECK(memory->published_slots(1) == before);
  // and are answered, unless the next try is due already
  for (int ask = 0; ask < 100 && low.load() != lib::kLowNothingToDo; ++ask) {
    low.store(lib::kLowFillUp);
    memory->header().rings_low.store(1);
    memory->top_up();
    machine.commits.finish();
  }
  CHECK(low.load() == lib::kLowNothingToDo);
  machine.check_books(*memory);
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

TEST_CASE("touched holes are punched out wherever they lie, and growth under way keeps its pages") {
  Machine machine(std::uint64_t{1} << 30);
  std::string why;
  const auto memory = machine.pool(straddling(), why);
  REQUIRE_MESSAGE(memory, why);
  const lib::ControlPlan& plan = memory->plan();
  const lib::Mapping data =
      lib::map_segment(memory->data_fd(0), plan.arena_bytes[0], lib::kGiantPage, why);
  REQUIRE_MESSAGE(data, why);
  const auto look = [&] {
    const std::uint64_t now_ns = monotonic_ns();
    return memory->punch_strays(now_ns, now_ns + 1'000'000'000);
  };
  const auto touch = [](std::byte* at, bool write) {
    auto* byte = reinterpret_cast<volatile char*>(at);
    if (write) {
      *byte = 1;
    } else {
      static_cast<void>(*byte);
    }
  };
  CHECK(look().bytes == 0);
  for (int round = 0; round < 3; ++round) {
    // In each region behind what is committed, at the end of the segment, behind each kind of table and at its end.
    std::uint64_t touched = 0;
    for (std::uint32_t r = 0; r < memory->ring_count(); ++r) {
      const lib::RingPlan& ring = plan.rings[r];
      for (std::uint32_t e = ring.extent_count - 5; e < ring.extent_count; ++e) {
        touch(data.data() + ring.region_offset + e * ring.extent_bytes, e % 2 == 0);
        ++touched;
      }
      touch(memory->view().base() + plan.magazines_offset +
                (std::uint64_t{ring.first_cell} + ring.cell_capacity - 1) *
                    sizeof(lib::SharedMagazine),
            false);
      touch(memory->view().base() + plan.slots_offset +
                (ring.first_slot + ring.slot_capacity - 1) * sizeof(lib::SharedSlotWords),
            true);
      touched += 2;
    }
    touch(data.data() + plan.arena_bytes[0] - 1, false);
    touch(memory->view().base() + plan.segment_bytes - 1, true);
    touched += 2;
    memory->grow(static_cast<std::uint32_t>(round), 3000 >> (4 * round));
    const StrayReport report = look();
    CHECK(report.searching);  // while the commit thread is at work nothing is certain
    machine.commits.finish();
    std::uint64_t punched = report.punched_bytes;
    for (int again = 0; again < 5; ++again) punched += look().punched_bytes;
    CHECK(look().bytes == 0);
    CHECK_FALSE(look().searching);
    CHECK(punched <= touched * memory->plan().page_bytes_of(0));
    machine.check_books(*memory);  // every page, and no more
    check_idle_rings(*memory);
  }
}

TEST_CASE("a search for strays goes on where its time was up") {
  Machine machine(std::uint64_t{8} << 30);
  std::string why;
  PoolConfig config = straddling();
  config.limit_bytes = std::uint64_t{7} << 30;
  const auto memory = machine.pool(config, why);
  REQUIRE_MESSAGE(memory, why);
  const std::uint64_t bytes = memory->plan().arena_bytes[0];
  const lib::Mapping data = lib::map_segment(memory->data_fd(0), bytes, lib::kGiantPage, why);
  REQUIRE_MESSAGE(data, why);
  *reinterpret_cast<volatile char*>(data.data() + bytes - 1) = 1;
  int looks = 0;
  StrayReport report;
  do {
    report = memory->punch_strays(monotonic_ns(), 0);  // one piece a look
    ++looks;
  } while (report.searching && looks < 1000);
  CHECK(looks >= 7);
  CHECK(report.punched_bytes == memory->plan().page_bytes_of(0));
  CHECK(report.where.size() == 1);
  machine.check_books(*memory);
}
