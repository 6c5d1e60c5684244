#include "daemon/metric_sheet.hpp"

#include <limits>

namespace zeropool::daemon {

void MetricSheet::Family::set(MetricLabels labels, const Histogram& histogram) {
  prometheus::ClientMetric& metric = family_.metric.emplace_back();
  metric.label = std::move(labels);
  std::uint64_t cumulative = 0;
  for (std::size_t i = 0; i < histogram.buckets.size(); ++i) {
    cumulative += histogram.buckets[i];
    const double bound = i < Histogram::kBounds.size() ? Histogram::kBounds[i]
                                                       : std::numeric_limits<double>::infinity();
    metric.histogram.bucket.push_back({cumulative, bound});
  }
  metric.histogram.sample_count = cumulative;
  metric.histogram.sample_sum = histogram.sum_seconds;
}

MetricSheet::Family MetricSheet::family(const char* name, const char* help,
                                        prometheus::MetricType type) {
  prometheus::MetricFamily& family = families_.emplace_back();
  family.name = std::string("zeropool_") + name;
  family.help = help;
  family.type = type;
  return Family(family);
}

std::vector<prometheus::MetricFamily> MetricSheet::take() {
  std::vector<prometheus::MetricFamily> families;
  families.reserve(families_.size());
  for (prometheus::MetricFamily& family : families_) {
    if (!family.metric.empty()) families.push_back(std::move(family));
  }
  families_.clear();
  return families;
}

}  // namespace zeropool::daemon
