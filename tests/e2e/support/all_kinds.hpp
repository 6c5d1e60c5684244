#pragma once
// A load in which everything happens that the dashboard shows, but for what is a fault of the machine or a death.

#include <string>

#include "../../integration/support/daemon_process.hpp"

namespace zeropool::testing {

// In a child: until it is killed. The pool has a class of 64KiB, a short handoff.lease and a short thread_cache_idle.
[[noreturn]] void do_all_kinds(const DaemonProcess& daemon, const std::string& pool);

}  // namespace zeropool::testing
