#include "memory_checkers.hpp"

#ifdef ZEROPOOL_VALGRIND
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wold-style-cast"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wuseless-cast"
#include <valgrind/memcheck.h>
#endif

// Weak: null where the program was not built with AddressSanitizer.
extern "C" {
__attribute__((weak)) void __asan_poison_memory_region(const volatile void* address,
                                                       std::size_t bytes);
__attribute__((weak)) void __asan_unpoison_memory_region(const volatile void* address,
                                                         std::size_t bytes);
}

namespace zeropool::client {

MemoryCheckers memory_checkers() noexcept {
  MemoryCheckers checkers;
  checkers.asan =
      &__asan_poison_memory_region != nullptr && &__asan_unpoison_memory_region != nullptr;
#ifdef ZEROPOOL_VALGRIND
  checkers.valgrind = RUNNING_ON_VALGRIND != 0;
#endif
  return checkers;
}

void MemoryCheckers::close(const void* address, std::size_t bytes) const noexcept {
  if (bytes == 0) return;
  if (asan) __asan_poison_memory_region(address, bytes);
#ifdef ZEROPOOL_VALGRIND
  if (valgrind) VALGRIND_MAKE_MEM_NOACCESS(address, bytes);
#endif
}

// Defined for memcheck, not only addressable: others have written it.
void MemoryCheckers::open(const void* address, std::size_t bytes) const noexcept {
  if (bytes == 0) return;
  if (asan) __asan_unpoison_memory_region(address, bytes);
#ifdef ZEROPOOL_VALGRIND
  if (valgrind) VALGRIND_MAKE_MEM_DEFINED(address, bytes);
#endif
}

}  // namespace zeropool::client

#ifdef ZEROPOOL_VALGRIND
#pragma GCC diagnostic pop
#endif
