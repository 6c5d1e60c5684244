// One map of the file, of which every key is known by name.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "daemon/config_report.hpp"

namespace zeropool::daemon {

// `prefix` + `name` as errors write it: pools.frames
std::string join_key(std::string_view prefix, std::string_view name);

// Refuses a second key of the same text in a map.
void refuse_duplicate_keys(const ConfigField& map);

class ConfigSection {
 public:
  // Refuses what is not a map, and each key that is not in `allowed` or comes twice. A null is an
  // empty map: everything in it may be commented out.
  ConfigSection(const ConfigField& field, std::initializer_list<std::string_view> allowed);

  // None when the key is absent or its value is null: the default stands.
  std::optional<ConfigField> find(std::string_view name) const;

  // Whether the key stands there with nothing after it.
  bool gives_null(std::string_view name) const;

  // Stores what `reader` makes of the key's value; leaves `target` alone when there is none or it
  // is refused. A reader is ConfigField → std::optional of what `target` can be assigned.
  template <typename Target, typename Reader>
  void read(std::string_view name, Target& target, const Reader& reader) const {
    if (const std::optional<ConfigField> value = find(name)) {
      if (auto result = reader(*value)) target = *std::move(result);
    }
  }

 private:
  const ConfigTree* value_of(std::string_view name) const;

  ConfigField field_;
};

}  // namespace zeropool::daemon
