#include <cstdio>

#include "tests/integration/support/greedy_crowd.hpp"
#include "waiting_bench.hpp"

namespace zeropool_bench {

void bench_fairness(std::chrono::seconds time) {
  constexpr std::size_t kClients = 16;
  constexpr std::size_t kBuffers = 4;
  const auto figures = zeropool::testing::run_greedy_crowd(kClients, kBuffers, time);
  std::printf("fairness, %zu greedy clients, %zu buffers, %lld s: %llu gets, %llu failed\n",
              kClients, kBuffers, static_cast<long long>(time.count()),
              static_cast<unsigned long long>(figures.gets()),
              static_cast<unsigned long long>(figures.failed()));
  std::printf("     a client got %llu to %llu: %.1f %% apart (goal: 10 %%); longest wait %.1f ms\n",
              static_cast<unsigned long long>(figures.fewest_gets()),
              static_cast<unsigned long long>(figures.most_gets()), figures.spread() * 100,
              static_cast<double>(figures.longest_wait_ns()) * 1e-6);
}

}  // namespace zeropool_bench
