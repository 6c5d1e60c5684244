#include "daemon/config_keys.hpp"

#include <algorithm>
#include <cctype>
#include <numeric>
#include <vector>

namespace zeropool::daemon {
namespace {

constexpr std::size_t kQuotedBytes = 64;

std::size_t length_difference(std::string_view a, std::string_view b) {
  return a.size() > b.size() ? a.size() - b.size() : b.size() - a.size();
}

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xC0u) == 0x80u; }

}  // namespace

std::size_t edit_distance(std::string_view from, std::string_view to) {
  std::vector<std::size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= from.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= to.size(); ++j) {
      const std::size_t replaced = diagonal + (from[i - 1] == to[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[to.size()];
}

std::optional<std::string_view> nearest_key(std::string_view word,
                                            std::span<const std::string_view> known) {
  std::optional<std::string_view> nearest;
  std::size_t nearest_distance = kNearestKeyDistance + 1;
  const std::string low = lower_ascii(word);
  for (std::string_view key : known) {
    // A word of a whole file's length is not compared.
    if (length_difference(word, key) > kNearestKeyDistance) continue;
    const std::size_t distance = edit_distance(low, lower_ascii(key));
    if (distance >= std::min(word.size(), key.size())) continue;
    if (distance < nearest_distance) {
      nearest_distance = distance;
      nearest = key;
    }
  }
  return nearest;
}

std::string lower_ascii(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

std::string join_words(std::span<const std::string_view> words) {
  std::string joined;
  for (std::string_view word : words) {
    if (!joined.empty()) joined += ", ";
    joined += word;
  }
  return joined;
}

std::string quote(std::string_view text) {
  std::size_t end = std::min(text.size(), kQuotedBytes);
  while (end < text.size() && end > 0 && continues_character(text[end])) --end;
  std::string quoted = "'";
  for (char c : text.substr(0, end)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7F) {
      quoted += c;
      continue;
    }
    constexpr std::string_view kHex = "0123456789abcdef";
    quoted += "\\x";
    quoted += kHex[byte >> 4];
    quoted += kHex[byte & 0xF];
  }
  if (end < text.size()) quoted += "…";
  return quoted + "'";
}

}  // namespace zeropool::daemon
