#include "debug_words.hpp"

#include <atomic>
#include <cstdlib>
#include <string_view>

#include "standard_error.hpp"

namespace zeropool::client {
namespace {

constexpr const char* kVariable = "ZEROPOOL_DEBUG";

void complain(std::string_view word) noexcept {
  standard_error_line("%s: there is no '%.*s'; there are: poison, guard, off", kVariable,
                      static_cast<int>(word.size() < 64 ? word.size() : 64), word.data());
}

}  // namespace

DebugWords debug_words() noexcept {
  static std::atomic<bool> complained{false};
  DebugWords words;
  const char* value = ::secure_getenv(kVariable);
  std::string_view rest = value == nullptr ? "" : value;
  const bool silent = complained.load(std::memory_order_relaxed);
  while (!rest.empty()) {
    const std::size_t end = rest.find(',');
    const std::string_view word = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    if (word == "poison") {
      words.poison = true;
    } else if (word == "guard") {
      words.guard = true;
    } else if (word == "off") {
      words.off = true;
    } else if (!word.empty() && !silent) {
      complain(word);
      complained.store(true, std::memory_order_relaxed);
    }
  }
  return words;
}

}  // namespace zeropool::client
