#pragma once
// How much memory there is for us: the machine's, or less where our cgroup says so.
//
// Source: /proc/meminfo, /proc/self/cgroup and the cgroup file systems, under `root` so that a test can bring
// its own.

#include <cstdint>
#include <string>

namespace zeropool::daemon {

struct MachineMemory {
  std::uint64_t total_bytes = 0;   // 0: cannot be told
  std::uint64_t usable_bytes = 0;  // the smaller of total and the cgroup's limit
};

MachineMemory read_machine_memory(const std::string& root = "");

}  // namespace zeropool::daemon
