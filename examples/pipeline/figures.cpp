#include "pipeline/figures.hpp"

#include <cstdio>
#include <iterator>

namespace pipeline {

std::string bytes_text(std::uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof(text),
                unit == 0  ? "%.0f %s"
                : unit < 3 ? "%.1f %s"
                           : "%.2f %s",
                value, kUnits[unit]);
  return text;
}

std::string speed_text(double bytes_per_second) {
  char text[32];
  if (bytes_per_second >= 1e9) {
    std::snprintf(text, sizeof(text), "%.2f GB/s", bytes_per_second / 1e9);
  } else {
    std::snprintf(text, sizeof(text), "%.1f MB/s", bytes_per_second / 1e6);
  }
  return text;
}

}  // namespace pipeline
