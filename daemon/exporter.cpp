#include "daemon/exporter.hpp"

#include <chrono>
#include <iterator>
#include <map>
#include <utility>

#include <prometheus/text_serializer.h>

#include "daemon/build_info.hpp"
#include "daemon/metric_pools.hpp"
#include "daemon/metric_sheet.hpp"
#include "daemon/open_metrics.hpp"
#include "daemon/process_metrics.hpp"
#include "daemon/statistics_words.hpp"
#include "zeropool/lib/error_code.hpp"

namespace zeropool::daemon {
namespace {

// There from the start, so that the first one is seen as an increase.
constexpr lib::ErrorCode kExpectedRejections[] = {
    lib::ErrorCode::access_denied, lib::ErrorCode::no_such_pool, lib::ErrorCode::too_many_clients,
    lib::ErrorCode::version_mismatch, lib::ErrorCode::protocol};

void add_rejections(MetricSheet& sheet, const DaemonStatistics& statistics) {
  MetricSheet::Family family =
      sheet.counter("rejections_total", "Attaches refused, by the error that the client got.");
  std::map<std::string, std::uint64_t> rejections = statistics.rejections;
  for (const lib::ErrorCode code : kExpectedRejections)
    rejections.try_emplace(lib::error_name(code), 0);
  for (const auto& [reason, count] : rejections) family.set({{"reason", reason}}, count);
}

}  // namespace

std::vector<prometheus::MetricFamily> metric_families(const DaemonStatistics& statistics) {
  MetricSheet sheet;
  sheet.gauge("build_info", "1; what the daemon was built from, as labels.")
      .set({{"version", std::string(build_info::version)},
            {"revision", std::string(build_info::revision)},
            {"compiler", std::string(build_info::compiler)}},
           1.0);
  sheet.gauge("budget_bytes", "Hard cap on what the daemon commits: all pools, metadata included.")
      .set({}, statistics.budget_bytes);
  sheet.gauge("budget_committed_bytes", "What is committed of the budget, metadata included.")
      .set({}, statistics.committed_bytes);
  sheet
      .gauge(
          "budget_excess_bytes",
          "Committed above the budget since it was lowered; nothing grows until it is given back.")
      .set({}, statistics.release.excess_bytes);
  MetricSheet::Family pressure = sheet.counter(
      "pressure_events_total", "Times that the system was short of memory, by who said so.");
  for (std::size_t source = 0; source < kPressureSources; ++source) {
    pressure.set({{"source", pressure_word(static_cast<PressureSource>(source))}},
                 statistics.release.pressure_events[source]);
  }
  sheet
      .gauge("config_last_reload_successful",
             "1 if the last reload was applied, 0 if it was refused.")
      .set({}, statistics.last_reload_successful ? 1.0 : 0.0);
  sheet
      .gauge("config_last_reload_success_timestamp_seconds",
             "When a configuration was last applied, in seconds since 1970.")
      .set({}, statistics.last_reload_unix_seconds);
  add_rejections(sheet, statistics);
  add_pool_metrics(sheet, statistics.pools);
  add_client_metrics(sheet, statistics.pools, statistics.top_clients);
  add_ring_metrics(sheet, statistics.pools);
  return sheet.take();
}

StatisticsCollectable::StatisticsCollectable(std::function<DaemonStatistics()> source)
    : source_(std::move(source)) {}

std::vector<prometheus::MetricFamily> StatisticsCollectable::Collect() const {
  const auto begin = std::chrono::steady_clock::now();
  std::vector<prometheus::MetricFamily> families = metric_families(source_());
  std::vector<prometheus::MetricFamily> process = process_metric_families();
  std::move(process.begin(), process.end(), std::back_inserter(families));
  MetricSheet sheet;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  sheet.gauge("scrape_duration_seconds", "How long this scrape took to collect, in seconds.")
      .set({}, took.count());
  families.push_back(std::move(sheet.take().front()));
  return families;
}

std::string metrics_text(const prometheus::Collectable& collectable, MetricsFormat format) {
  if (format == MetricsFormat::kOpenMetrics) return open_metrics_text(collectable.Collect());
  return prometheus::TextSerializer().Serialize(collectable.Collect());
}

}  // namespace zeropool::daemon
