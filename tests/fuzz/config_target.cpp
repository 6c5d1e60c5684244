// Any bytes as a configuration file: parsed, then held against a machine. Either a configuration comes out, or errors
// that say where and why.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "daemon/config.hpp"

namespace {

using namespace zeropool::daemon;

constexpr std::size_t kMostBytes = 64 << 10;

MachineFacts machine() {
  MachineFacts facts;
  facts.total_memory_bytes = std::uint64_t{16} << 30;
  facts.nodes = {0, 1};
  return facts;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t count) {
  if (count > kMostBytes) return 0;
  const std::string_view text(reinterpret_cast<const char*>(bytes), count);
  const ConfigOutcome outcome =
      validate_against_machine(parse_config(text, "fuzz.yaml"), machine());
  if (outcome.ok() == outcome.errors.empty()) {
    for (const ConfigError& error : outcome.errors) {
      if (error.to_string().empty() || error.message.empty()) std::abort();
    }
    return 0;
  }
  std::abort();  // neither a configuration nor a reason
}
