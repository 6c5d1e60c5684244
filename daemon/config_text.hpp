// Is this a text file at all? Asked before a YAML parser sees it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/config.hpp"

namespace zeropool::daemon {

struct ConfigTextFault {
  ConfigPosition position;
  std::string message;
};

inline constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

// The first thing that keeps `text` from being at most kMaxConfigFileBytes of UTF-8 without control
// characters. Columns count characters, not bytes.
std::optional<ConfigTextFault> find_text_fault(std::string_view text);

// The column, in characters from 1, of each byte of UTF-8 text and of its end.
std::vector<std::uint32_t> character_columns(std::string_view text);

}  // namespace zeropool::daemon
