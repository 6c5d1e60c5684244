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
  const std::string page = status_page(statistics);
  CHECK_FALSE(has(page, "<script"));
  CHECK(has(page, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;"));
  CHECK(has(page, "All is well."));
  CHECK_FALSE(has(page, "http://"));
}

}  // namespace zeropool::daemon
