#include "daemon/config_section.hpp"

#include <algorithm>
#include <map>
#include <span>

#include "daemon/config_keys.hpp"

namespace zeropool::daemon {
namespace {

std::string unknown_key_message(std::string_view name, std::span<const std::string_view> allowed) {
  std::string message = "unknown key " + quote(name);
  if (const auto nearest = nearest_key(name, allowed)) {
    message += "; did you mean '" + std::string(*nearest) + "'?";
  }
  return message + "; allowed here: " + join_words(allowed);
}

}  // namespace

std::string join_key(std::string_view prefix, std::string_view name) {
  std::string key(prefix);
  if (!key.empty()) key += '.';
  const std::string quoted = quote(name);
  return key + quoted.substr(1, quoted.size() - 2);
}

void refuse_duplicate_keys(const ConfigField& map) {
  std::map<std::string_view, ConfigPosition> seen;
  for (const ConfigTree& key : map.node->keys) {
    const auto [first, is_new] = seen.emplace(key.text, key.position);
    if (is_new) continue;
    map.report->refuse(key.position, join_key(map.key, key.text),
                       "given twice; first in line " + std::to_string(first->second.line));
  }
}

ConfigSection::ConfigSection(const ConfigField& field,
                             std::initializer_list<std::string_view> allowed)
    : field_(field) {
  if (field.node->kind == ConfigTree::Kind::kNull) return;
  const std::span<const std::string_view> names(allowed.begin(), allowed.size());
  if (field.node->kind != ConfigTree::Kind::kMap) {
    field.refuse("must be a map of keys; allowed here: " + join_words(names));
    return;
  }
  refuse_duplicate_keys(field);
  for (const ConfigTree& key : field.node->keys) {
    if (std::find(names.begin(), names.end(), key.text) != names.end()) continue;
    field.report->refuse(key.position, join_key(field.key, key.text),
                         unknown_key_message(key.text, names));
  }
}

const ConfigTree* ConfigSection::value_of(std::string_view name) const {
  for (std::size_t i = 0; i < field_.node->keys.size(); ++i) {
    if (field_.node->keys[i].text == name) return &field_.node->items[i];
  }
  return nullptr;
}

std::optional<ConfigField> ConfigSection::find(std::string_view name) const {
  const ConfigTree* value = value_of(name);
  if (value == nullptr || value->kind == ConfigTree::Kind::kNull) return std::nullopt;
  ConfigField found{value, join_key(field_.key, name), field_.report};
  found.report->locate(found.key, value->position);
  return found;
}

bool ConfigSection::gives_null(std::string_view name) const {
  const ConfigTree* value = value_of(name);
  return value != nullptr && value->kind == ConfigTree::Kind::kNull;
}

}  // namespace zeropool::daemon
