#pragma once
// The process_* metrics under their usual names.
//
// Thread safety: any thread. Source: /proc/self, getrlimit; what cannot be read is left out.

#include <vector>

#include <prometheus/metric_family.h>

namespace zeropool::daemon {

std::vector<prometheus::MetricFamily> process_metric_families();

}  // namespace zeropool::daemon
