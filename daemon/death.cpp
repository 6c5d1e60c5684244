#include "daemon/death.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <poll.h>
#include <sstream>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>
#include <utility>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

namespace zeropool::daemon {
namespace {

constexpr pid_t kNoPidfd = -2;

// The "Pid:" of a pidfd's fdinfo; kNoPidfd for any other descriptor.
pid_t pid_in_fdinfo(int fd) {
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(fd));
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("Pid:", 0) != 0) continue;
    std::istringstream value(line.substr(4));
    pid_t pid = kNoPidfd;
    value >> pid;
    return pid;
  }
  return kNoPidfd;
}

// /proc/PID/stat from its third field on. The second one is the name, in parentheses, with anything in it.
std::string stat_after_name(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  const std::size_t after_name = text.rfind(')');
  return after_name == std::string::npos ? std::string() : text.substr(after_name + 1);
}

// CLOCK_MONOTONIC to time since boot (they differ by what the machine slept).
std::uint64_t since_boot(std::uint64_t at_monotonic_ns) {
  timespec boot{};
  timespec mono{};
  ::clock_gettime(CLOCK_BOOTTIME, &boot);
  ::clock_gettime(CLOCK_MONOTONIC, &mono);
  const auto ns = [](const timespec& t) {
    return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(t.tv_nsec);
  };
  return at_monotonic_ns + (ns(boot) - ns(mono));
}

}  // namespace

pid_t process_of_pidfd(int fd) {
  const pid_t pid = pid_in_fdinfo(fd);
  return pid == kNoPidfd ? -1 : pid;
}

bool is_pidfd(int fd) { return pid_in_fdinfo(fd) != kNoPidfd; }

lib::UniqueFd peer_pidfd(int socket, const Peer& peer, std::vector<lib::UniqueFd>& sent,
                         std::uint64_t connected_ns, std::string& why) {
  int kernels = -1;
  socklen_t bytes = sizeof(kernels);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &kernels, &bytes) == 0 && kernels >= 0) {
    return lib::UniqueFd(kernels);
  }
  for (lib::UniqueFd& candidate : sent) {
    // A peer that we cannot see (pid 0) may only send one that we cannot see either.
    if (pid_in_fdinfo(candidate.get()) == peer.pid) return std::move(candidate);
  }
  if (peer.pid <= 0) {
    why =
        "the client's process is not visible to the daemon (another pid namespace), and it sent no "
        "pidfd";
    return {};
  }
  lib::UniqueFd opened(static_cast<int>(::syscall(SYS_pidfd_open, peer.pid, 0)));
  if (!opened) {
    why = std::string("pidfd_open: ") + std::strerror(errno);
    return {};
  }
  // The pid may have gone to another process since the peer connected: that one started later.
  const std::uint64_t tick = 1'000'000'000U / static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  const std::uint64_t started = process_start_ns(peer.pid);
  if (has_ended(opened.get()) || (started != 0 && started > since_boot(connected_ns) + tick)) {
    why = "the client's process has ended";
    return {};
  }
  return opened;
}

lib::UniqueFd sent_pidfd(std::vector<lib::UniqueFd>& sent, pid_t& pid, std::string& why) {
  for (lib::UniqueFd& candidate : sent) {
    pid = process_of_pidfd(candidate.get());
    if (pid >= 0) return std::move(candidate);
  }
  why = "an attach over another process's connection needs a pidfd, and none came along";
  return {};
}

bool has_ended(int pidfd) noexcept {
  pollfd ended{pidfd, POLLIN, 0};
  return ::poll(&ended, 1, 0) == 1 && ended.revents != 0;
}

lib::UniqueFd open_pidfd(pid_t pid) {
  return lib::UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

bool is_stopped(pid_t pid) {
  if (pid <= 0) return false;
  std::istringstream fields(stat_after_name(pid));
  char state = 0;
  return fields >> state && (state == 'T' || state == 't');
}

std::uint64_t process_start_ns(pid_t pid) {
  std::istringstream fields(stat_after_name(pid));
  std::string skipped;
  for (int field = 3; field < 22; ++field) fields >> skipped;
  std::uint64_t ticks = 0;
  if (!(fields >> ticks)) return 0;
  return ticks * (1'000'000'000U / static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK)));
}

MappingSeen look_for_mapping(pid_t pid, dev_t device, std::uint64_t inode) {
  if (pid <= 0) return MappingSeen::kUnreadable;
  std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
  if (!maps) return MappingSeen::kUnreadable;
  bool any = false;
  for (std::string line; std::getline(maps, line);) {
    any = true;
    // address perms offset device inode name
    unsigned device_major = 0;
    unsigned device_minor = 0;
    unsigned long long found = 0;
    if (std::sscanf(line.c_str(), "%*s %*s %*s %x:%x %llu", &device_major, &device_minor, &found) ==
            3 &&
        found == inode && makedev(device_major, device_minor) == device) {
      return MappingSeen::kPresent;
    }
  }
  if (!any || maps.bad()) return MappingSeen::kUnreadable;
  return MappingSeen::kAbsent;
}

}  // namespace zeropool::daemon
