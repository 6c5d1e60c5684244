#pragma once
// The page at /: the daemon at a glance, in one self-contained HTML document, light or dark as the
// reader has it.
//
// Thread safety: functions of their arguments.

#include <string>
#include <string_view>

#include "daemon/statistics.hpp"

namespace zeropool::daemon {

std::string status_page(const DaemonStatistics& statistics);

// Text as HTML that shows it, also inside attributes.
std::string html_escaped(std::string_view text);

}  // namespace zeropool::daemon
