#include "child_process.hpp"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdexcept>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

namespace zeropool::testing {
namespace {

constexpr int kFailed = 97;

[[noreturn]] void refuse(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

void expect(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error(what);
}

void Link::send_bytes(const void* bytes, std::size_t count) {
  if (::send(fd_, bytes, count, MSG_NOSIGNAL) != static_cast<ssize_t>(count)) {
    refuse("the other side of the link");
  }
}

void Link::receive_bytes(void* bytes, std::size_t count, std::chrono::milliseconds limit) {
  pollfd entry{fd_, POLLIN, 0};
  const auto wait = static_cast<int>(std::min<long long>(limit.count(), INT_MAX));
  int ready = 0;
  do {
    ready = ::poll(&entry, 1, wait);
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) throw std::runtime_error("the other side of the link said nothing in time");
  const ssize_t got = ::recv(fd_, bytes, count, MSG_TRUNC);
  if (got == 0) throw std::runtime_error("the other side of the link has ended");
  if (got != static_cast<ssize_t>(count)) {
    throw std::runtime_error("the link brought " + std::to_string(got) + " bytes, not " +
                             std::to_string(count));
  }
}

ChildProcess::ChildProcess(const Body& body) {
  int link[2];
  int failure[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link) != 0) refuse("socketpair");
  if (::pipe2(failure, O_CLOEXEC) != 0) refuse("pipe");
  std::fflush(nullptr);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(kFailed);
    ::signal(SIGSEGV, SIG_DFL);  // not the parent's handlers: a crash here is this child's
    ::signal(SIGBUS, SIG_DFL);
    ::signal(SIGABRT, SIG_DFL);
    ::close(link[0]);
    ::close(failure[0]);
    int status = 0;
    try {
      Link parent_link(link[1]);
      body(parent_link);
    } catch (const std::exception& error) {
      status = kFailed;
      if (::write(failure[1], error.what(), std::strlen(error.what())) < 0) status = kFailed + 1;
    }
    std::fflush(nullptr);
    ::_exit(status);
  }
  ::close(link[1]);
  ::close(failure[1]);
  link_ = Link(link[0]);
  failure_fd_ = failure[0];
  if (pid_ < 0) refuse("fork");
}

ChildProcess::~ChildProcess() {
  if (!end_) kill();
  ::close(link_.fd());
  ::close(failure_fd_);
}

void ChildProcess::send_signal(int signal) {
  if (!end_) ::kill(pid_, signal);
}

End ChildProcess::wait(std::chrono::milliseconds limit) {
  if (end_) return *end_;
  end_ = wait_for_child(pid_, limit);
  if (!end_) {
    ::kill(pid_, SIGKILL);
    end_ = wait_for_child(pid_, std::chrono::seconds(30)).value_or(End{});
    end_->timed_out = true;
  }
  // Grandchildren may hold the other end: take what is there.
  ::fcntl(failure_fd_, F_SETFL, O_NONBLOCK);
  char text[4096];
  const ssize_t got = ::read(failure_fd_, text, sizeof(text));
  if (got > 0) failure_.assign(text, static_cast<std::size_t>(got));
  return *end_;
}

End ChildProcess::kill() {
  send_signal(SIGKILL);
  return wait(std::chrono::seconds(30));
}

}  // namespace zeropool::testing
