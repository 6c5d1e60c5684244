#pragma once
// Put before everything else of a bench (by -include): a count_one that counts nothing, and that the hit path prefers to
// the library's own, which is a template. So counting is compiled out of this one program, and of no library.

#include <atomic>
#include <cstdint>

namespace zeropool::inline v1::lib {

inline void count_one(std::atomic<std::uint64_t>&) noexcept {}

}  // namespace zeropool::inline v1::lib

#define ZEROPOOL_BENCH_UNCOUNTED 1
