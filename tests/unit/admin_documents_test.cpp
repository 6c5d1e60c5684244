#include <memory>
#include <string>

#include <doctest/doctest.h>

#include "daemon/admin_json.hpp"
#include "daemon/daemon_health.hpp"
#include "daemon/status_page.hpp"
#include "tests/unit/statistics_example.hpp"

namespace zeropool::daemon {
namespace {

using nlohmann::json;
using test::example_statistics;

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

constexpr AdminClock kClock = {.unix_seconds = 1'700'003'600, .monotonic_ns = 90'000'000'000};

}  // namespace

TEST_CASE("the status document says how long, how much, and that all is well") {
  const json document = json::parse(document_text(status_document(example_statistics(), kClock)));
  CHECK(document["uptime_seconds"] == 3600);
  CHECK(document["budget_bytes"] == 8ULL << 30);
  CHECK(document["healthy"] == true);
  CHECK(document["problems"].empty());
  CHECK(document["pools"].size() == 2);
  CHECK(document["pools"][0]["name"] == "frames");
}

TEST_CASE("what is not well is a sentence") {
  DaemonStatistics statistics = example_statistics();
  statistics.pools[0].orders_waiting = 1;
  statistics.pools[1].clients[0].suspect = true;
  statistics.last_reload_successful = false;
  statistics.state = "stopping";
  const std::vector<std::string> problems = health_problems(statistics);
  REQUIRE(problems.size() == 4);
  CHECK(has(problems[2], "pool frames: 1 order waits"));
  CHECK(status_document(statistics, kClock)["healthy"] == false);
}

TEST_CASE("the pools document has the gets of a ring as the sum of their outcomes") {
  const json ring = pools_document(example_statistics())["pools"][0]["rings"][1];
  std::uint64_t sum = ring["tls_hits"].get<std::uint64_t>() +
                      ring["shared_hits"].get<std::uint64_t>() +
                      ring["allocations"].get<std::uint64_t>();
  for (const auto& failed : ring["failures"]) sum += failed.get<std::uint64_t>();
  CHECK(ring["gets"] == sum);
  CHECK(ring["class"] == "64KiB");
  CHECK(ring["slots"]["held"] == 12);
}

TEST_CASE("the clients document joins clients and what they hold") {
  DaemonStatistics statistics = example_statistics();
  statistics.pools[0].clients[0].attached_ns = 30'000'000'000;
  const json document = clients_document(statistics,
                                         {{{.id = 7,
                                            .held_bytes = 4096,
                                            .cached_bytes = 8192,
                                            .in_transit_bytes = 1,
                                            .shared_bytes = 65536}}},
                                         kClock);
  REQUIRE(document["clients"].size() == 2);
  CHECK(document["clients"][0]["held_bytes"] == 4096);
  CHECK(document["clients"][0]["cached_bytes"] == 8192);
  CHECK(document["clients"][0]["shared_bytes"] == 65536);
  CHECK(document["clients"][0]["attached_seconds"] == 60);
  CHECK(document["clients"][1]["held_bytes"] == 0);
}

TEST_CASE("a client's name that is no UTF-8 makes a readable document all the same") {
  DaemonStatistics statistics = example_statistics();
  statistics.pools[0].clients[0].name = "\xff\xfe\x1b[2J";
  const std::string text = document_text(clients_document(statistics, {}, kClock));
  CHECK_FALSE(json::parse(text, nullptr, false).is_discarded());
  CHECK_FALSE(has(text, "\x1b"));
}

TEST_CASE("an audit is clean when every ring is, and its sum is theirs") {
  AuditedRing good;
  good.pool = "frames";
  good.class_bytes = 65536;
  good.report.slots = 10;
  good.report.free = 10;
  AuditedRing bad = good;
  bad.report.free = 9;
  bad.report.lost = 1;
  CHECK(audit_document({good, good})["clean"] == true);
  const json document = audit_document({good, bad});
  CHECK(document["clean"] == false);
  CHECK(document["sum"]["slots"] == 20);
  CHECK(document["sum"]["lost"] == 1);
  CHECK(document["rings"][0]["clean"] == true);
  CHECK(document["rings"][1]["clean"] == false);
}

TEST_CASE("a trim says what each pool gave back, and all together") {
  const json document =
      trim_document({{"frames", {2, 4096}, {3, 4, 5, 600}}, {"audio", {1, 100}, {}}});
  CHECK(document["extents"] == 3);
  CHECK(document["bytes"] == 4196);
  CHECK(document["pools"][1]["name"] == "audio");
  CHECK(document["taken_threads"] == 3);
  CHECK(document["taken_bytes"] == 600);
  CHECK(document["pools"][1]["taken_bytes"] == 0);
}

TEST_CASE("the status page shows hostile names as text") {
  DaemonStatistics statistics = example_statistics();
  statistics.pools[0].name = "<script>alert('x')</script>&\"";
  statistics.pools[1].clients[0].name = "<!--zp:pools--><img src=x onerror=alert(1)>";
  const std::string page = status_page({statistics, nullptr, kClock, "<b>host"});
  CHECK_FALSE(has(page, "<script>alert"));
  CHECK_FALSE(has(page, "<img"));
  CHECK_FALSE(has(page, "<b>"));
  CHECK_FALSE(has(page, "<!--"));
  CHECK(has(page, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;"));
  CHECK(has(page, "All is well."));
  // Nothing from elsewhere: the one address is a name of SVG's.
  CHECK_FALSE(has(page, "https://"));
  CHECK(page.find("http://") == page.find("http://www.w3.org/2000/svg"));
  CHECK(page.find("http://", page.find("http://") + 1) == std::string::npos);
}

TEST_CASE("every warning says what is wrong and what to do, and notes leave all well") {
  DaemonStatistics statistics = example_statistics();
  CHECK(health_verdict(health_warnings(statistics)) == "All is well.");
  REQUIRE(health_warnings(statistics).size() == 2);  // pages fell back, in each pool
  CHECK(health_warnings(statistics)[0].code == "page_fallback");
  CHECK(health_warnings(statistics)[0].level == WarningLevel::kNote);
  statistics.committed_bytes = statistics.budget_bytes + 1;
  statistics.pools[0].orders_waiting = 2;
  statistics.pools[0].counters.audit.withheld = 1;
  statistics.pools[0].counters.audit.stray_bytes = 4096;
  statistics.pools[1].orphaned_puts = 1;
  statistics.pools[1].limit_bytes = 1 << 20;
  statistics.pools[1].arenas[0].misplaced_bytes = 2 << 20;
  const std::vector<Warning> warnings = health_warnings(statistics);
  CHECK(health_verdict(warnings) == "6 things are not well.");
  CHECK(warnings.size() == 9);
  bool notes = false;
  for (const Warning& warning : warnings) {
    CAPTURE(warning.code);
    CHECK_FALSE(warning.what.empty());
    CHECK_FALSE(warning.remedy.empty());
    notes = notes || warning.level == WarningLevel::kNote;
    CHECK((warning.level == WarningLevel::kNote) == notes);  // they come last
  }
  CHECK(health_problems(statistics).size() == 6);
  const json document = status_document(statistics, kClock);
  CHECK(document["warnings"].size() == 9);
  CHECK(document["verdict"] == "6 things are not well.");
}

TEST_CASE("the view's document is bounded, says what it leaves out, and has the largest") {
  DaemonStatistics statistics = example_statistics();
  auto occupancy = std::make_shared<Occupancy>();
  statistics.pools.assign(300, statistics.pools[0]);
  occupancy->pools.resize(300);
  for (std::size_t i = 0; i < 300; ++i) {
    PoolStatistics& pool = statistics.pools[i];
    pool.name = "pool" + std::to_string(i);
    pool.committed_bytes = i;
    pool.orders_waiting = 1;
    pool.clients.assign(20, pool.clients[0]);
    for (std::size_t c = 0; c < 20; ++c) {
      pool.clients[c].id = static_cast<std::uint32_t>(c + 1);
      pool.clients[c].name = std::string(100, 'x');
      occupancy->pools[i].clients.push_back(
          {.id = static_cast<std::uint32_t>(c + 1), .held_bytes = i * 100 + c});
    }
    RingMap map;
    map.extent_bytes = 2 << 20;
    map.extents = 48'000;
    map.extents_per_cell = 1000;
    map.cells.assign(RingMap::kMapCells, {.published = 1000});
    occupancy->pools[i].rings.assign(4, map);
  }
  const json document = status_view_document({statistics, occupancy, kClock, "host"});
  CHECK(document_text(document).size() < 500'000);
  CHECK(document["pools"].size() == StatusRows::kPools);
  CHECK(document["pools_left_out"] == 300 - StatusRows::kPools);
  CHECK(document["pools"][0]["name"] == "pool299");
  CHECK(document["warnings"].size() + document["warnings_left_out"].get<std::size_t>() ==
        health_warnings(statistics).size());
  CHECK(document["clients"].size() == StatusRows::kClients);
  CHECK(document["clients"][0]["held_bytes"] == 299 * 100 + 19);
  CHECK(document["clients_left_out"] == 300 * 20 - StatusRows::kClients);
  CHECK(document["maps"].size() == StatusRows::kMaps);
  CHECK(document["classes"].size() == StatusRows::kClasses);
  CHECK(document["totals"]["clients"] == 6000);
}

TEST_CASE("a cell of the map says what most of its committed extents are") {
  DaemonStatistics statistics = example_statistics();
  auto occupancy = std::make_shared<Occupancy>();
  occupancy->pools.resize(2);
  RingMap map;
  map.extent_bytes = 1000;
  map.extents = 8;
  map.extents_per_cell = 2;
  map.cells = {{.published = 2, .cold_bytes = 900},
               {.published = 2, .cold_bytes = 1000},
               {.changing = 1},
               {}};
  occupancy->pools[0].rings = {map};
  const json document = status_view_document({statistics, occupancy, kClock, ""});
  REQUIRE(document["maps"].size() == 1);
  CHECK(document["maps"][0]["cells"] == "hc~.");
  CHECK(document["maps"][0]["committed_bytes"] == 4000);
  CHECK(document["maps"][0]["cold_bytes"] == 1900);
}

}  // namespace zeropool::daemon
