#pragma once
// `zeropoolctl doctor`: looks at the machine and at the daemon's own account, and says what is not as it should be.
//
// Thread safety: functions of their arguments.
// Source: sysfs, procfs and cgroup files under `DoctorPaths`, and `Kernel`'s system calls; a test brings its own of both.
// Trust: the daemon's document may lack keys: what is missing is not complained about.

#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

#include "ctl/finding.hpp"

namespace zeropool::ctl {

struct DoctorPaths {
  std::string sys = "/sys";
  std::string proc = "/proc";
  std::string cgroup = "/sys/fs/cgroup";
  // The process whose limits and cgroup count: the daemon's, else our own.
  std::string process = "self";
};

// What the kernel lets this process do: 0, or errno.
struct Kernel {
  int mempolicy = 0;
  int membarrier = 0;
  int pidfd = 0;
};
Kernel probe_kernel();

// One file each.
void look_at_nodes(const DoctorPaths& paths, const nlohmann::json& daemon, Findings& findings);
void look_at_pages(const DoctorPaths& paths, const nlohmann::json& daemon, Findings& findings);
void look_at_limits(const DoctorPaths& paths, const nlohmann::json& daemon, Findings& findings);
void look_at_kernel(const Kernel& kernel, const nlohmann::json& daemon, Findings& findings);
void look_at_pools(const nlohmann::json& daemon, Findings& findings);

// `daemon`: its document, or an empty object when none answered.
Findings examine(const DoctorPaths& paths, const Kernel& kernel, const nlohmann::json& daemon);

nlohmann::json findings_document(const Findings& findings);
std::string render_findings(const Findings& findings);

// The command: 0 when nothing is bad.
int run_doctor(const std::string& socket, bool as_json);

}  // namespace zeropool::ctl
