#pragma once
// AddressSanitizer and Valgrind's memcheck, where this process runs under one of them: memory that must not be
// touched is made known to it. The library itself need not be built for either.
//
// Thread safety: as memory itself: whoever holds a range may close and open it.

#include <cstddef>

namespace zeropool::client {

struct MemoryCheckers {
  bool asan = false;      // the process has AddressSanitizer's runtime
  bool valgrind = false;  // the process runs under Valgrind

  bool any() const noexcept { return asan || valgrind; }
  // A touch is an error from now on; is none any more.
  void close(const void* address, std::size_t bytes) const noexcept;
  void open(const void* address, std::size_t bytes) const noexcept;
};

// What this process runs under.
MemoryCheckers memory_checkers() noexcept;

}  // namespace zeropool::client
