#include "setup.hpp"

#include <cstdint>
#include <cstdlib>
#include <regex>
#include <sstream>
#include <stdexcept>

#include "program.hpp"

namespace zeropool::testing {

std::string small_setup(const std::string& name, unsigned divisor) {
  const char* source = std::getenv("ZEROPOOL_SOURCE_DIR");
  if (source == nullptr) throw std::runtime_error("ZEROPOOL_SOURCE_DIR is not set");
  const std::string path = std::string(source) + "/config/" + name + ".yaml";
  std::istringstream file(read_file(path));
  const std::regex amount(
      "^( *(?:budget|reserved|limit|limit_max|client_quota|low|high): *)([0-9]+)(M|G)iB(.*)$");
  std::string text;
  unsigned divided = 0;
  for (std::string line; std::getline(file, line);) {
    std::smatch part;
    if (std::regex_match(line, part, amount)) {
      const std::uint64_t mib = std::stoull(part[2]) * (part[3] == "G" ? 1024 : 1);
      line = part[1].str() + std::to_string(mib * 1024 / divisor) + "KiB" + part[4].str();
      ++divided;
    }
    text += line + "\n";
  }
  if (divided == 0) throw std::runtime_error("no amount of memory in " + path);
  return text;
}

}  // namespace zeropool::testing
