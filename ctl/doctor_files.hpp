#pragma once
// Small files of the kernel, read for the doctor.
//
// Thread safety: functions of their arguments. Errors: a file that is not there reads as nothing.

#include <charconv>
#include <cstdint>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

namespace zeropool::ctl {

inline constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

inline std::string line_of(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

inline std::optional<std::uint64_t> number_of(const std::string& path) {
  const std::string line = line_of(path);
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(line.data(), line.data() + line.size(), value);
  if (parsed.ec != std::errc{}) return std::nullopt;
  return value;
}

// The line of a file that begins with `key`, from after it; nothing: there is none.
inline std::optional<std::string> line_after(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(key, 0) == 0) return line.substr(key.size());
  }
  return std::nullopt;
}

}  // namespace zeropool::ctl
