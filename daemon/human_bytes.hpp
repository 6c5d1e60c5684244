#pragma once
// Sizes for people and labels: exact (64KiB, 4160B), and rounded to three digits (1.50 GiB).
//
// Thread safety: functions of their arguments.

#include <cstdint>
#include <string>

namespace zeropool::daemon {

// In the largest binary unit that keeps the size exact: the `class` label.
std::string exact_bytes(std::uint64_t bytes);

// In the largest binary unit of which there is at least one.
std::string rounded_bytes(std::uint64_t bytes);

}  // namespace zeropool::daemon
