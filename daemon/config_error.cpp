#include <string>

#include "daemon/config.hpp"

namespace zeropool::daemon {

std::string ConfigError::to_string() const {
  std::string text = file;
  if (line > 0) text += ":" + std::to_string(line) + ":" + std::to_string(column);
  text += ": ";
  if (!key.empty()) text += key + ": ";
  return text + message;
}

}  // namespace zeropool::daemon
