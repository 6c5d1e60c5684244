// Limits of the daemon's process and of its cgroup, against what it needs.

#include <sstream>

#include "ctl/doctor.hpp"
#include "ctl/doctor_files.hpp"
#include "ctl/render.hpp"
#include "ctl/table.hpp"

namespace zeropool::ctl {
namespace {

constexpr std::uint64_t kDescriptorsPerClient = 3;
constexpr std::uint64_t kOwnDescriptors = 64;
constexpr std::uint64_t kLittleLocked = std::uint64_t{64} << 20;

// Soft limit of a line of /proc/PID/limits; nothing: cannot be told.
std::optional<std::uint64_t> limit_of(const DoctorPaths& paths, const std::string& name) {
  const auto rest = line_after(paths.proc + "/" + paths.process + "/limits", name);
  if (!rest) return std::nullopt;
  std::istringstream words(*rest);
  std::string soft;
  words >> soft;
  if (soft == "unlimited") return kNoLimit;
  std::istringstream number(soft);
  std::uint64_t value = 0;
  if (!(number >> value)) return std::nullopt;
  return value;
}

void look_at_cgroup(const DoctorPaths& paths, std::uint64_t budget, Findings& findings) {
  std::string path = line_after(paths.proc + "/" + paths.process + "/cgroup", "0::").value_or("");
  if (budget == 0 || path.empty()) return;
  bool well = true;
  for (;;) {
    if (path == "/") path.clear();
    for (const char* file : {"memory.max", "memory.high", "hugetlb.2MB.max", "hugetlb.1GB.max"}) {
      const std::string full = paths.cgroup + path + "/" + file;
      const auto limit = number_of(full);  // "max": none
      if (!limit || *limit >= budget) continue;
      well = false;
      findings.push_back({Level::kWarn,
                          full + " is " + human_size(*limit) + ", less than the budget of " +
                              human_size(budget) + ": pools stop growing there",
                          "echo max > " + full + ", or lower budget in zeropoold.yaml"});
    }
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos) break;
    path.resize(slash);
  }
  if (well) findings.push_back({Level::kOk, "no cgroup allows less than the budget", ""});
}

}  // namespace

void look_at_limits(const DoctorPaths& paths, const nlohmann::json& daemon, Findings& findings) {
  const std::uint64_t needed =
      number_at(daemon, "clients_limit") * kDescriptorsPerClient + kOwnDescriptors;
  if (const auto files = limit_of(paths, "Max open files"); files && !daemon.empty()) {
    const bool enough = *files >= needed;
    findings.push_back(
        {enough ? Level::kOk : Level::kWarn,
         "zeropoold may open " +
             (*files == kNoLimit ? std::string("any number of") : human_count(*files)) +
             " files; limits.clients needs " + human_count(needed),
         enough ? "" : "systemctl edit zeropoold: LimitNOFILE=65536"});
  }
  if (const auto locked = limit_of(paths, "Max locked memory")) {
    const bool little = *locked < kLittleLocked;
    findings.push_back(
        {little ? Level::kWarn : Level::kOk,
         "locked memory is limited to " +
             (*locked == kNoLimit ? std::string("nothing less than all") : human_size(*locked)) +
             (little ? ": io_uring and RDMA may not register large buffers" : ""),
         little ? "ulimit -l unlimited, or LimitMEMLOCK=infinity" : ""});
  }
  look_at_cgroup(paths, number_at(daemon, "budget_bytes"), findings);
}

}  // namespace zeropool::ctl
