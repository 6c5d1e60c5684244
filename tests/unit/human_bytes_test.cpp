#include "daemon/human_bytes.hpp"

#include <cstdint>
#include <limits>

#include <doctest/doctest.h>

#include "daemon/config_units.hpp"

namespace zeropool::daemon {

TEST_CASE("an exact size is in the largest unit that keeps it exact") {
  CHECK(exact_bytes(0) == "0B");
  CHECK(exact_bytes(64) == "64B");
  CHECK(exact_bytes(1024) == "1KiB");
  CHECK(exact_bytes(4160) == "4160B");
  CHECK(exact_bytes(64 * kKiB) == "64KiB");
  CHECK(exact_bytes(1536 * kKiB) == "1536KiB");
  CHECK(exact_bytes(kGiB) == "1GiB");
  CHECK(exact_bytes(kTiB * 1024 * 1024) == "1EiB");
}

TEST_CASE("an exact size is read back as itself by the configuration") {
  for (const std::uint64_t bytes : {std::uint64_t{0}, std::uint64_t{4160}, 3 * kMiB, 64 * kTiB}) {
    CHECK(parse_bytes(exact_bytes(bytes)).value == bytes);
  }
}

TEST_CASE("a rounded size has three digits and a unit") {
  CHECK(rounded_bytes(0) == "0 B");
  CHECK(rounded_bytes(1023) == "1023 B");
  CHECK(rounded_bytes(1024) == "1.00 KiB");
  CHECK(rounded_bytes(1536) == "1.50 KiB");
  CHECK(rounded_bytes(10 * kMiB) == "10.0 MiB");
  CHECK(rounded_bytes(100 * kMiB) == "100 MiB");
  CHECK(rounded_bytes(kMiB - 1) == "1.00 MiB");
  CHECK(rounded_bytes(std::numeric_limits<std::uint64_t>::max()) == "16.0 EiB");
}

}  // namespace zeropool::daemon
