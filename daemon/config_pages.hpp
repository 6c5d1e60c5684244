// Page sizes, in the order in which they are tried.
#pragma once

#include <optional>
#include <vector>

#include "daemon/config_report.hpp"

namespace zeropool::daemon {

// At least one, none twice.
std::optional<std::vector<PageSize>> read_page_sizes(const ConfigField& field);

}  // namespace zeropool::daemon
