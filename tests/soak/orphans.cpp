#include "orphans.hpp"

#include <cerrno>
#include <fstream>
#include <signal.h>
#include <string>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace zeropool::soak {
namespace {

std::vector<pid_t> children() {
  std::ifstream list("/proc/self/task/" + std::to_string(::getpid()) + "/children");
  std::vector<pid_t> pids;
  for (pid_t pid = 0; list >> pid;) pids.push_back(pid);
  return pids;
}

}  // namespace

void adopt_orphans() { ::prctl(PR_SET_CHILD_SUBREAPER, 1); }

void bury_orphans(const std::function<bool(pid_t)>& known) {
  for (const pid_t pid : children()) {
    if (!known(pid)) ::waitpid(pid, nullptr, WNOHANG);
  }
}

void end_orphans() {
  for (const pid_t pid : children()) ::kill(pid, SIGKILL);
  while (::waitpid(-1, nullptr, 0) > 0 || errno == EINTR) {
  }
}

}  // namespace zeropool::soak
