#pragma once
// What the daemon tells systemd: how far its start is, ready, reloading, stopping, and that it is alive. Silent where no service
// manager listens.
//
// Thread safety: any thread. Source: $NOTIFY_SOCKET, $WATCHDOG_USEC.

#include <chrono>
#include <string>

namespace zeropool::daemon::notify {

// Before a step of the start that may take long: what it is. systemd waits two minutes more.
void starting(const std::string& step);
void ready(const std::string& status);
void reloading();
void stopping();
void status(const std::string& text);
void alive();
// How often alive() is to be said (half of what systemd allows); zero: not asked for.
std::chrono::nanoseconds watchdog_interval();

}  // namespace zeropool::daemon::notify
