// The `pools` section.
#pragma once

#include <vector>

#include "daemon/config_report.hpp"

namespace zeropool::daemon {

// In the file's order. Without a pool in it, the default one.
std::vector<PoolConfig> read_pools(const ConfigField& field);

}  // namespace zeropool::daemon
