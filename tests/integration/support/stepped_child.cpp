#include "stepped_child.hpp"

#include <cerrno>
#include <signal.h>
#include <stdexcept>
#include <string>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

namespace zeropool::testing {
namespace {

// By a system call of its own: it has taken effect when kill() returns.
void stop_here() { ::kill(::getpid(), SIGSTOP); }

}  // namespace

void SteppedChild::Marks::begin() const { stop_here(); }
void SteppedChild::Marks::end() const { stop_here(); }

bool SteppedChild::permitted() {
  try {
    SteppedChild child([](const Marks& marks) {
      marks.begin();
      marks.end();
    });
    return child.step(1) == 1;
  } catch (const std::exception&) {
    return false;
  }
}

SteppedChild::SteppedChild(const Body& body)
    : child_([&body](Link&) {
        expect(::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0, "PTRACE_TRACEME");
        body(Marks{});
      }) {
  if (const int signal = wait_for_stop(); signal != SIGSTOP) {
    throw std::runtime_error("the child stopped by signal " + std::to_string(signal));
  }
}

int SteppedChild::wait_for_stop() {
  siginfo_t seen{};
  int failed = 0;
  do {
    failed = ::waitid(P_PID, static_cast<id_t>(child_.pid()), &seen, WSTOPPED | WEXITED | WNOWAIT);
  } while (failed != 0 && errno == EINTR);
  if (failed == 0 && (seen.si_code == CLD_TRAPPED || seen.si_code == CLD_STOPPED)) {
    int status = 0;
    ::waitpid(child_.pid(), &status, 0);
    return WSTOPSIG(status);
  }
  const End end = child_.wait();
  throw std::runtime_error("the traced child " + describe(end) + " " + child_.failure());
}

std::uint64_t SteppedChild::step(std::uint64_t count) {
  for (std::uint64_t done = 0; done < count; ++done) {
    if (at_end_) return done;
    if (::ptrace(PTRACE_SINGLESTEP, child_.pid(), nullptr, nullptr) != 0) {
      throw std::runtime_error("PTRACE_SINGLESTEP");
    }
    const int signal = wait_for_stop();
    if (signal == SIGSTOP) {
      at_end_ = true;
      return done;
    }
    if (signal != SIGTRAP) {
      throw std::runtime_error("the child stopped by signal " + std::to_string(signal));
    }
  }
  return count;
}

void SteppedChild::finish() {
  if (at_end_) return;
  if (::ptrace(PTRACE_CONT, child_.pid(), nullptr, nullptr) != 0 || wait_for_stop() != SIGSTOP) {
    throw std::runtime_error("the traced child did not come to its end mark");
  }
  at_end_ = true;
}

}  // namespace zeropool::testing
