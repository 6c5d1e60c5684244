#pragma once
// How much ordinary memory may still be taken on a node and in our cgroup, less a reserve: a tmpfs
// commit past
// it would wake the OOM killer, which may kill a bystander.
//
// Thread safety: one thread at a time (the commit thread's).
// Source: nodeN/meminfo, /proc/meminfo, memory.max and memory.current of cgroup v2, or v1's files,
// at every
// level from our own cgroup up. Files that are missing limit nothing.

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace zeropool::daemon {

// Where to look; a test brings its own.
struct MemoryGuardPaths {
  std::string nodes = "/sys/devices/system/node";
  std::string proc = "/proc";
  std::string cgroup = "/sys/fs/cgroup";
};

class MemoryGuard {
 public:
  explicit MemoryGuard(MemoryGuardPaths paths = {});

  // Whether `bytes` more on node `node` leave the reserve alone; if so they count as taken.
  bool take(std::uint32_t node, std::uint64_t bytes);
  // What may still be taken, by the files as they are now.
  std::uint64_t headroom(std::uint32_t node) const;

 private:
  struct Reading {
    std::chrono::steady_clock::time_point at;
    std::uint64_t allowance = 0;  // bytes that need no new reading
  };
  struct CgroupFiles {
    std::string limit;
    std::string soft_limit;  // empty: none
    std::string usage;
    std::string statistics;
  };

  void find_cgroups();
  std::uint64_t node_headroom(std::uint32_t node) const;
  std::uint64_t cgroup_headroom() const;

  MemoryGuardPaths paths_;
  std::vector<CgroupFiles> cgroups_;
  std::map<std::uint32_t, Reading> readings_;
};

}  // namespace zeropool::daemon
