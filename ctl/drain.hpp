#pragma once
// `zeropoolctl drain`: takes a pool, or all, out of service, waits until all is home, and puts it into service again.
//
// Thread safety: a function of its arguments.

#include <chrono>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

namespace zeropool::ctl {

struct DrainOptions {
  std::string socket;
  std::string pool;  // empty: all
  bool stop = false;
  std::optional<std::chrono::milliseconds> wait;
  bool as_json = false;
};

// "500ms", "30s", "5m", "2h"; nothing: it is none of these, or longer than a year.
std::optional<std::chrono::milliseconds> read_duration(const std::string& text);

std::string render_drain(const nlohmann::json& document);

// An exit code: kExitFailed when the daemon refuses, when the time is over, or when somebody else ended the drain that is
// waited for; kExitNoDaemon when nobody answers (while it waits: when the time is over).
int run_drain(const DrainOptions& options);

}  // namespace zeropool::ctl
