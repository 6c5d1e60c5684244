#include "daemon/counter_floor.hpp"

#include <doctest/doctest.h>

using namespace zeropool::daemon;

TEST_CASE("a figure that falls by what threads are in the middle of waits until it is reached") {
  CounterFloor floor;
  const auto said = [&](std::uint64_t hits, std::uint64_t puts) {
    RingStatistics ring;
    ring.tls_hits = hits;
    ring.puts = puts;
    floor.raise(1, 2, ring);
    return ring;
  };
  CHECK(said(100, 90).puts == 90);
  CHECK(said(150, 80).puts == 90);
  CHECK(said(150, 80).tls_hits == 150);
  CHECK(said(151, 95).puts == 95);
  CHECK(said(40, 95).tls_hits == 151);  // 111 of 2 x 59
  CHECK(said(10, 95).tls_hits == 10);   // no such difference: counted anew
}
