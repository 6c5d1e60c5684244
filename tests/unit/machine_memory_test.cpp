#include "daemon/machine_memory.hpp"

#include <cstdint>
#include <string>

#include <doctest/doctest.h>

using zeropool::daemon::refuse_kernel_pages;

TEST_CASE("a kernel whose pages are not 4 KiB is refused, with what to do") {
  CHECK(refuse_kernel_pages(4096) == "");
  for (const std::uint64_t bytes : {0ULL, 16384ULL, 65536ULL}) {
    const std::string why = refuse_kernel_pages(bytes);
    CAPTURE(why);
    CHECK(why.find(std::to_string(bytes) + " bytes") != std::string::npos);
    CHECK(why.find("boot a kernel") != std::string::npos);
  }
}
