#pragma once
// The page at /: the daemon at a glance, in one self-contained HTML document (daemon/page/).
//
// Thread safety: functions of their arguments.
// Trust: names come from clients and from the configuration; they appear as text.

#include <string>
#include <string_view>

#include "daemon/status_view.hpp"

namespace zeropool::daemon {

std::string status_page(const StatusView& view);

// The Content-Security-Policy to send with it: its own style and script, /status.json, and nothing else.
std::string status_page_policy();

// Text as HTML that shows it, also inside attributes.
std::string html_escaped(std::string_view text);

}  // namespace zeropool::daemon
