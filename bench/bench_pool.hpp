#pragma once
// The pool that the benchmarks use, and what they are compared with.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <sys/mman.h>

#include <zeropool/zeropool.hpp>

namespace zeropool_bench {

// Opened once, from $ZEROPOOL_SOCKET; ends the program with the sentence when there is no daemon.
inline zeropool::Pool& pool() {
  static zeropool::Pool the_pool = [] {
    auto opened = zeropool::Pool::open("bench");
    if (!opened) {
      std::fprintf(stderr, "zeropool_bench: %s\n", opened.error().sentence.c_str());
      std::exit(1);
    }
    return std::move(*opened);
  }();
  return the_pool;
}

// The bare floor: what any pool must do at least. A thread-local LIFO of pointers, inlined; no owner, no check,
// no counter, one size.
class FloorStack {
 public:
  static FloorStack& instance() {
    static thread_local FloorStack stack;
    return stack;
  }
  void* get() noexcept { return count_ == 0 ? nullptr : slots_[--count_]; }
  void put(void* slot) noexcept { slots_[count_++] = slot; }

 private:
  FloorStack() {
    for (std::byte& byte : memory_) put(&byte);
  }
  std::array<std::byte, 256> memory_{};
  std::array<void*, 256> slots_{};
  std::size_t count_ = 0;
};

// Memory that a forked child shares.
template <typename T>
T* shared_with_children() {
  void* memory =
      ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  return ::new (memory) T();
}

}  // namespace zeropool_bench
