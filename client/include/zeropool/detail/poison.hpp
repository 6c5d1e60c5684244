#pragma once
// After a put the memory is poisoned for AddressSanitizer, where the program is built with it.

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define ZEROPOOL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ZEROPOOL_ASAN 1
#endif
#endif

#ifdef ZEROPOOL_ASAN
extern "C" void __asan_poison_memory_region(void const volatile* address, std::size_t bytes);
extern "C" void __asan_unpoison_memory_region(void const volatile* address, std::size_t bytes);
#endif

namespace zeropool {
inline namespace v1 {
namespace detail {

inline void poison([[maybe_unused]] const void* data, [[maybe_unused]] std::size_t bytes) noexcept {
#ifdef ZEROPOOL_ASAN
  __asan_poison_memory_region(data, bytes);
#endif
}

inline void unpoison([[maybe_unused]] const void* data,
                     [[maybe_unused]] std::size_t bytes) noexcept {
#ifdef ZEROPOOL_ASAN
  __asan_unpoison_memory_region(data, bytes);
#endif
}

}  // namespace detail
}  // namespace v1
}  // namespace zeropool
