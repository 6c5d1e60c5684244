#include "client/src/cache_size.hpp"

#include <cstdint>

#include <doctest/doctest.h>

using zeropool::client::CacheSize;

namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::uint32_t kMost = 6;

}  // namespace

TEST_CASE("a new thread keeps no spares, and one more each time that it comes soon again") {
  CacheSize size;
  std::uint32_t limit = 0;
  std::int64_t now = 1'000 * kMs;
  CHECK(size.visit(now, 0, 0, kMost, limit) == 0);
  CHECK(limit == 0);
  for (std::uint32_t visit = 1; visit < 10; ++visit) {
    size.visit(now += kMs, visit * 60, limit, kMost, limit);
    CHECK(limit == std::min(visit, kMost));
  }
}

TEST_CASE("a thread that its own magazines have served all the while has not come late") {
  CacheSize size;
  std::uint32_t limit = 3;
  size.visit(1'000 * kMs, 0, 0, kMost, limit);
  size.visit(61'000 * kMs, 60'000, 0, kMost, limit);  // a get a millisecond for a minute
  CHECK(limit == 4);
  CHECK_FALSE(size.keeps_nothing);
}

TEST_CASE("who comes late keeps half, then nothing; who comes back in time keeps something again") {
  CacheSize size;
  std::uint32_t limit = 5;
  std::int64_t now = 1'000 * kMs;
  size.visit(now, 0, 0, kMost, limit);
  std::uint64_t operations = 0;
  for (const std::uint32_t left : {2U, 1U, 0U}) {
    size.visit(now += 1'000 * kMs, ++operations, 0, kMost, limit);
    CHECK(limit == left);
    CHECK_FALSE(size.keeps_nothing);
  }
  size.visit(now += 1'000 * kMs, ++operations, 0, kMost, limit);
  CHECK(size.keeps_nothing);
  size.visit(now += kMs, ++operations, 0, kMost, limit);
  CHECK(size.keeps_nothing);
  size.visit(now += kMs, ++operations, 0, kMost, limit);
  CHECK_FALSE(size.keeps_nothing);
  CHECK(limit == 0);  // slow start once more
}

TEST_CASE("spares that were not touched for an interval go back, those that were stay") {
  CacheSize size;
  std::uint32_t limit = 6;
  std::int64_t now = 1'000 * kMs;
  std::uint64_t operations = 0;
  size.visit(now, operations, 6, kMost, limit);
  for (int i = 0; i < 9; ++i) size.visit(now += 100 * kMs, operations += 60, 6, kMost, limit);
  size.took_spare(5);
  size.took_spare(4);
  CHECK(size.visit(now += 100 * kMs, operations += 60, 6, kMost, limit) == 4);
  CHECK(limit == 2);
}

TEST_CASE("a smaller thread_cache sends spares back at the next visit") {
  CacheSize size;
  std::uint32_t limit = 6;
  size.visit(1'000 * kMs, 0, 6, kMost, limit);
  CHECK(size.visit(1'001 * kMs, 60, 6, 2, limit) == 4);
  CHECK(limit == 2);
}

TEST_CASE("a clock that stands still and counters that wrap harm nothing") {
  CacheSize size;
  std::uint32_t limit = 0;
  size.visit(5, ~std::uint64_t{0}, 0, kMost, limit);
  CHECK(size.visit(5, 10, 0, kMost, limit) == 0);
  CHECK(limit <= kMost);
  CHECK(size.visit(INT64_MAX, 9, 3, 0, limit) == 3);
  CHECK(limit == 0);
}
