#include "daemon/exporter.hpp"

#include <map>
#include <string>

#include <doctest/doctest.h>
#include <prometheus/text_serializer.h>

#include "tests/unit/prometheus_text.hpp"
#include "tests/unit/statistics_example.hpp"

namespace zeropool::daemon {
namespace {

using test::example_statistics;
using test::MetricsDocument;
using test::MetricsReader;
using Labels = std::map<std::string, std::string>;

MetricsDocument scrape(const DaemonStatistics& statistics) {
  return MetricsReader::read(prometheus::TextSerializer().Serialize(metric_families(statistics)));
}

}  // namespace

TEST_CASE("a scrape is read by a strict reader, every family once, with help and type") {
  const StatisticsCollectable collectable(example_statistics);
  const MetricsDocument document = MetricsReader::read(metrics_text(collectable));
  CHECK(document.types.size() == document.helps.size());
  const std::map<std::string, std::string> expected = {
      {"zeropool_budget_bytes", "gauge"},
      {"zeropool_committed_bytes", "gauge"},
      {"zeropool_pool_limit_bytes", "gauge"},
      {"zeropool_pool_reserved_bytes", "gauge"},
      {"zeropool_slots", "gauge"},
      {"zeropool_gets_total", "counter"},
      {"zeropool_puts_total", "counter"},
      {"zeropool_tls_hits_total", "counter"},
      {"zeropool_shared_hits_total", "counter"},
      {"zeropool_allocations_total", "counter"},
      {"zeropool_get_failures_total", "counter"},
      {"zeropool_remote_gets_total", "counter"},
      {"zeropool_contention_events_total", "counter"},
      {"zeropool_ring_claims_total", "counter"},
      {"zeropool_orders_total", "counter"},
      {"zeropool_order_wait_seconds", "histogram"},
      {"zeropool_orders_waiting", "gauge"},
      {"zeropool_rejections_total", "counter"},
      {"zeropool_handoffs_total", "counter"},
      {"zeropool_handoffs_expired_total", "counter"},
      {"zeropool_stale_handles_total", "counter"},
      {"zeropool_double_puts_total", "counter"},
      {"zeropool_reclaims_total", "counter"},
      {"zeropool_reclaimed_slots_total", "counter"},
      {"zeropool_reclaim_duration_seconds", "histogram"},
      {"zeropool_repairs_total", "counter"},
      {"zeropool_steals_total", "counter"},
      {"zeropool_stolen_bytes_total", "counter"},
      {"zeropool_trims_total", "counter"},
      {"zeropool_trimmed_bytes_total", "counter"},
      {"zeropool_page_fallbacks_total", "counter"},
      {"zeropool_clients", "gauge"},
      {"zeropool_threads", "gauge"},
      {"zeropool_scrape_duration_seconds", "gauge"},
      {"zeropool_config_last_reload_successful", "gauge"},
      {"zeropool_config_last_reload_success_timestamp_seconds", "gauge"},
      {"zeropool_build_info", "gauge"},
      {"process_cpu_seconds_total", "counter"},
      {"process_open_fds", "gauge"},
      {"process_resident_memory_bytes", "gauge"},
      {"process_start_time_seconds", "gauge"},
      {"process_virtual_memory_bytes", "gauge"},
  };
  for (const auto& [name, type] : expected) {
    CAPTURE(name);
    REQUIRE(document.types.count(name) == 1);
    CHECK(document.types.at(name) == type);
  }
}

TEST_CASE("gets are the sum of hits, allocations and failures, exactly, in every series") {
  const MetricsDocument document = scrape(example_statistics());
  int series = 0;
  for (const test::MetricSample& sample : document.samples) {
    if (sample.name != "zeropool_gets_total") continue;
    ++series;
    const double sum = document.sum("zeropool_tls_hits_total", sample.labels) +
                       document.sum("zeropool_shared_hits_total", sample.labels) +
                       document.sum("zeropool_allocations_total", sample.labels) +
                       document.sum("zeropool_get_failures_total", sample.labels);
    CHECK(sample.value == sum);
  }
  CHECK(series == 8);
}

TEST_CASE("slots by state sum to what is published") {
  const MetricsDocument document = scrape(example_statistics());
  CHECK(document.sum("zeropool_slots", {{"pool", "frames"}, {"node", "1"}, {"class", "64KiB"}}) ==
        152);
  CHECK(document.sum("zeropool_slots", {{"state", "cold"}}) == 8 * 20);
}

TEST_CASE("labels name pool, node, class, page size and reason") {
  const MetricsDocument document = scrape(example_statistics());
  CHECK(document.sum("zeropool_committed_bytes",
                     {{"pool", "audio"}, {"node", "1"}, {"page_size", "thp"}}) == 2.0 * (1 << 30));
  CHECK(document.sum("zeropool_puts_total", {{"class", "4160B"}, {"node", "0"}}) == 2 * 1'050'000);
  CHECK(document.sum("zeropool_get_failures_total",
                     {{"pool", "frames"}, {"reason", "timed_out"}, {"class", "64KiB"}}) == 8);
  CHECK(document.sum("zeropool_page_fallbacks_total",
                     {{"pool", "frames"}, {"from", "2MiB"}, {"to", "thp"}}) == 3);
  CHECK(document.sum("zeropool_rejections_total", {{"reason", "access_denied"}}) == 9);
  CHECK(document.sum("zeropool_orders_total", {{"pool", "frames"}}) == 8);
  CHECK(document.sum("zeropool_build_info") == 1);
}

TEST_CASE("histogram buckets are cumulative, end at +Inf, and agree with the count") {
  const MetricsDocument document = scrape(example_statistics());
  const Labels frames = {{"pool", "frames"}};
  double last = 0;
  bool infinite = false;
  for (const test::MetricSample& sample : document.samples) {
    if (sample.name != "zeropool_order_wait_seconds_bucket") continue;
    if (sample.labels.at("pool") != "frames") continue;
    CHECK(sample.value >= last);
    last = sample.value;
    infinite = sample.labels.at("le") == "+Inf";
  }
  CHECK(infinite);
  CHECK(last == 3);
  CHECK(document.sum("zeropool_order_wait_seconds_count", frames) == 3);
  CHECK(document.sum("zeropool_order_wait_seconds_sum", frames) == doctest::Approx(60.7002));
}

TEST_CASE("hostile names stay inside their label") {
  DaemonStatistics statistics = example_statistics();
  const std::string hostile = "a\"} 1\nzeropool_evil_total 9 \\ # {}";
  statistics.pools[0].name = hostile;
  statistics.rejections["x\"\n"] = 1;
  const MetricsDocument document = scrape(statistics);
  CHECK(document.sum("zeropool_threads", {{"pool", hostile}}) == 12);
  CHECK(document.types.count("zeropool_evil_total") == 0);
}

TEST_CASE("a daemon without pools is scraped too") {
  DaemonStatistics statistics;
  statistics.state = "starting";
  const MetricsDocument document = scrape(statistics);
  CHECK(document.types.count("zeropool_budget_bytes") == 1);
  CHECK(document.types.count("zeropool_gets_total") == 0);
}

}  // namespace zeropool::daemon
