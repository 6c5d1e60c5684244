// Readers: a value of the file to a checked value, or a refusal that says what is allowed.
//
// Each is, or returns, a ConfigField → std::optional<T>, for ConfigSection::read().
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/config_report.hpp"

namespace zeropool::daemon {

template <typename T>
using ConfigReader = std::function<std::optional<T>(const ConfigField&)>;

// The text of a scalar; a list or map is refused with `allowed`.
std::optional<std::string_view> read_scalar(const ConfigField& field, const std::string& allowed);
// Whether the value is a list of at most `max_items`; else refused.
bool expect_list(const ConfigField& field, std::size_t max_items, const std::string& allowed);

// Bounds are inclusive.
ConfigReader<std::uint64_t> bytes_in(std::uint64_t low, std::uint64_t high);
ConfigReader<std::uint32_t> count_in(std::uint32_t low, std::uint32_t high);
ConfigReader<std::chrono::nanoseconds> duration_in(std::chrono::nanoseconds low,
                                                   std::chrono::nanoseconds high);
// The word `auto` is an unset optional.
ConfigReader<std::optional<std::uint64_t>> auto_or(ConfigReader<std::uint64_t> reader);
std::optional<Amount> read_budget(const ConfigField& field);
std::optional<bool> read_bool(const ConfigField& field);
// Non-empty, at most `max_bytes`, without control characters.
ConfigReader<std::string> text_of(std::string what, std::size_t max_bytes);
std::optional<std::string> read_absolute_path(const ConfigField& field);
// Names of users or groups.
std::optional<std::vector<std::string>> read_names(const ConfigField& field);

// The index of the scalar among `words`; else refused, with the nearest of them.
std::optional<std::size_t> read_word(const ConfigField& field,
                                     std::span<const std::string_view> words);

template <typename E, std::size_t N>
using ConfigWords = std::array<std::pair<std::string_view, E>, N>;

template <typename E, std::size_t N>
ConfigReader<E> one_of(const ConfigWords<E, N>& table) {
  return [&table](const ConfigField& field) -> std::optional<E> {
    std::array<std::string_view, N> words;
    for (std::size_t i = 0; i < N; ++i) words[i] = table[i].first;
    const std::optional<std::size_t> index = read_word(field, words);
    if (!index) return std::nullopt;
    return table[*index].second;
  };
}

}  // namespace zeropool::daemon
