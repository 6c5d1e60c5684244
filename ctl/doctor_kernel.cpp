// System calls that the daemon lives on, and the pressure that it hears of: here, and by the daemon's own account.

#include <cerrno>
#include <cstring>
#include <linux/membarrier.h>
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ctl/doctor.hpp"
#include "ctl/render.hpp"
#include "ctl/table.hpp"

namespace zeropool::ctl {

Kernel probe_kernel() {
  Kernel kernel;
  // This thread's policy as it is by default: no change.
  if (::syscall(SYS_set_mempolicy, MPOL_DEFAULT, nullptr, 0UL) != 0) kernel.mempolicy = errno;
  const long commands = ::syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0U, 0);
  if (commands < 0) {
    kernel.membarrier = errno;
  } else if ((commands & MEMBARRIER_CMD_GLOBAL_EXPEDITED) == 0) {
    kernel.membarrier = ENOSYS;
  }
  const long fd = ::syscall(SYS_pidfd_open, ::getpid(), 0U);
  if (fd < 0) {
    kernel.pidfd = errno;
  } else {
    ::close(static_cast<int>(fd));
  }
  return kernel;
}

void look_at_kernel(const Kernel& kernel, const nlohmann::json& daemon, Findings& findings) {
  const auto said = [&](int error, const char* name, const char* without, const char* command) {
    if (error == 0) {
      findings.push_back({Level::kOk, std::string(name) + " is allowed", ""});
    } else {
      findings.push_back(
          {Level::kBad, std::string(name) + ": " + std::strerror(error) + ": " + without, command});
    }
  };
  const int mempolicy = truth_at(daemon, "mempolicy_refused") ? EPERM : kernel.mempolicy;
  if (mempolicy != ENOSYS) {  // a kernel without NUMA has no such call, and no need of it
    said(mempolicy, "set_mempolicy", "memory may come from any node",
         "allow set_mempolicy in the container's seccomp profile (docker run --cap-add SYS_NICE)");
  }
  said(kernel.membarrier, "membarrier", "caches of stopped threads cannot be taken back",
       "allow membarrier in the seccomp profile; a kernel from 4.16 on has it");
  for (const auto& missing : list_at(daemon, "pressure_missing")) {
    if (!missing.is_string()) continue;
    findings.push_back({Level::kWarn,
                        "memory pressure is not heard from " +
                            printable(missing.get<std::string>()) +
                            ": cold memory is not given back before others are killed",
                        "boot with psi=1 (CONFIG_PSI), or let the container see its own cgroup"});
  }
  said(kernel.pidfd, "pidfd_open", "zeropoold cannot tell that a client has died",
       "allow pidfd_open in the seccomp profile; a kernel from 5.3 on has it");
}

}  // namespace zeropool::ctl
