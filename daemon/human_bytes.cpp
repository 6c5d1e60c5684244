#include "daemon/human_bytes.hpp"

#include <array>
#include <cstdio>

namespace zeropool::daemon {
namespace {

constexpr std::array<const char*, 7> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
constexpr std::uint64_t kStep = 1024;

}  // namespace

std::string exact_bytes(std::uint64_t bytes) {
  std::size_t unit = 0;
  while (bytes != 0 && bytes % kStep == 0 && unit + 1 < kUnits.size()) {
    bytes /= kStep;
    ++unit;
  }
  return std::to_string(bytes) + kUnits[unit];
}

std::string rounded_bytes(std::uint64_t bytes) {
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  // 1023.9995 of a unit would be printed as 1024: it is one of the next.
  while (value >= 1023.5 && unit + 1 < kUnits.size()) {
    value /= static_cast<double>(kStep);
    ++unit;
  }
  std::array<char, 32> text{};
  const int digits = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  std::snprintf(text.data(), text.size(), "%.*f %s", digits, value, kUnits[unit]);
  return text.data();
}

}  // namespace zeropool::daemon
