#include "daemon/logging.hpp"

#include <cstdlib>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/ansicolor_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace zeropool::daemon {
namespace {

// "<6>": what journald reads a line's priority from.
class PriorityFlag : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& into) override {
    char priority = '6';
    switch (message.level) {
      case spdlog::level::trace:
      case spdlog::level::debug: priority = '7'; break;
      case spdlog::level::warn: priority = '4'; break;
      case spdlog::level::err: priority = '3'; break;
      case spdlog::level::critical: priority = '2'; break;
      default: break;
    }
    into.push_back('<');
    into.push_back(priority);
    into.push_back('>');
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<PriorityFlag>();
  }
};

// $JOURNAL_STREAM names the device and inode of the journal's end of standard error.
bool goes_to_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat info {};
  if (stream == nullptr || ::fstat(STDERR_FILENO, &info) != 0) return false;
  return std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino) == stream;
}

// Length of the UTF-8 sequence that starts at text[at], 0 if it is none.
std::size_t sequence_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  const std::size_t length = first >= 0xf0 && first <= 0xf4  ? 4
                             : first >= 0xe0 && first < 0xf0 ? 3
                             : first >= 0xc2 && first < 0xe0 ? 2
                                                             : 0;
  if (length == 0 || at + length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
  }
  const unsigned char second = byte(at + 1);
  const bool overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  const bool beyond = (first == 0xf4 && second >= 0x90) || (first == 0xed && second >= 0xa0);
  const bool c1_control = first == 0xc2 && second < 0xa0;
  // U+200E, U+200F, U+2028 to U+202E, U+2066 to U+2069: they turn a line around, or break it.
  const bool turns = length == 3 && first == 0xe2 &&
                     ((second == 0x80 && (byte(at + 2) == 0x8e || byte(at + 2) == 0x8f ||
                                          (byte(at + 2) >= 0xa8 && byte(at + 2) <= 0xae))) ||
                      (second == 0x81 && byte(at + 2) >= 0xa6 && byte(at + 2) <= 0xa9));
  return overlong || beyond || c1_control || turns ? 0 : length;
}

}  // namespace

void start_logging(const std::string& level) {
  const bool journal = goes_to_journal();
  std::shared_ptr<spdlog::sinks::sink> sink;
  if (!journal && ::isatty(STDERR_FILENO) == 1) {
    sink = std::make_shared<spdlog::sinks::ansicolor_stderr_sink_mt>();
  } else {
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  }
  auto logger = std::make_shared<spdlog::logger>("zeropoold", std::move(sink));
  if (journal) {
    auto formatter = std::make_unique<spdlog::pattern_formatter>();
    formatter->add_flag<PriorityFlag>('*').set_pattern("%*%v");
    logger->set_formatter(std::move(formatter));
  } else {
    logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %^%l%$ %v");
  }
  spdlog::set_default_logger(std::move(logger));
  set_log_level(level);
}

void set_log_level(const std::string& level) { spdlog::set_level(spdlog::level::from_str(level)); }

std::string printable(std::string_view text, std::size_t most) {
  std::string clean;
  for (std::size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const bool plain = byte >= 0x20 && byte < 0x7f && byte != '\'';
    const std::size_t length = plain ? 1 : sequence_length(text, at);
    if (clean.size() + (length == 0 ? 1 : length) > most) break;
    if (length == 0) {
      clean += '?';
      ++at;
    } else {
      clean += text.substr(at, length);
      at += length;
    }
  }
  return clean;
}

bool LogGate::open(std::uint64_t now_ns) noexcept {
  if (last_ns_ != 0 && now_ns - last_ns_ < 1'000'000'000U) {
    ++suppressed_;
    return false;
  }
  last_ns_ = now_ns;
  return true;
}

std::uint64_t LogGate::take_suppressed() noexcept { return std::exchange(suppressed_, 0); }

}  // namespace zeropool::daemon
