#pragma once
// The metrics of pools, by pool and by (pool, node, class).
//
// Thread safety: functions of their arguments.

#include <vector>

#include "daemon/metric_sheet.hpp"
#include "daemon/statistics.hpp"

namespace zeropool::daemon {

void add_pool_metrics(MetricSheet& sheet, const std::vector<PoolStatistics>& pools);
// Of the `most` clients of each pool that hold most.
void add_client_metrics(MetricSheet& sheet, const std::vector<PoolStatistics>& pools,
                        std::uint32_t most);
void add_ring_metrics(MetricSheet& sheet, const std::vector<PoolStatistics>& pools);

}  // namespace zeropool::daemon
