#include "ctl/doctor.hpp"

#include <algorithm>
#include <cstdio>

#include <zeropool/lib/socket_path.hpp>

#include "ctl/admin_client.hpp"
#include "ctl/render.hpp"
#include "ctl/table.hpp"

namespace zeropool::ctl {
namespace {

const char* word_of(Level level) {
  switch (level) {
    case Level::kOk: return "ok";
    case Level::kWarn: return "warn";
    case Level::kBad: return "bad";
  }
  return "bad";
}

bool any(const Findings& findings, Level level) {
  return std::any_of(findings.begin(), findings.end(),
                     [&](const Finding& finding) { return finding.level == level; });
}

// Why a daemon did not say anything of itself, and what to do.
Finding why_silent(const AdminAnswer& answer) {
  // None runs, or one that tells this user no more: the machine can be looked at all the same.
  if (answer.exit_code == kExitNoDaemon) {
    return {Level::kWarn, answer.error, "systemctl start zeropoold"};
  }
  if (answer.refused) return {Level::kWarn, answer.error, "sudo zeropoolctl doctor"};
  return {Level::kBad, answer.error,
          "usermod -aG zeropool $USER, and log in again; or run this as root"};
}

// The daemon's document, and what asking for it showed.
nlohmann::json ask(const std::string& socket, Findings& findings) {
  const AdminAnswer answer = ask_daemon(socket, "doctor", "");
  if (answer.exit_code == kExitOk) {
    findings.push_back({Level::kOk, "zeropoold answers at " + lib::find_socket_path(socket), ""});
    return answer.document;
  }
  findings.push_back(why_silent(answer));
  return nlohmann::json::object();
}

}  // namespace

Findings examine(const DoctorPaths& paths, const Kernel& kernel, const nlohmann::json& daemon) {
  Findings findings;
  look_at_nodes(paths, daemon, findings);
  look_at_pages(paths, daemon, findings);
  look_at_limits(paths, daemon, findings);
  look_at_kernel(kernel, daemon, findings);
  look_at_pools(daemon, findings);
  return findings;
}

nlohmann::json findings_document(const Findings& findings) {
  nlohmann::json list = nlohmann::json::array();
  for (const Finding& finding : findings) {
    list.push_back(
        {{"level", word_of(finding.level)}, {"what", finding.what}, {"command", finding.command}});
  }
  return {{"well", !any(findings, Level::kBad)}, {"findings", std::move(list)}};
}

std::string render_findings(const Findings& findings) {
  std::string text;
  for (const Finding& finding : findings) {
    std::string word = word_of(finding.level);
    word.resize(6, ' ');
    text += word + printable(finding.what) + "\n";
    if (!finding.command.empty()) text += "      -> " + printable(finding.command) + "\n";
  }
  return text;
}

int run_doctor(const std::string& socket, bool as_json) {
  Findings findings;
  const nlohmann::json daemon = ask(socket, findings);
  DoctorPaths paths;
  if (const std::uint64_t pid = number_at(daemon, "pid"); pid != 0) {
    paths.process = std::to_string(pid);
  }
  const Findings found = examine(paths, probe_kernel(), daemon);
  findings.insert(findings.end(), found.begin(), found.end());
  const std::string text = as_json ? findings_document(findings).dump(
                                         2, ' ', false, nlohmann::json::error_handler_t::replace) +
                                         "\n"
                                   : render_findings(findings);
  if (std::fputs(text.c_str(), stdout) == EOF || std::fflush(stdout) != 0) {
    std::perror("zeropoolctl: cannot write");
    return kExitFailed;
  }
  return any(findings, Level::kBad) ? kExitFailed : kExitOk;
}

}  // namespace zeropool::ctl
