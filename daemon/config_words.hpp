// The words that stand for enumerators, for reading and for writing.
#pragma once

#include <string_view>

#include "daemon/config.hpp"
#include "daemon/config_values.hpp"

namespace zeropool::daemon {

inline constexpr ConfigWords<PageSize, 4> kPageSizeWords = {{{"1GiB", PageSize::kHuge1GiB},
                                                             {"2MiB", PageSize::kHuge2MiB},
                                                             {"thp", PageSize::kThp},
                                                             {"4KiB", PageSize::kSmall4KiB}}};
inline constexpr ConfigWords<Placement, 3> kPlacementWords = {
    {{"local", Placement::kLocal},
     {"local_only", Placement::kLocalOnly},
     {"interleave", Placement::kInterleave}}};
inline constexpr ConfigWords<Scrub, 3> kScrubWords = {{{"never", Scrub::kNever},
                                                       {"on_user_change", Scrub::kOnUserChange},
                                                       {"always", Scrub::kAlways}}};
inline constexpr std::array<std::string_view, 7> kLogLevels = {"trace", "debug",    "info", "warn",
                                                               "error", "critical", "off"};

template <typename E, std::size_t N>
constexpr std::string_view word_of(const ConfigWords<E, N>& table, E value) {
  for (const auto& [word, known] : table) {
    if (known == value) return word;
  }
  return "?";
}

}  // namespace zeropool::daemon
