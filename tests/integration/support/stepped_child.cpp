#include "stepped_child.hpp"

#include <cerrno>
#include <signal.h>
#include <stdexcept>
#include <string>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

namespace zeropool::testing {
namespace {

// By a system call of its own: it has taken effect when kill() returns.
void stop_here() { ::kill(::getpid(), SIGSTOP); }

// Breakpoints are made for x86-64 only; elsewhere every instruction is a step.
#if defined(__x86_64__)

user_regs_struct registers_of(pid_t pid) {
  user_regs_struct registers{};
  if (::ptrace(PTRACE_GETREGS, pid, nullptr, &registers) != 0) {
    throw std::runtime_error("PTRACE_GETREGS");
  }
  return registers;
}

std::uintptr_t program_counter(pid_t pid) { return registers_of(pid).rip; }

class Breakpoint {
 public:
  Breakpoint(pid_t pid, std::uintptr_t place) : pid_(pid), place_(place) {}
  bool set() {
    errno = 0;
    word_ = ::ptrace(PTRACE_PEEKTEXT, pid_, place_, nullptr);
    return errno == 0 && ::ptrace(PTRACE_POKETEXT, pid_, place_, (word_ & ~0xffL) | 0xcc) == 0;
  }
  // After the child has stopped at it: the instruction is as it was, and the next.
  bool take_back() {
    user_regs_struct registers = registers_of(pid_);
    if (registers.rip != place_ + 1) return false;
    registers.rip = place_;
    return ::ptrace(PTRACE_POKETEXT, pid_, place_, word_) == 0 &&
           ::ptrace(PTRACE_SETREGS, pid_, nullptr, &registers) == 0;
  }

 private:
  pid_t pid_;
  std::uintptr_t place_;
  long word_ = 0;
};

#else

std::uintptr_t program_counter(pid_t) { return 0; }

struct Breakpoint {
  Breakpoint(pid_t, std::uintptr_t) {}
  bool set() { return false; }
  bool take_back() { return false; }
};

#endif

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

bool SteppedChild::step_once(bool whole_call) {
  if (at_end_) return false;
  const auto request = whole_call ? PTRACE_SYSCALL : PTRACE_SINGLESTEP;
  if (::ptrace(request, child_.pid(), nullptr, nullptr) != 0) {
    throw std::runtime_error("the child cannot be stepped");
  }
  const int signal = wait_for_stop();
  at_end_ = signal == SIGSTOP;
  if (!at_end_ && signal != SIGTRAP) {
    throw std::runtime_error("the child stopped by signal " + std::to_string(signal));
  }
  return !at_end_;
}

std::uint64_t SteppedChild::step(std::uint64_t count) {
  std::uint64_t done = 0;
  while (done < count && step_once()) ++done;
  return done;
}

std::uint64_t SteppedChild::step_calls(std::uint64_t count) {
  std::uint64_t done = 0;
  while (done < count && step_once(true)) ++done;
  return done;
}

std::vector<std::uintptr_t> SteppedChild::trace() {
  std::vector<std::uintptr_t> places;
  do {
    places.push_back(program_counter(child_.pid()));
  } while (step_once());
  return places;
}

bool SteppedChild::run_to(std::uintptr_t place) {
  Breakpoint breakpoint(child_.pid(), place);
  if (!breakpoint.set()) return false;
  if (::ptrace(PTRACE_CONT, child_.pid(), nullptr, nullptr) != 0) {
    throw std::runtime_error("PTRACE_CONT");
  }
  const int signal = wait_for_stop();
  at_end_ = signal == SIGSTOP;
  if (at_end_) return true;
  if (signal != SIGTRAP || !breakpoint.take_back()) {
    throw std::runtime_error("the child stopped by signal " + std::to_string(signal));
  }
  return true;
}

void SteppedChild::finish() {
  if (at_end_) return;
  if (::ptrace(PTRACE_CONT, child_.pid(), nullptr, nullptr) != 0 || wait_for_stop() != SIGSTOP) {
    throw std::runtime_error("the traced child did not come to its end mark");
  }
  at_end_ = true;
}

}  // namespace zeropool::testing
