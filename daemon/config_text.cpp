#include "daemon/config_text.hpp"

#include <cstddef>

namespace zeropool::daemon {
namespace {

// Length of the well-formed UTF-8 sequence at the front of `text`; 0 if there is none (overlong
// forms, surrogates and values above U+10FFFF are not well-formed).
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0u) != 0x80u) return 0;
  }
  const unsigned second = byte(1);
  if (lead == 0xE0 && second < 0xA0) return 0;
  if (lead == 0xED && second > 0x9F) return 0;
  if (lead == 0xF0 && second < 0x90) return 0;
  if (lead == 0xF4 && second > 0x8F) return 0;
  return length;
}

bool is_control(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte < 0x20 && c != '\t' && c != '\n' && c != '\r') || byte == 0x7F;
}

std::string hex(char c) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  const auto byte = static_cast<unsigned char>(c);
  return {'0', 'x', kHex[byte >> 4], kHex[byte & 0xF]};
}

}  // namespace

std::optional<ConfigTextFault> find_text_fault(std::string_view text) {
  if (text.size() > kMaxConfigFileBytes) {
    return ConfigTextFault{{}, "the file is larger than " + format_bytes(kMaxConfigFileBytes)};
  }
  ConfigPosition position{1, 1};
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = utf8_length(text.substr(at));
    if (length == 0) {
      return ConfigTextFault{position, "byte " + hex(text[at]) + " is not UTF-8; save it as UTF-8"};
    }
    if (is_control(text[at])) {
      return ConfigTextFault{position, "control character " + hex(text[at]) + "; remove it"};
    }
    if (text[at] == '\n') {
      position = {position.line + 1, 1};
    } else {
      ++position.column;
    }
    at += length;
  }
  return std::nullopt;
}

std::vector<std::uint32_t> character_columns(std::string_view text) {
  std::vector<std::uint32_t> columns(text.size() + 1);
  std::uint32_t column = 1;
  for (std::size_t at = 0; at < text.size(); ++at) {
    columns[at] = column;
    if (text[at] == '\n') {
      column = 1;
    } else if (at + 1 == text.size() ||
               (static_cast<unsigned char>(text[at + 1]) & 0xC0u) != 0x80u) {
      ++column;  // the next byte begins a character
    }
  }
  columns[text.size()] = column;
  return columns;
}

}  // namespace zeropool::daemon
