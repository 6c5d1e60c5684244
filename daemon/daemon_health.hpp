#pragma once
// Is all well? The sentences of the status page and of `zeropoolctl status`.
//
// Thread safety: functions of their arguments.

#include <string>
#include <vector>

#include "daemon/statistics.hpp"

namespace zeropool::daemon {

// One sentence for each thing that is not well, with what to do; empty: all is well.
std::vector<std::string> health_problems(const DaemonStatistics& statistics);

// Of all gets that were served, the part that needed no order; 1 when nothing was asked for yet.
double hit_rate(const PoolStatistics& pool);

}  // namespace zeropool::daemon
