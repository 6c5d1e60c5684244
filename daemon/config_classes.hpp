// The class list of a pool.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "daemon/config_report.hpp"

namespace zeropool::daemon {

// Ascending, distinct, each a multiple of 64 bytes, and none nearer to its neighbour than 1/512.
std::optional<std::vector<std::uint64_t>> read_classes(const ConfigField& field);

}  // namespace zeropool::daemon
