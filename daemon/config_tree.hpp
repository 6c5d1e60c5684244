// YAML text as a bounded tree that knows where each node stands.
//
// yaml-cpp is used for its events only: its own node graph keeps no position of nulls, hides
// duplicate keys, and expands aliases without a bound.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/config.hpp"
#include "daemon/config_text.hpp"

namespace zeropool::daemon {

inline constexpr std::size_t kMaxConfigDepth = 32;
inline constexpr std::size_t kMaxConfigNodes = 50'000;  // aliases expanded

struct ConfigTree {
  enum class Kind { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  ConfigPosition position;
  std::string text;               // of a scalar
  std::vector<ConfigTree> keys;   // of a map: scalars; keys[i] names items[i]
  std::vector<ConfigTree> items;  // of a map or list
};

struct ConfigTreeOutcome {
  std::optional<ConfigTree> tree;  // an empty document is a null
  std::optional<ConfigTextFault> fault;
};

// One document: no tags, no more than the bounds above, and the text's bound again after aliases.
ConfigTreeOutcome build_config_tree(std::string_view text);

}  // namespace zeropool::daemon
