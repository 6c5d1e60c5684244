// P7: what counting costs a hit pair. One round: nanoseconds of a get and a put, for 4 KiB and 64 KiB, to standard output.
// Compiled twice: as it is, and with uncounted.hpp. scripts/bench --metrics-cost runs the two in turn.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>

#include <zeropool/zeropool.hpp>

namespace {

constexpr int kPairs = 100'000;  // short, so that some runs are undisturbed
constexpr int kRuns = 400;

// Of the fastest of some runs: what else the machine does only adds.
double pair_ns(zeropool::Pool& pool, std::size_t size) {
  volatile std::size_t unknown = size;
  const std::size_t bytes = unknown;
  double best = 1e9;
  for (int run = 0; run < kRuns; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    for (int pair = 0; pair < kPairs; ++pair) {
      zeropool::Buffer buffer = pool.get(bytes);
      void* data = buffer.data();
      asm volatile("" : : "r"(data) : "memory");
    }
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
    best = took.count() / kPairs < best ? took.count() / kPairs : best;
  }
  return best;
}

}  // namespace

int main() {
  auto pool = zeropool::Pool::open("bench");
  if (!pool) {
    std::fprintf(stderr, "zeropool_metrics_cost: %s\n", pool.error().sentence.c_str());
    return 1;
  }
  const double small = pair_ns(*pool, 4096);
  const double large = pair_ns(*pool, 65536);
  // That counting is there, or not, is seen and not believed.
  const std::uint64_t hits = pool->stats().tls_hits;
#ifdef ZEROPOOL_BENCH_UNCOUNTED
  const bool as_said = hits < 1000;
#else
  const bool as_said = hits > std::uint64_t{kPairs};
#endif
  if (!as_said) {
    std::fprintf(stderr,
                 "zeropool_metrics_cost: %llu hits were counted: compiled otherwise than named\n",
                 static_cast<unsigned long long>(hits));
    return 1;
  }
  std::printf("%.3f %.3f\n", small, large);
  return 0;
}
