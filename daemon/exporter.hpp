#pragma once
// DaemonStatistics as Prometheus metrics: their names, labels and types are an interface.
//
// Invariants:
//   X1  gets_total = tls_hits_total + shared_hits_total + allocations_total +
//       sum(get_failures_total) in every scrape: gets_total is that sum, taken from the same
//       copies.
//   X2  slots of a (pool, node, class) sum over `state` to what is published.
// Thread safety: metric_families is a function of its argument; a StatisticsCollectable is as safe
// as its source.

#include <functional>
#include <string>
#include <vector>

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include "daemon/http_accept.hpp"
#include "daemon/statistics.hpp"

namespace zeropool::daemon {

// Everything that `statistics` holds, and build_info.
std::vector<prometheus::MetricFamily> metric_families(const DaemonStatistics& statistics);

// Asks `source` at each scrape; adds process_* and how long the scrape took.
class StatisticsCollectable : public prometheus::Collectable {
 public:
  explicit StatisticsCollectable(std::function<DaemonStatistics()> source);
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  std::function<DaemonStatistics()> source_;
};

// One scrape, as the text format 0.0.4 or OpenMetrics 1.0.
std::string metrics_text(const prometheus::Collectable& collectable,
                         MetricsFormat format = MetricsFormat::kText);

}  // namespace zeropool::daemon
