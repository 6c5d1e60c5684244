// Values as the file would write them, for messages.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/config.hpp"

namespace zeropool::daemon {

inline std::string describe(bool value) { return value ? "true" : "false"; }
inline std::string describe(std::uint32_t count) { return std::to_string(count); }
inline std::string describe(std::uint64_t bytes) { return format_bytes(bytes); }
inline std::string describe(const Amount& amount) { return format_amount(amount); }
inline std::string describe(std::chrono::nanoseconds time) { return format_duration(time); }
std::string describe(const std::string& text);
std::string describe(PageSize size);
std::string describe(Placement placement);
std::string describe(Scrub scrub);
std::string describe(const AccessConfig& access);

template <typename T>
std::string describe(const std::vector<T>& list) {
  std::string text;
  for (const T& item : list) text += (text.empty() ? "" : ", ") + describe(item);
  return "[" + text + "]";
}

template <typename T>
std::string describe(const std::optional<T>& value) {
  return value ? describe(*value) : "default";
}

}  // namespace zeropool::daemon
