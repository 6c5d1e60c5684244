#pragma once
// Put before everything else of a bench (by -include): a get that takes one from the count and adds nothing to the takes
// (lib/magazine.hpp). So counting is compiled out of the hit path of this one program, and of no library.

#include <cstdint>

#include <zeropool/lib/magazine.hpp>

namespace zeropool::inline v1::lib {

template <>
inline constexpr std::uint64_t kTake<std::atomic> = ~std::uint64_t{0};

}  // namespace zeropool::inline v1::lib

#define ZEROPOOL_BENCH_UNCOUNTED 1
