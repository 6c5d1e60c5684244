#pragma once
// What a crash costs those who live: the figures of docs/crash-safety.md.

#include <algorithm>
#include <cstdint>
#include <new>
#include <stdexcept>
#include <sys/mman.h>
#include <time.h>
#include <vector>

namespace zeropool_bench {

// P11: a client that holds many slots is killed; how long its reclaim takes, and what others notice.
void bench_reclaim();
// The daemon is killed while gets need it; how many fail, how long orders wait.
void bench_daemon_kills();

inline std::uint64_t now_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

// Memory that forked children share, for the life of the program.
template <typename T>
T& shared_with_children() {
  void* memory =
      ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("no memory to share with children");
  return *::new (memory) T();
}

inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}
inline double largest(const std::vector<double>& values) {
  return values.empty() ? 0 : *std::max_element(values.begin(), values.end());
}

}  // namespace zeropool_bench
