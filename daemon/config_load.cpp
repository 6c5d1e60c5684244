#include "daemon/config.hpp"
#include "daemon/config_file.hpp"
#include "daemon/config_report.hpp"

namespace zeropool::daemon {

ConfigOutcome load_config(const std::string& path) {
  std::string text;
  const std::string fault = read_config_file(path, text);
  if (fault.empty()) return parse_config(text, path);
  ConfigReport report(path);
  report.refuse({}, "", fault);
  return std::move(report).finish({});
}

}  // namespace zeropool::daemon
