#include <cstdint>

#include <doctest/doctest.h>

#include <zeropool/lib/control_plan.hpp>

// The same file on every machine: an arm64 client and an x86-64 one mean the same bytes.
TEST_CASE("layout version 1 has one hash, on every architecture") {
  CHECK(zeropool::lib::layout_hash() == 0x9a93f3a5e6c53e86ULL);
}
