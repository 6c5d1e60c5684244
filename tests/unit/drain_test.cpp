#include "daemon/drain.hpp"

#include <chrono>
#include <string>

#include <doctest/doctest.h>

#include "ctl/drain.hpp"
#include "daemon/admin_json.hpp"
#include "daemon/daemon_health.hpp"
#include "tests/unit/statistics_example.hpp"

// zeropoolctl is a program and no library: what is tested is compiled in here.
#include "ctl/drain.cpp"  // NOLINT(bugprone-suspicious-include)

namespace zeropool::daemon {
namespace {

using namespace std::chrono_literals;
using test::example_statistics;

// A pool that nobody has anything of.
PoolStatistics empty_pool() {
  PoolStatistics pool;
  pool.name = "frames";
  pool.draining = true;
  pool.rings.resize(2);
  for (RingStatistics& ring : pool.rings) {
    ring.class_bytes = 4096;
    ring.published = ring.free = 10;
  }
  return pool;
}

}  // namespace

TEST_CASE("a pool is drained when no client is left and every buffer is home, and not before") {
  CHECK(drain_state(empty_pool()).drained());
  PoolStatistics pool = empty_pool();
  pool.draining = false;
  CHECK(drain_state(pool).empty());
  CHECK_FALSE(drain_state(pool).drained());
  pool = empty_pool();
  pool.clients.emplace_back();
  CHECK_FALSE(drain_state(pool).drained());
  for (std::uint64_t RingStatistics::*part :
       {&RingStatistics::held, &RingStatistics::cached, &RingStatistics::in_transit,
        &RingStatistics::shared}) {
    pool = empty_pool();
    pool.rings[1].*part = 1;
    CHECK_FALSE(drain_state(pool).drained());
  }
  // Those with the daemon are home.
  pool = empty_pool();
  pool.rings[0].cold = pool.rings[0].quarantined = 1;
  CHECK(drain_state(pool).drained());
}

TEST_CASE("all of several pools are drained only when each is") {
  DrainState drained = drain_state(empty_pool());
  DrainState busy = drained;
  busy.clients = 2;
  CHECK(drain_document({drained})["drained"] == true);
  const nlohmann::json both = drain_document({drained, busy});
  CHECK(both["drained"] == false);
  CHECK(both["pools"][0]["drained"] == true);
  CHECK(both["pools"][1]["clients"] == 2);
  const std::string text = ctl::render_drain(both);
  CHECK(text.find("drained") != std::string::npos);
  CHECK(text.find("draining") != std::string::npos);
}

TEST_CASE("a drain that goes on is a warning with the command that ends it") {
  DaemonStatistics statistics = example_statistics();
  CHECK(health_problems(statistics).empty());
  statistics.pools[1].draining = true;
  const std::vector<std::string> problems = health_problems(statistics);
  REQUIRE(problems.size() == 1);
  CHECK(problems[0].find("pool audio: it is being drained") == 0);
  CHECK(problems[0].find("zeropoolctl drain --stop audio") != std::string::npos);
  CHECK(status_document(statistics, {})["pools"][1]["draining"] == true);
}

TEST_CASE("durations are whole numbers with a unit") {
  using ctl::read_duration;
  CHECK(read_duration("500ms") == 500ms);
  CHECK(read_duration("0s") == 0ms);
  CHECK(read_duration("30s") == 30s);
  CHECK(read_duration("5m") == 5min);
  CHECK(read_duration("2h") == 2h);
  for (const char* wrong : {"", "s", "5", "5 s", " 5s", "5sec", "1.5s", "-1s", "0x5s", "5d",
                            "9999999h", "99999999999999999999ms"}) {
    CAPTURE(wrong);
    CHECK_FALSE(read_duration(wrong).has_value());
  }
}

}  // namespace zeropool::daemon
