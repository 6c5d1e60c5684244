#include "pipeline/child_process.hpp"

#include <cerrno>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>
#include <vector>

namespace pipeline {
namespace {

// Between fork and exec: async-signal-safe calls only.
[[noreturn]] void become(char* const* arguments, int control_fd, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  ::signal(SIGINT, SIG_IGN);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::fcntl(control_fd, F_SETFD, 0);
  ::execv("/proc/self/exe", arguments);
  ::_exit(127);
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

}  // namespace

ChildProcess::ChildProcess(const Options& options, Role role, std::uint32_t index,
                           std::uint32_t incarnation)
    : role_(role), index_(index), incarnation_(incarnation) {
  auto [mine, its] = PacketSocket::pair();
  std::vector<std::string> texts = child_arguments(options, role, index, its.fd());
  std::vector<char*> arguments;
  for (std::string& text : texts) arguments.push_back(text.data());
  arguments.push_back(nullptr);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid_ == 0) become(arguments.data(), its.fd(), parent);
  socket_ = std::move(mine);
}

ChildProcess::~ChildProcess() {
  if (reaped_) return;
  kill();
  reap();
}

std::string ChildProcess::name() const {
  std::string text = std::string(role_name(role_)) + " " + std::to_string(index_);
  if (incarnation_ > 0) text += " (replacement)";
  return text;
}

void ChildProcess::kill() {
  killed_ = true;
  ::kill(pid_, SIGKILL);
}

void ChildProcess::reap() {
  socket_.close();
  rusage usage{};
  while (::wait4(pid_, &status_, 0, &usage) < 0 && errno == EINTR) {
  }
  reaped_ = true;
  ended_ = Clock::now();
  cpu_seconds_ = seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

bool ChildProcess::exited_well() const {
  return final && WIFEXITED(status_) && WEXITSTATUS(status_) == 0;
}

std::string ChildProcess::end_text() const {
  if (WIFSIGNALED(status_)) return "was killed by signal " + std::to_string(WTERMSIG(status_));
  return "exited with status " + std::to_string(WEXITSTATUS(status_));
}

}  // namespace pipeline
