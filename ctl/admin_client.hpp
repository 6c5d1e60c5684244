#pragma once
// One question to the daemon: a command and its argument, answered by a JSON document.
//
// Thread safety: functions of their arguments; each opens a connection of its own.
// Trust: the answer is checked before it is believed.

#include <string>

#include <nlohmann/json.hpp>

namespace zeropool::ctl {

// Exit codes of zeropoolctl.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;    // refused by the daemon, or an audit that is not clean
inline constexpr int kExitUsage = 2;     // the command line
inline constexpr int kExitNoDaemon = 3;  // nobody answers

struct AdminAnswer {
  int exit_code = kExitOk;
  bool refused = false;  // by a daemon that answered: it does not let this user ask for that
  std::string error;     // a sentence, when exit_code is not kExitOk
  std::string text;      // the document as it came
  nlohmann::json document;
};

inline constexpr int kAnswerTimeoutMs = 60'000;  // an audit of a large pool takes its time

// `socket`: where to ask; empty: where lib::find_socket_path says.
AdminAnswer ask_daemon(const std::string& socket, const std::string& command,
                       const std::string& argument, int timeout_ms = kAnswerTimeoutMs);

}  // namespace zeropool::ctl
