// Which known key or word an unknown one was probably meant to be.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace zeropool::daemon {

inline constexpr std::size_t kNearestKeyDistance = 3;

// Single-character insertions, deletions and replacements between two words.
std::size_t edit_distance(std::string_view from, std::string_view to);

// The nearest within kNearestKeyDistance, letter case aside; none if nothing of `word` would be
// left of it.
std::optional<std::string_view> nearest_key(std::string_view word,
                                            std::span<const std::string_view> known);

std::string lower_ascii(std::string_view text);

// "a, b, c"
std::string join_words(std::span<const std::string_view> words);

// `text` in quotes, for a message: control characters escaped, long text cut.
std::string quote(std::string_view text);

}  // namespace zeropool::daemon
