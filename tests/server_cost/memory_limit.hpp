#pragma once
// MemoryLimit: processes that may have so much memory together, by the kernel's count: a cgroup of their own (v2: memory.max,
// v1: memory.limit_in_bytes), where this user may make one. Swap counts, too, where it is counted.
//
// Thread safety: one thread's.

#include <cstdint>
#include <string>

namespace zeropool::testing {

class MemoryLimit {
 public:
  explicit MemoryLimit(std::uint64_t bytes);
  ~MemoryLimit();  // the processes are gone by then
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;

  // "cgroup v2 memory.max", "cgroup v1 memory.limit_in_bytes", or "none: ..." and why.
  const std::string& kind() const { return kind_; }
  bool holds() const { return !folder_.empty(); }
  // A process that writes its number there is charged here for all that it gets from then on.
  std::string procs() const { return folder_ + "/cgroup.procs"; }
  // The most that was charged at any time; 0: not known.
  std::uint64_t peak_bytes() const;

 private:
  bool make(const std::string& folder, const std::string& limit_file, std::uint64_t bytes);

  std::string folder_;
  std::string kind_;
  bool v2_ = false;
};

}  // namespace zeropool::testing
