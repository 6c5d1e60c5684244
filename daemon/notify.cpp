#include "daemon/notify.hpp"

#include <cstdint>

#include <systemd/sd-daemon.h>

#include "daemon/event_loop.hpp"

namespace zeropool::daemon::notify {
namespace {

// The kernel may move much memory about for one node's hugepages.
constexpr std::chrono::minutes kLongestStep{2};

}  // namespace

void starting(const std::string& step) {
  const std::string usec = std::to_string(std::chrono::microseconds(kLongestStep).count());
  ::sd_notify(0, ("STATUS=starting: " + step + "\nEXTEND_TIMEOUT_USEC=" + usec).c_str());
}

void ready(const std::string& status) { ::sd_notify(0, ("READY=1\nSTATUS=" + status).c_str()); }

void reloading() {
  const std::string usec = std::to_string(monotonic_ns() / 1000);
  ::sd_notify(0, ("RELOADING=1\nMONOTONIC_USEC=" + usec).c_str());
}

void stopping() { ::sd_notify(0, "STOPPING=1\nSTATUS=stopping"); }

void status(const std::string& text) { ::sd_notify(0, ("STATUS=" + text).c_str()); }

void alive() { ::sd_notify(0, "WATCHDOG=1"); }

std::chrono::nanoseconds watchdog_interval() {
  std::uint64_t usec = 0;
  if (::sd_watchdog_enabled(0, &usec) <= 0) return std::chrono::nanoseconds(0);
  return std::chrono::microseconds(usec / 2);
}

}  // namespace zeropool::daemon::notify
