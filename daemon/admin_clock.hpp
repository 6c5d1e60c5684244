#pragma once
// When, and on which machine, a document for people was made.
//
// Thread safety: functions of nothing.

#include <cstdint>
#include <string>

namespace zeropool::daemon {

// Times of the moment at which a document is made.
struct AdminClock {
  std::uint64_t unix_seconds = 0;
  std::uint64_t monotonic_ns = 0;
  static AdminClock now();
};

// As the kernel has it; empty: it has none.
std::string machine_name();

}  // namespace zeropool::daemon
