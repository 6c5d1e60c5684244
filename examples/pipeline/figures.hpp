#pragma once
// Sizes and speeds for people: powers of 1024 with binary units for memory, of 1000 for speeds.

#include <cstdint>
#include <string>

namespace pipeline {

std::string bytes_text(std::uint64_t bytes);      // "1.50 GiB"
std::string speed_text(double bytes_per_second);  // "812.0 MB/s", "1.23 GB/s"

}  // namespace pipeline
