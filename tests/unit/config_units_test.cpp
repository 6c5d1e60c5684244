#include "daemon/config_units.hpp"

#include <limits>
#include <string>

#include <doctest/doctest.h>

#include "tests/unit/config_testing.hpp"

using namespace zeropool::daemon;
using namespace zeropool::daemon::config_testing;
using namespace std::chrono_literals;

TEST_SUITE("config units") {
  TEST_CASE("sizes have units of powers of 1024, and fractions that come to whole bytes") {
    CHECK(parse_bytes("0").value == 0);
    CHECK(parse_bytes("4096").value == 4096);
    CHECK(parse_bytes("64B").value == 64);
    CHECK(parse_bytes("64KiB").value == 64 * kKiB);
    CHECK(parse_bytes("64 KiB").value == 64 * kKiB);
    CHECK(parse_bytes("3MiB").value == 3 * kMiB);
    CHECK(parse_bytes("1.5GiB").value == kGiB + kGiB / 2);
    CHECK(parse_bytes("0.5TiB").value == kTiB / 2);
    CHECK(parse_bytes("1.000KiB").value == kKiB);
    CHECK(parse_bytes("18446744073709551615").value == std::numeric_limits<std::uint64_t>::max());
    CHECK(parse_bytes("16777215TiB").value == 16777215 * kTiB);
  }

  TEST_CASE("sizes that are not exactly that are refused") {
    for (const char* text : {"",       " ",     "KiB",   "-1",      "+1", "1e3", "0x10",
                             "1,5GiB", "1.GiB", ".5GiB", "1..5GiB", " 1", "1 ",  "1  KiB",
                             "01KiB",  "00",    "1KiBs", "1 KiB ",  "١",  "nan", "1_000"}) {
      CAPTURE(std::string(text));
      const Parsed<std::uint64_t> result = parse_bytes(text);
      CHECK_FALSE(result.value);
      CHECK_FALSE(result.error.empty());
    }
    CHECK(holds(parse_bytes("1.5B").error, "whole number of bytes"));
    CHECK(holds(parse_bytes("0.0001KiB").error, "whole number of bytes"));
    CHECK(holds(parse_bytes("0.0000000000000000001TiB").error, "whole number of bytes"));
    CHECK(holds(parse_bytes("5%").error, "percentage"));
  }

  TEST_CASE("units of a thousand, and units cut short, are refused with the one to write") {
    for (const char* text : {"1KB", "1kB", "1k", "1K", "1kib", "1KIB", "1kb"}) {
      CAPTURE(std::string(text));
      CHECK(holds(parse_bytes(text).error, "write KiB"));
    }
    CHECK(holds(parse_bytes("1MB").error, "write MiB"));
    CHECK(holds(parse_bytes("1G").error, "write GiB"));
    CHECK(holds(parse_bytes("1tb").error, "write TiB"));
    check_pool_refused("limit: 5MB", "limit", {"'5MB'", "write MiB", "allowed: 1MiB to 64TiB"});
  }

  TEST_CASE("sizes and durations beyond 64 bits are refused, not wrapped") {
    for (const char* text :
         {"18446744073709551616", "16777216TiB", "99999999999999999999999999999999999999999999999",
          "16777215.9999999TiB", "18446744073709551615KiB"}) {
      CAPTURE(std::string(text));
      CHECK_FALSE(parse_bytes(text).value);
    }
    CHECK(holds(parse_bytes("16777216TiB").error, "64 bits"));
    CHECK(holds(parse_duration("9223372036854775808ns").error, "64 bits"));
    CHECK(parse_duration("9223372036854775807ns").value == std::chrono::nanoseconds::max());
    CHECK_FALSE(parse_duration("99999999999999h").value);
    check_pool_refused("reserved: 99999999999999999999TiB", "reserved", {"64 bits"});
    check_refused("limits: {clients: 99999999999999999999999}", 1, 19, "limits.clients",
                  {"out of range", "1 to 65535"});
    check_refused("limits: {clients: 4294967297}", 1, 19, "limits.clients", {"out of range"});
  }

  TEST_CASE("durations need a unit") {
    CHECK(parse_duration("0").value == 0ns);
    CHECK(parse_duration("1ns").value == 1ns);
    CHECK(parse_duration("1us").value == 1us);
    CHECK(parse_duration("1.5ms").value == 1500us);
    CHECK(parse_duration("5 s").value == 5s);
    CHECK(parse_duration("2m").value == 2min);
    CHECK(parse_duration("0.5h").value == 30min);
    CHECK(holds(parse_duration("5").error, "no unit"));
    CHECK(holds(parse_duration("5sec").error, "ns, us, ms, s, m or h"));
    CHECK(holds(parse_duration("1.5ns").error, "nanoseconds"));
    CHECK_FALSE(parse_duration("-1s").value);
    CHECK_FALSE(parse_duration("").value);
    check_pool_refused("wait: {timeout: 5}", "wait.timeout", {"no unit", "allowed: 0 to 1h"});
  }

  TEST_CASE("what is formatted parses to itself") {
    for (std::uint64_t bytes : {std::uint64_t{0}, std::uint64_t{1}, kKiB, kKiB + 1, 3 * kMiB / 2,
                                kGiB, 5 * kTiB, std::numeric_limits<std::uint64_t>::max()}) {
      CHECK(parse_bytes(format_bytes(bytes)).value == bytes);
    }
    for (std::chrono::nanoseconds time : {0ns, 1ns, 1500ns, 60'000'000'000ns}) {
      CHECK(parse_duration(format_duration(time)).value == time);
    }
    for (std::uint64_t hundredths : {1U, 10U, 105U, 1250U, 2500U, 10000U}) {
      const Amount amount = Amount::percent_hundredths(hundredths);
      CHECK(parse_amount(format_amount(amount)).value == amount);
    }
    CHECK(format_bytes(kGiB + kGiB / 2) == "1536MiB");
    CHECK(format_duration(-5ms) == "-5ms");
  }

  TEST_CASE("a percentage is a share of memory, and allowed for the budget only") {
    CHECK(parsed("budget: 25%").budget_bytes(1000) == 250);
    CHECK(parsed("budget: 12.5%").budget_bytes(64 * kGiB) == 8 * kGiB);
    CHECK(parsed("budget: 100%").budget_bytes(std::numeric_limits<std::uint64_t>::max()) ==
          std::numeric_limits<std::uint64_t>::max());
    CHECK(parsed("budget: 2GiB").budget_bytes(1) == 2 * kGiB);
    for (const char* text :
         {"0%", "100.01%", "101%", "1.005%", "-1%", "%", "99999999999999999999%"}) {
      check_refused(std::string("budget: \"") + text + "\"", 1, 9, "budget", {"percentage"});
    }
    check_pool_refused("limit: 25%", "limit", {"'25%'", "percentage", "does not take"});
    check_pool_refused("classes: [1%]", "classes[0]", {"percentage"});
  }
}
