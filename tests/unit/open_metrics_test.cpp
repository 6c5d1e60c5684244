#include "daemon/open_metrics.hpp"

#include <limits>
#include <string>

#include <doctest/doctest.h>

#include "daemon/exporter.hpp"
#include "daemon/metric_sheet.hpp"
#include "tests/unit/prometheus_text.hpp"
#include "tests/unit/statistics_example.hpp"

namespace zeropool::daemon {

TEST_CASE("each type is written as OpenMetrics 1.0 wants it") {
  MetricSheet sheet;
  sheet.counter("gets_total", "Gets.").set({{"pool", "a"}}, std::uint64_t{9'007'199'254'740'991});
  sheet.gauge("budget_bytes", "A \"cap\",\nin \\ bytes.").set({}, 0.5);
  Histogram histogram;
  histogram.observe(0.00001);
  histogram.observe(0.7);
  histogram.observe(60);
  sheet.histogram("order_wait_seconds", "Waits.").set({{"pool", "a\"\n\\"}}, histogram);
  CHECK(open_metrics_text(sheet.take()) ==
        "# TYPE zeropool_gets counter\n"
        "# HELP zeropool_gets Gets.\n"
        "zeropool_gets_total{pool=\"a\"} 9007199254740991\n"
        "# TYPE zeropool_budget_bytes gauge\n"
        "# UNIT zeropool_budget_bytes bytes\n"
        "# HELP zeropool_budget_bytes A \\\"cap\\\",\\nin \\\\ bytes.\n"
        "zeropool_budget_bytes 0.5\n"
        "# TYPE zeropool_order_wait_seconds histogram\n"
        "# UNIT zeropool_order_wait_seconds seconds\n"
        "# HELP zeropool_order_wait_seconds Waits.\n"
        "zeropool_order_wait_seconds_bucket{pool=\"a\\\"\\n\\\\\",le=\"1e-05\"} 1\n"
        "zeropool_order_wait_seconds_bucket{pool=\"a\\\"\\n\\\\\",le=\"5e-05\"} 1\n"
        "zeropool_order_wait_seconds_bucket{pool=\"a\\\"\\n\\\\\",le=\"0.0001\"} 1\n"
        "zeropool_order_wait_seconds_bucket{pool=\"a\\\"\\n\\\\\",le=\"0.0005\"} 1\n"
        "zeropool_order_wait_seconds_bucket{pool=\"a\\\"\\n\\\\\",le=\"0.001\"} 1\n"
        "zeropool_order_wait_seconds_bucket{pool=\"a\\\"\\n\\\\\",le=\"0.005\"} 1\n"
        "zeropool_order_wait_seconds_bucket{pool=\"a\\\"\\n\\\\\",le=\"0.01\"} 1\n"
        "zeropool_order_wait_seconds_bucket{pool=\"a\\\"\\n\\\\\",le=\"0.05\"} 1\n"
        "zeropool_order_wait_seconds_bucket{pool=\"a\\\"\\n\\\\\",le=\"0.1\"} 1\n"
        "zeropool_order_wait_seconds_bucket{pool=\"a\\\"\\n\\\\\",le=\"0.5\"} 1\n"
        "zeropool_order_wait_seconds_bucket{pool=\"a\\\"\\n\\\\\",le=\"1.0\"} 2\n"
        "zeropool_order_wait_seconds_bucket{pool=\"a\\\"\\n\\\\\",le=\"5.0\"} 2\n"
        "zeropool_order_wait_seconds_bucket{pool=\"a\\\"\\n\\\\\",le=\"+Inf\"} 3\n"
        "zeropool_order_wait_seconds_count{pool=\"a\\\"\\n\\\\\"} 3\n"
        "zeropool_order_wait_seconds_sum{pool=\"a\\\"\\n\\\\\"} 60.70001\n"
        "# EOF\n");
  CHECK(open_metrics_text({}) == "# EOF\n");
}

TEST_CASE("both formats carry the same samples") {
  const auto families = metric_families(test::example_statistics());
  const StatisticsCollectable collectable(test::example_statistics);
  std::string open = open_metrics_text(families);
  const std::string text = metrics_text(collectable, MetricsFormat::kText);
  REQUIRE(open.size() > 6);
  CHECK(open.substr(open.size() - 6) == "# EOF\n");
  std::size_t samples = 0;
  std::size_t begin = 0;
  for (std::size_t end; (end = open.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const std::string line = open.substr(begin, end - begin);
    if (line.starts_with("#") || line.find("le=\"") != std::string::npos) continue;
    ++samples;
    const std::string series = line.substr(0, line.rfind(' '));
    CHECK_MESSAGE(text.find("\n" + series + " ") != std::string::npos, series);
  }
  CHECK(samples > 200);
}

}  // namespace zeropool::daemon
