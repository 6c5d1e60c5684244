#pragma once
// Processes and memory of one repetition: children on CPUs of their own, memory that they share, the probe.
//
// Thread safety: Child is one thread's. What lies in Shared memory is made of atomics.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <new>
#include <sys/types.h>

namespace zeropool_bench {

// This thread, and what it starts, on one CPU.
void run_on(int cpu);

// Zeroed, shared with forked children, every page there; fails the process where there is no memory.
void* map_shared(std::size_t bytes);

template <typename T>
T& shared() {
  return *::new (map_shared(sizeof(T))) T();
}

// A forked process that dies with its parent. Its body ends by returning.
class Child {
 public:
  Child(int cpu, const std::function<void()>& body);
  ~Child();  // waits for its end; fails the process when it ended badly
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

 private:
  pid_t pid_;
};

// A wait for another core's store. Gives the CPU away after a while, for machines with other work than this; soon where
// there are more ends than CPUs.
class Spin {
 public:
  static void more_ends_than_cpus() noexcept { patience = 200; }
  void operator()() noexcept;

 private:
  static inline std::uint32_t patience = 20000;
  std::uint32_t turns_ = 0;
};

// Nanoseconds that a cache line takes from one CPU to the other and back.
double ping_pong_ns(int cpu_a, int cpu_b);

}  // namespace zeropool_bench
