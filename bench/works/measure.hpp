#pragma once
// Time of a body that repeats itself.

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace zeropool_bench {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point begun) {
  return std::chrono::duration<double>(Clock::now() - begun).count();
}

// The compiler has to make what is pointed to.
inline void keep(const void* value) { asm volatile("" : : "r"(value) : "memory"); }

// A size that the compiler does not know.
inline std::size_t hidden(std::size_t bytes) {
  asm volatile("" : "+r"(bytes));
  return bytes;
}

// `body(n)` does something n times. Nanoseconds for one, of the last and longest run; those before it warm up, the first
// in any case: a pool grows then, an allocator asks the system.
template <typename Body>
double ns_each(double seconds, Body body) {
  std::uint64_t n = 64;
  body(n);
  for (;;) {
    const auto begun = Clock::now();
    body(n);
    const double took = seconds_since(begun);
    if (took >= seconds) return took * 1e9 / static_cast<double>(n);
    // Towards `seconds` once it is known how long one takes, and never more than eight times at once.
    const double wanted = took > 1e-6 ? 1.2 * seconds / took : 8;
    n = static_cast<std::uint64_t>(static_cast<double>(n) * (wanted > 8 ? 8 : wanted)) + 1;
  }
}

}  // namespace zeropool_bench
