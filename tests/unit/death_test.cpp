#include "daemon/death.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <utility>

#include <doctest/doctest.h>

using namespace zeropool;
using namespace zeropool::daemon;

namespace {

lib::UniqueFd pidfd_of(pid_t pid) {
  return lib::UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

std::uint64_t monotonic_now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(now.tv_nsec);
}

// A child that does nothing until it is killed.
class Sleeper {
 public:
  Sleeper() : pid_(::fork()) {
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) ::pause();
  }
  ~Sleeper() {
    kill();
    ::waitpid(pid_, nullptr, 0);
  }
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;
  pid_t pid() const { return pid_; }
  void kill() const {
    ::kill(pid_, SIGKILL);
    siginfo_t info{};
    ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT);  // its pid is still taken
  }

 private:
  pid_t pid_;
};

// Of a socket without a peer the kernel gives no pidfd: as before SO_PEERPIDFD.
struct OldKernel {
  lib::UniqueFd socket{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  std::string why;
  lib::UniqueFd ask(pid_t pid, std::vector<lib::UniqueFd>& sent, std::uint64_t connected_ns) {
    Peer peer;
    peer.pid = pid;
    return peer_pidfd(socket.get(), peer, sent, connected_ns, why);
  }
  lib::UniqueFd ask(pid_t pid, std::uint64_t connected_ns) {
    std::vector<lib::UniqueFd> none;
    return ask(pid, none, connected_ns);
  }
};

}  // namespace

TEST_CASE("a pidfd tells the end of its process, and never that of one with the same pid later") {
  const Sleeper sleeper;
  const lib::UniqueFd pidfd = pidfd_of(sleeper.pid());
  CHECK(process_of_pidfd(pidfd.get()) == sleeper.pid());
  CHECK_FALSE(has_ended(pidfd.get()));
  ::kill(sleeper.pid(), SIGSTOP);
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(sleeper.pid()), &info, WSTOPPED | WNOWAIT);
  CHECK_FALSE(has_ended(pidfd.get()));  // a stopped process lives
  sleeper.kill();
  CHECK(has_ended(pidfd.get()));
}

TEST_CASE("only a pidfd names a process") {
  const lib::UniqueFd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  CHECK(process_of_pidfd(file.get()) == -1);
  CHECK(process_of_pidfd(-1) == -1);
  lib::UniqueFd gone;
  {
    const Sleeper sleeper;
    gone = pidfd_of(sleeper.pid());
  }
  CHECK(process_of_pidfd(gone.get()) == -1);
  CHECK(has_ended(gone.get()));
}

TEST_CASE("start times tell two processes of one pid apart: later is larger, and nobody is 0") {
  const std::uint64_t mine = process_start_ns(::getpid());
  CHECK(mine > 0);
  CHECK(process_start_ns(::getpid()) == mine);
  const Sleeper sleeper;
  CHECK(process_start_ns(sleeper.pid()) >= mine);
  CHECK(process_start_ns(0) == 0);
  CHECK(process_start_ns(-1) == 0);
  // A name with what the fields are separated by.
  char before[16] = {};
  ::prctl(PR_GET_NAME, before);
  ::prctl(PR_SET_NAME, ") R 1 (2");
  CHECK(process_start_ns(::getpid()) == mine);
  ::prctl(PR_SET_NAME, before);
}

TEST_CASE("the kernel's own pidfd of the peer comes first") {
  int pair[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
  const lib::UniqueFd ours(pair[0]);
  const lib::UniqueFd theirs(pair[1]);
  const Sleeper other;
  Peer peer;
  peer.pid = ::getpid();
  std::vector<lib::UniqueFd> sent;
  sent.push_back(pidfd_of(other.pid()));
  std::string why;
  const lib::UniqueFd pidfd = peer_pidfd(ours.get(), peer, sent, monotonic_now_ns(), why);
  REQUIRE(pidfd);
  CHECK(process_of_pidfd(pidfd.get()) == ::getpid());
}

TEST_CASE("without it, one that was sent is taken if it is of the peer") {
  OldKernel kernel;
  const Sleeper peer;
  const Sleeper other;
  std::vector<lib::UniqueFd> sent;
  sent.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  sent.push_back(pidfd_of(other.pid()));
  sent.push_back(pidfd_of(peer.pid()));
  const int wanted = sent.back().get();
  CHECK(kernel.ask(peer.pid(), sent, monotonic_now_ns()).get() == wanted);
}

TEST_CASE("a peer that is not visible here has to send a pidfd, and not one of somebody visible") {
  OldKernel kernel;
  CHECK_FALSE(kernel.ask(0, monotonic_now_ns()));
  CHECK(kernel.why.find("another pid namespace") != std::string::npos);
  const Sleeper visible;
  std::vector<lib::UniqueFd> sent;
  sent.push_back(pidfd_of(visible.pid()));
  CHECK_FALSE(kernel.ask(0, sent, monotonic_now_ns()));
}

TEST_CASE("a pid that went to a younger process after the peer connected is not the peer") {
  OldKernel kernel;
  const std::uint64_t hour_ns = 3'600'000'000'000U;
  const std::uint64_t before = monotonic_now_ns();
  const Sleeper younger;
  CHECK(kernel.ask(younger.pid(), monotonic_now_ns()));
  const std::uint64_t long_before = before > hour_ns ? before - hour_ns : 1;
  CHECK_FALSE(kernel.ask(younger.pid(), long_before));
  CHECK(kernel.why == "the client's process has ended");
}

TEST_CASE("a peer that has ended is refused") {
  OldKernel kernel;
  const Sleeper peer;
  peer.kill();
  CHECK_FALSE(kernel.ask(peer.pid(), monotonic_now_ns()));
  CHECK(kernel.why == "the client's process has ended");
}

TEST_CASE("a mapping is present, absent, or cannot be looked for: three answers") {
  const lib::UniqueFd file(::memfd_create("segment", MFD_CLOEXEC));
  REQUIRE(::ftruncate(file.get(), 4096) == 0);
  struct stat info {};
  REQUIRE(::fstat(file.get(), &info) == 0);
  CHECK(look_for_mapping(::getpid(), info.st_dev, info.st_ino) == MappingSeen::kAbsent);
  void* memory = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, file.get(), 0);
  REQUIRE(memory != MAP_FAILED);
  CHECK(look_for_mapping(::getpid(), info.st_dev, info.st_ino) == MappingSeen::kPresent);
  // A file of another device, such as a library of a program that was executed, may have the same number.
  CHECK(look_for_mapping(::getpid(), info.st_dev + 1, info.st_ino) == MappingSeen::kAbsent);
  ::munmap(memory, 4096);
  CHECK(look_for_mapping(::getpid(), info.st_dev, info.st_ino) == MappingSeen::kAbsent);
  CHECK(look_for_mapping(0, info.st_dev, info.st_ino) == MappingSeen::kUnreadable);
  const Sleeper ended;
  ended.kill();
  CHECK(look_for_mapping(ended.pid(), info.st_dev, info.st_ino) == MappingSeen::kUnreadable);
}
