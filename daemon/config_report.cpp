#include "daemon/config_report.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "daemon/config_keys.hpp"

namespace zeropool::daemon {

void ConfigReport::refuse(ConfigPosition position, std::string key, std::string message) {
  if (outcome_.errors.size() > kMaxConfigErrors) return;
  if (outcome_.errors.size() == kMaxConfigErrors) {
    key.clear();
    position = {};
    message = "too many errors; those from here on are not listed";
  }
  outcome_.errors.push_back(
      {outcome_.file, position.line, position.column, std::move(key), std::move(message)});
}

void ConfigReport::refuse_key(const std::string& key, const std::string& fallback,
                              std::string message) {
  auto found = outcome_.positions.find(key);
  if (found == outcome_.positions.end()) found = outcome_.positions.find(fallback);
  const bool known = found != outcome_.positions.end();
  refuse(known ? found->second : ConfigPosition{}, key, std::move(message));
}

void ConfigReport::locate(const std::string& key, ConfigPosition position) {
  outcome_.positions.emplace(key, position);
}

ConfigOutcome ConfigReport::finish(Config config) && {
  outcome_.config.reset();
  if (clean()) outcome_.config = std::move(config);
  const auto place = [](const ConfigError& error) { return std::pair(error.line, error.column); };
  const auto listed = std::min(outcome_.errors.size(), kMaxConfigErrors);
  std::stable_sort(outcome_.errors.begin(),
                   outcome_.errors.begin() + static_cast<std::ptrdiff_t>(listed),
                   [&](const auto& a, const auto& b) { return place(a) < place(b); });
  return std::move(outcome_);
}

void ConfigField::refuse_value(const std::string& wrong, const std::string& allowed) const {
  refuse(quote(node->text) + " " + wrong + "; allowed: " + allowed);
}

ConfigField ConfigField::item(std::size_t index) const {
  return {&node->items[index], key + "[" + std::to_string(index) + "]", report};
}

}  // namespace zeropool::daemon
