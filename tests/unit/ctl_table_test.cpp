#include <algorithm>
#include <string>

#include <doctest/doctest.h>

#include "ctl/render.hpp"
#include "ctl/table.hpp"
#include "daemon/admin_json.hpp"
#include "tests/unit/statistics_example.hpp"

// zeropoolctl is a program and no library: what is tested is compiled in here.
#include "ctl/render_audit.cpp"    // NOLINT(bugprone-suspicious-include)
#include "ctl/render_clients.cpp"  // NOLINT(bugprone-suspicious-include)
#include "ctl/render_pools.cpp"    // NOLINT(bugprone-suspicious-include)
#include "ctl/render_status.cpp"   // NOLINT(bugprone-suspicious-include)
#include "ctl/render_values.cpp"   // NOLINT(bugprone-suspicious-include)
#include "ctl/table.cpp"           // NOLINT(bugprone-suspicious-include)

namespace zeropool::ctl {
namespace {

using nlohmann::json;

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

json example_status() {
  return json::parse(daemon::document_text(
      daemon::status_document(test::example_statistics(), {.unix_seconds = 1'700'000'090})));
}

}  // namespace

TEST_CASE("columns are aligned, and lines have no trailing blanks") {
  Table table({{"NAME", Align::kLeft}, {"SIZE"}, {"NOTE", Align::kLeft}});
  table.add({"a", "12 B", ""});
  table.add({"größer", "1", "x"});
  CHECK(table.text() ==
        "NAME    SIZE  NOTE\n"
        "a       12 B\n"
        "größer     1  x\n");
}

TEST_CASE("a table bears rows of another width and control characters") {
  Table table({{"A", Align::kLeft}, {"B"}});
  table.add({"\x1b[31m\n"});
  table.add({"1", "2", "3"});
  CHECK(table.text() ==
        "A       B\n"
        "?[31m?\n"
        "1       2\n");
  CHECK(printable("a\xc2\x9b"
                  "31m\x7f") == "a?31m?");
}

TEST_CASE("numbers are as people read them") {
  CHECK(human_size(0) == "0 B");
  CHECK(human_size(1610612736) == "1.50 GiB");
  CHECK(human_duration(59) == "59 s");
  CHECK(human_duration(61) == "1 min");
  CHECK(human_duration(5 * 3600 + 12 * 60) == "5 h 12 min");
  CHECK(human_duration(51 * 3600) == "2 d 3 h");
  CHECK(human_count(999) == "999");
  CHECK(human_count(1234567) == "1,234,567");
  CHECK(human_percent(0.99314) == "99.31%");
}

TEST_CASE("status begins with a plain sentence of health, and what to do") {
  json document = example_status();
  document["warnings"] = json::array();
  const std::string well = render_status(document);
  CHECK(well.starts_with("All is well.\n\n"));
  CHECK(has(well, "is running, up 1 min"));
  CHECK(has(well, "6.00 GiB of a budget of 8.00 GiB committed (75%)"));
  daemon::DaemonStatistics statistics = test::example_statistics();
  statistics.pools[0].name = "frames\x1b";
  statistics.pools[0].orders_waiting = 1;
  const std::string ill = render_status(json::parse(
      daemon::document_text(daemon::status_document(statistics, {.unix_seconds = 1'700'000'090}))));
  CHECK(ill.starts_with("1 thing is not well.\n  - pool frames?: 1 order waits for memory"));
  CHECK(has(ill, "\n      raise its limit or the budget"));
  CHECK(has(ill, "\nnote: pool frames?: pages of thp in place of 2MiB"));
}

TEST_CASE("status fits a screen, however many pools and warnings there are") {
  daemon::DaemonStatistics statistics = test::example_statistics();
  statistics.pools.assign(100, statistics.pools[0]);
  for (std::size_t i = 0; i < 100; ++i) {
    statistics.pools[i].name = "pool" + std::to_string(i);
    statistics.pools[i].orders_waiting = i;
  }
  const std::string text = render_status(
      json::parse(daemon::document_text(daemon::status_document(statistics, {.unix_seconds = 1}))));
  CHECK(std::count(text.begin(), text.end(), '\n') <= 24);
  CHECK(has(text, "pool99"));
  CHECK(has(text, "and 92 more pools: zeropoolctl pools"));
  CHECK(has(text, "more warnings"));
}

TEST_CASE("pools, clients and audit are rendered from the daemon's documents") {
  const daemon::DaemonStatistics statistics = test::example_statistics();
  const std::string pools =
      render_pools(json::parse(daemon::document_text(daemon::pools_document(statistics))));
  CHECK(has(pools, "frames: 3.00 GiB of 6.00 GiB committed"));
  CHECK(has(pools, "64KiB"));
  const std::string clients = render_clients(json::parse(
      daemon::document_text(daemon::clients_document(statistics, {}, {.unix_seconds = 1}))));
  CHECK(has(clients, "4242"));
  daemon::AuditedRing ring;
  ring.pool = "frames";
  ring.report.lost = 3;
  CHECK(has(render_audit(daemon::audit_document({ring})), "not clean: a client has damaged"));
  ring.in_motion = true;
  CHECK(has(render_audit(daemon::audit_document({ring})), "run it again"));
  CHECK(has(render_audit(daemon::audit_document({})), "clean: every slot"));
}

TEST_CASE("a document of another version is rendered as far as it is understood") {
  for (const char* text : {"{}", "[]", "null", "{\"pools\":[1,{\"rings\":[null]}],\"clients\":{}}",
                           "{\"pools\":{},\"committed_bytes\":-1,\"healthy\":\"yes\"}"}) {
    const json document = json::parse(text);
    CHECK_FALSE(render_status(document).empty());
    CHECK_FALSE(render_pools(document).empty());
    CHECK_FALSE(render_clients(document).empty());
    CHECK_FALSE(render_audit(document).empty());
  }
}

}  // namespace zeropool::ctl
