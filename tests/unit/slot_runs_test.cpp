#include "daemon/slot_runs.hpp"

#include <random>
#include <set>

#include <doctest/doctest.h>

using zeropool::daemon::SlotRange;
using zeropool::daemon::SlotRuns;

TEST_CASE("runs of slots say the same as a set of them, whatever is added and removed") {
  constexpr std::uint32_t kSlots = 40;
  std::mt19937 engine(11);
  const auto below = [&](std::uint32_t bound) {
    return static_cast<std::uint32_t>(engine() % bound);
  };
  for (int round = 0; round < 300; ++round) {
    SlotRuns runs;
    std::set<std::uint32_t> set;
    for (int step = 0; step < 60; ++step) {
      if (below(4) != 0) {
        const std::uint32_t slot = below(kSlots);
        REQUIRE(runs.add(slot) == set.insert(slot).second);
      } else {
        const std::uint32_t begin = below(kSlots);
        const std::uint32_t end = begin + below(8);
        runs.remove({begin, end});
        set.erase(set.lower_bound(begin), set.lower_bound(end));
      }
      REQUIRE(runs.count() == set.size());
      REQUIRE(runs.empty() == set.empty());
      for (std::uint32_t slot = 0; slot < kSlots; ++slot) {
        REQUIRE(runs.contains(slot) == set.contains(slot));
        const SlotRange next = runs.next(slot);
        const auto first = set.lower_bound(slot);
        REQUIRE(next.empty() == (first == set.end()));
        if (next.empty()) continue;
        REQUIRE(next.begin == *first);
        for (std::uint32_t in = next.begin; in < next.end; ++in) REQUIRE(set.contains(in));
        REQUIRE_FALSE(set.contains(next.end));  // as long as it can be
        REQUIRE(runs.touches({slot, slot + 3}) == (next.begin < slot + 3));
        REQUIRE_FALSE(runs.touches({slot, slot}));
      }
    }
  }
}
