// What reading one file has found so far: its errors, and where its values stand.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "daemon/config.hpp"
#include "daemon/config_tree.hpp"

namespace zeropool::daemon {

inline constexpr std::size_t kMaxConfigErrors = 50;

class ConfigReport {
 public:
  explicit ConfigReport(std::string file) { outcome_.file = std::move(file); }
  explicit ConfigReport(ConfigOutcome outcome) : outcome_(std::move(outcome)) {}

  void refuse(ConfigPosition position, std::string key, std::string message);
  // At the value of `key` if the file gives it, else at that of `fallback`, else at the whole file.
  void refuse_key(const std::string& key, const std::string& fallback, std::string message);
  void locate(const std::string& key, ConfigPosition position);

  bool clean() const { return outcome_.errors.empty(); }
  // `config` if nothing was refused; else the errors, in the order of the file.
  ConfigOutcome finish(Config config) &&;

 private:
  ConfigOutcome outcome_;
};

// A value of the file and the key that it stands under.
struct ConfigField {
  const ConfigTree* node;
  std::string key;
  ConfigReport* report;

  void refuse(std::string message) const {
    report->refuse(node->position, key, std::move(message));
  }
  // "'<value>' <what is wrong>; allowed: <allowed>"
  void refuse_value(const std::string& wrong, const std::string& allowed) const;
  ConfigField item(std::size_t index) const;
};

}  // namespace zeropool::daemon
