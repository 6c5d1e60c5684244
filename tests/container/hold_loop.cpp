// container_hold_loop PID: holds the first thread of a process still, and no other one, until the process has ended: what a
// loop that is stuck looks like from outside. Ends with 0 when the process has gone.

#include <cstdio>
#include <cstdlib>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/wait.h>

int main(int count, char** arguments) {
  if (count != 2) return 2;
  const pid_t pid = std::atoi(arguments[1]);
  if (::ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) != 0 ||
      ::ptrace(PTRACE_INTERRUPT, pid, nullptr, nullptr) != 0) {
    std::perror("ptrace");
    return 1;
  }
  for (;;) {
    int status = 0;
    if (::waitpid(pid, &status, __WALL) < 0) {
      std::perror("waitpid");
      return 1;
    }
    if (!WIFSTOPPED(status)) return 0;
    std::printf("held\n");
    std::fflush(stdout);
  }
}
