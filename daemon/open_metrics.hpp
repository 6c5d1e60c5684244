#pragma once
// Metric families as OpenMetrics 1.0 text: what prometheus-cpp's serializer does not write.
//
// Thread safety: a function of its argument.
// Source: the OpenMetrics specification 1.0. Counters are named with _total in the families and described without;
// a name that ends in _bytes or _seconds has that unit; numbers are in their shortest form, `le` with a fraction.

#include <string>
#include <vector>

#include <prometheus/metric_family.h>

namespace zeropool::daemon {

// Of counters, gauges and histograms; ends in # EOF.
std::string open_metrics_text(const std::vector<prometheus::MetricFamily>& families);

}  // namespace zeropool::daemon
