// What holds between keys of different sections.
#pragma once

#include <cstdint>

#include "daemon/config_report.hpp"

namespace zeropool::daemon {

// Saturates.
std::uint64_t sum_of_reservations(const std::vector<PoolConfig>& pools);

// Refuses the reservation at which the sum exceeds the budget.
void check_reservations(const Config& config, std::uint64_t budget_bytes, ConfigReport& report);

}  // namespace zeropool::daemon
