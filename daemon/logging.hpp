#pragma once
// The log: to standard error, for a terminal with times, for journald with its priorities and without times.
//
// Thread safety: spdlog's; a LogGate belongs to one thread.

#include <cstdint>
#include <string>
#include <string_view>

namespace zeropool::daemon {

// `level`: trace, debug, info, warn, error, critical, off.
void start_logging(const std::string& level);
void set_log_level(const std::string& level);

// What came from outside, fit for a log line, within single quotes, or a terminal: no control characters, no bytes that
// are not UTF-8 text, no single quote, at most `most` bytes.
std::string printable(std::string_view text, std::size_t most = 64);

// Lets one message a second through, and tells how many it held back since.
class LogGate {
 public:
  bool open(std::uint64_t now_ns) noexcept;
  std::uint64_t take_suppressed() noexcept;

 private:
  std::uint64_t last_ns_ = 0;
  std::uint64_t suppressed_ = 0;
};

}  // namespace zeropool::daemon
