#pragma once
// Hears from the kernel that memory runs short: stalls of the whole machine and of our cgroup (PSI), and a cgroup that
// has come to its memory.high or memory.max (memory.events), ours or one above it.
//
// Thread safety: the loop thread's.
// Source: /proc/pressure/memory, memory.pressure and memory.events of cgroup v2. What is not there says nothing, and
// is told by sources(); of cgroup v1 only the stalls of the whole machine are heard.
// memory_guard.hpp is the other side of it: that one keeps the daemon from taking what is not there, this one has it
// give back what others need.

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "daemon/event_loop.hpp"
#include "zeropool/lib/unique_fd.hpp"

namespace zeropool::daemon {

enum class PressureSource : std::size_t {
  kStall,   // tasks of the machine stood still for want of memory
  kCgroup,  // the same, tasks of our cgroup
  kHigh,    // a cgroup came to its memory.high
  kMax,     // to its memory.max, or had somebody killed for it
};
inline constexpr std::size_t kPressureSources = 4;
using PressureCounters = std::array<std::uint64_t, kPressureSources>;

// Where to look; a test brings its own.
struct PressurePaths {
  std::string proc = "/proc";
  std::string cgroup = "/sys/fs/cgroup";
  // What epoll says of a PSI file whose trigger has fired. A test's pipe says EPOLLIN.
  std::uint32_t psi_event = 0x002;  // EPOLLPRI
};

// What is heard, and why the rest is not.
struct PressureSources {
  std::vector<std::string> heard;    // paths
  std::vector<std::string> missing;  // "/proc/pressure/memory: No such file or directory"
};

class PressureWatch {
 public:
  PressureWatch(EventLoop& loop, PressurePaths paths, std::function<void(PressureSource)> event);
  ~PressureWatch();
  PressureWatch(const PressureWatch&) = delete;
  PressureWatch& operator=(const PressureWatch&) = delete;

  const PressureSources& sources() const { return sources_; }

 private:
  struct EventFile {
    std::string path;
    int watch = -1;
    std::uint64_t high = 0;
    std::uint64_t max = 0;
  };

  void find_cgroups(std::vector<std::string>& folders) const;
  void open_trigger(const std::string& path, PressureSource source);
  void watch_events(const std::vector<std::string>& folders);
  void read_events();

  EventLoop& loop_;
  const PressurePaths paths_;
  std::function<void(PressureSource)> event_;
  PressureSources sources_;
  std::vector<lib::UniqueFd> triggers_;
  lib::UniqueFd inotify_;
  std::vector<EventFile> files_;
};

}  // namespace zeropool::daemon
