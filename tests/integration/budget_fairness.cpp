// Sixteen greedy clients share what is left of a spent budget. Thirty seconds of it: scripts/bench --fairness.

#include <chrono>

#include <doctest/doctest.h>

#include "support/greedy_crowd.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;

TEST_CASE("sixteen greedy clients get the same within a tenth, and nobody waits for long") {
  const CrowdFigures figures = run_greedy_crowd(16, 4, 6s);
  MESSAGE(figures.gets() << " gets, each client " << figures.fewest_gets() << " to "
                         << figures.most_gets() << "; longest wait "
                         << figures.longest_wait_ns() / 1000 << " us");
  CHECK(figures.failed() == 0);
  CHECK(figures.fewest_gets() > 100);
  CHECK(figures.spread() <= 0.10);
  CHECK(figures.longest_wait_ns() < 1'000'000'000);
}
