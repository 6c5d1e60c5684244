#include "daemon/ledger.hpp"

#include <cstring>
#include <fcntl.h>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace zeropool;
using namespace zeropool::daemon;

namespace {

lib::PoolShape small_shape() {
  lib::PoolShape shape;
  shape.name = "frames";
  shape.class_bytes = {4096, 65536};
  shape.arenas = {{0, lib::PageKind::kSmall4KiB}, {3, lib::PageKind::kHuge2MiB}};
  shape.region_bytes = std::uint64_t{64} << 20;
  shape.thread_capacity = 16;
  shape.order_capacity = 100;
  return shape;
}

LedgerClient client(std::uint32_t id) {
  LedgerClient entry{};
  entry.id = id;
  entry.pid = 100 + static_cast<std::int32_t>(id);
  return entry;
}

}  // namespace

TEST_CASE("the ledger's bytes are the budget's, and go back") {
  Budget budget(std::uint64_t{8} << 20);
  std::string why;
  {
    const auto ledger = Ledger::create(budget, 16, why);
    REQUIRE(ledger);
    CHECK(budget.committed() == lib::segment_occupied_bytes(ledger->fd()));
    CHECK(ledger->header().magic == kLedgerMagic);
  }
  CHECK(budget.committed() == 0);
  Budget none(4096);
  CHECK_FALSE(Ledger::create(none, 16, why));
  CHECK(why.find("budget") != std::string::npos);
}

TEST_CASE("client ids only grow, wrap into the next epoch, and never name two clients") {
  Budget budget(std::uint64_t{64} << 20);
  std::string why;
  const auto ledger = Ledger::create(budget, 16, why);
  REQUIRE(ledger);
  std::uint32_t epoch = 9;
  CHECK(ledger->allocate_client_id(epoch) == 1);
  CHECK(epoch == 0);
  REQUIRE(ledger->add_client(client(1)));
  CHECK(ledger->allocate_client_id(epoch) == 2);
  REQUIRE(ledger->add_client(client(2)));
  CHECK(ledger->allocate_client_id(epoch) == 3);
  std::uint32_t id = 3;
  while (id != lib::kMaxClientId) {
    const std::uint32_t next = ledger->allocate_client_id(epoch);
    if (next != id + 1) FAIL("ids are skipped");
    id = next;
  }
  CHECK(epoch == 0);
  CHECK(ledger->allocate_client_id(epoch) == 3);  // 1 and 2 are in use
  CHECK(epoch == 1);
}

TEST_CASE("the client table takes each id once, and as many as it has room for") {
  Budget budget(std::uint64_t{64} << 20);
  std::string why;
  const auto ledger = Ledger::create(budget, 3, why);
  REQUIRE(ledger);
  CHECK_FALSE(ledger->add_client(client(0)));
  CHECK(ledger->add_client(client(5)));
  CHECK_FALSE(ledger->add_client(client(5)));
  CHECK(ledger->add_client(client(6)));
  CHECK(ledger->add_client(client(7)));
  CHECK_FALSE(ledger->add_client(client(8)));
  CHECK(ledger->header().client_count.load() == 3);
  CHECK(ledger->remove_client(6));
  CHECK_FALSE(ledger->remove_client(6));
  CHECK(ledger->add_client(client(8)));
  CHECK(ledger->clients()[1].pid == 108);
}

TEST_CASE("a pool's shape comes back as it was laid out, and so do the states of its extents") {
  Budget budget(std::uint64_t{64} << 20);
  std::string why;
  const auto ledger = Ledger::create(budget, 16, why);
  REQUIRE(ledger);
  lib::ControlPlan plan;
  REQUIRE(lib::plan_control_segment(small_shape(), plan).empty());
  const std::uint32_t pool = ledger->open_pool(plan, 77, why);
  REQUIRE(pool != lib::kNone);
  lib::ControlPlan again;
  REQUIRE(lib::plan_control_segment(ledger->shape(pool), again).empty());
  CHECK(again.segment_bytes == plan.segment_bytes);
  CHECK(again.arena_bytes == plan.arena_bytes);
  CHECK(again.rings.back().region_offset == plan.rings.back().region_offset);
  CHECK(ledger->find_pool("frames") == pool);
  CHECK(ledger->find_pool("other") == lib::kNone);

  const std::uint64_t first = Ledger::first_extent(plan, 3);
  ledger->set_extent(pool, first, ExtentState::kDraining);
  CHECK(ledger->extent(pool, first) == ExtentState::kDraining);
  CHECK(ledger->extent(pool, first - 1) == ExtentState::kAbsent);
  ledger->set_draining(pool, true);
  CHECK(ledger->pool(pool).draining.load() == 1);
  ledger->close_pool(pool);
  const std::uint64_t committed = budget.committed();
  CHECK(ledger->open_pool(plan, 78, why) == pool);  // its place is used again, clean
  CHECK(budget.committed() == committed);
  CHECK(ledger->extent(pool, first) == ExtentState::kAbsent);
  CHECK(ledger->pool(pool).draining.load() == 0);
}

namespace {

lib::UniqueFd copy_of(int fd) { return lib::UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

lib::ControlPlan small_plan() {
  lib::ControlPlan plan;
  REQUIRE(lib::plan_control_segment(small_shape(), plan) == "");
  return plan;
}

}  // namespace

TEST_CASE(
    "the next daemon finds clients, pools, extents and prefixes, charges the same, and gives out "
    "new ids") {
  Budget first(std::uint64_t{64} << 20);
  std::string why;
  const auto before = Ledger::create(first, 16, why);
  REQUIRE(before);
  std::uint32_t epoch = 0;
  const std::uint32_t id = before->allocate_client_id(epoch);
  REQUIRE(before->add_client(client(id)));
  const std::uint32_t gone = before->allocate_client_id(epoch);
  const std::uint32_t pool = before->open_pool(small_plan(), 4711, why);
  REQUIRE(pool != lib::kNone);
  before->set_extent(pool, 3, ExtentState::kDraining);
  before->set_prefix(pool, 7, 8192);

  // Killed: nothing of it runs, its memfd is kept.
  Budget second(std::uint64_t{64} << 20);
  const auto after = Ledger::adopt(second, copy_of(before->fd()), why);
  REQUIRE_MESSAGE(after, why);
  CHECK(second.committed() == first.committed());
  CHECK(after->find_pool("frames") == pool);
  CHECK(after->pool(pool).pool_tag == 4711);
  CHECK(after->shape(pool).class_bytes == small_shape().class_bytes);
  CHECK(after->extent(pool, 3) == ExtentState::kDraining);
  CHECK(after->prefix(pool, 7) == 8192);
  CHECK_FALSE(after->add_client(client(id)));
  CHECK(after->allocate_client_id(epoch) > gone);

  // A start that fails gives nothing up.
  after->close_pool(pool);
  CHECK(after->find_pool("frames") == pool);
  after->keep_pools(false);
  after->close_pool(pool);
  CHECK(after->find_pool("frames") == lib::kNone);
}

TEST_CASE("a ledger of another build is refused by name, and left as it was") {
  Budget budget(std::uint64_t{64} << 20);
  std::string why;
  const auto other = Ledger::create(budget, 16, why);
  REQUIRE(other);
  LedgerHeader& header = const_cast<LedgerHeader&>(other->header());
  const std::uint64_t occupied = lib::segment_occupied_bytes(other->fd());
  const std::uint64_t committed = budget.committed();
  for (int change = 0; change < 4; ++change) {
    const std::uint64_t hash = header.layout_hash;
    const std::uint64_t offset = header.states_offset;
    if (change == 0) header.version = kLedgerVersion + 1;
    if (change == 1) header.layout_hash ^= 1;
    if (change == 2) header.states_offset = ~std::uint64_t{0} / 2;
    if (change == 3) header.magic = 0;
    why.clear();
    CHECK_FALSE(Ledger::adopt(budget, copy_of(other->fd()), why));
    CHECK(!why.empty());
    if (change < 2) CHECK(why.find("Start that version again") != std::string::npos);
    header.version = kLedgerVersion;
    header.layout_hash = hash;
    header.states_offset = offset;
    header.magic = kLedgerMagic;
    CHECK(lib::segment_occupied_bytes(other->fd()) == occupied);
    CHECK(budget.committed() == committed);
  }
  CHECK_FALSE(Ledger::adopt(budget, lib::UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC)), why));
}

TEST_CASE("counters begin at 0, are found again by the next daemon, and are a pool's own") {
  Budget first(std::uint64_t{64} << 20);
  std::string why;
  const auto before = Ledger::create(first, 16, why);
  REQUIRE(before);
  lib::ControlPlan plan;
  REQUIRE(lib::plan_control_segment(small_shape(), plan) == "");
  const std::uint32_t pool = before->open_pool(plan, 7, why);
  const std::uint32_t other = before->open_pool(plan, 8, why);
  REQUIRE(pool != lib::kNone);
  REQUIRE(other != lib::kNone);
  const auto words = before->counters(pool);
  REQUIRE(words.size() == kPoolCounterWords + kRingCounterWords * plan.rings.size());
  for (std::size_t i = 0; i < words.size(); ++i) {
    CHECK(words[i].load() == 0);
    words[i].store(i + 1);
  }
  before->counters()[3].store(99);
  for (const auto& word : before->counters(other)) CHECK(word.load() == 0);
  // Beside them, nothing moved.
  for (std::uint32_t table = 0; table < kFixedPrefixes + 2 * plan.rings.size(); ++table) {
    CHECK(before->prefix(pool, table) == 0);
  }
  CHECK(before->extent(pool, 0) == ExtentState::kAbsent);
  CHECK(before->extent(other, 0) == ExtentState::kAbsent);

  Budget second(std::uint64_t{64} << 20);
  const auto after =
      Ledger::adopt(second, lib::UniqueFd(::fcntl(before->fd(), F_DUPFD_CLOEXEC, 0)), why);
  REQUIRE_MESSAGE(after, why);
  const auto found = after->counters(pool);
  REQUIRE(found.size() == words.size());
  for (std::size_t i = 0; i < found.size(); ++i) CHECK(found[i].load() == i + 1);
  CHECK(after->counters()[3].load() == 99);
}
