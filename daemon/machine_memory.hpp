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

// Empty where pages of so many bytes are what the tables of the control segment and the budget are counted in; else why
// zeropoold does not start. Kernels for arm64 are built with pages of 4, 16 or 64 KiB.
std::string refuse_kernel_pages(std::uint64_t page_bytes);

}  // namespace zeropool::daemon
