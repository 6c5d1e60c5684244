// Files that nobody wrote in good faith, or that are no text at all.
#include <string>
#include <string_view>

#include <doctest/doctest.h>

#include "daemon/config.hpp"
#include "daemon/config_keys.hpp"
#include "tests/unit/config_testing.hpp"

using namespace zeropool::daemon;
using namespace zeropool::daemon::config_testing;

TEST_SUITE("config from hostile files") {
  TEST_CASE("broken YAML is refused at its place") {
    for (const char* text : {"a: b: c\n",
                             "socket: {path: /x\n",
                             "[",
                             "log: \"open",
                             "a:\n\t- b\n",
                             "{a: 1",
                             "%YAML 2.0\n---\n",
                             "*nowhere",
                             "log: {level: *nowhere}",
                             "key: [a, b}\n",
                             "&a &b c",
                             "!!",
                             "a: 'x",
                             "? ",
                             ": ",
                             "- a\nb: c\n",
                             "\"\\xZZ\"",
                             "@",
                             "`",
                             "---\n---\n---\n"}) {
      CAPTURE(std::string(text));
      const ConfigOutcome outcome = parse(text);
      CHECK_FALSE(outcome.ok());
      REQUIRE_FALSE(outcome.errors.empty());
    }
    check_refused("log: {level: info}\nsocket: {path: ]\n", 2, 16, "", {"not valid YAML"});
  }

  TEST_CASE("a second document and tags are refused") {
    check_refused("log: {level: info}\n---\nlog: {level: off}\n", 2, 1, "", {"second document"});
    check_refused("budget: !!str 1GiB\n", 1, 9, "", {"tag"});
    check_refused("log: !x {level: info}\n", 1, 6, "", {"tag"});
  }

  TEST_CASE("aliases stand for what they name") {
    const Config config = parsed(
        "pools:\n  a: &share {limit: 1GiB, classes: &c [4KiB]}\n  b: *share\n"
        "  d: {classes: *c}\n");
    REQUIRE(config.pools.size() == 3);
    CHECK(config.pools[1].limit_bytes == kGiB);
    CHECK(config.pools[2].classes == std::vector<std::uint64_t>{4096});
    check_refused("pools: &a {b: *a}", 1, 15, "", {"alias inside"});
  }

  TEST_CASE("alias bombs stop at a bound on nodes and on text") {
    std::string nodes = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 20; ++i) {
      const std::string last = "*a" + std::to_string(i - 1);
      nodes += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + last;
      for (int j = 1; j < 10; ++j) nodes += ", " + last;
      nodes += "]\n";
    }
    ConfigOutcome outcome = parse(nodes);
    REQUIRE(outcome.errors.size() == 1);
    CHECK(holds(outcome.errors[0].message, "more than 50000 keys and values"));
    CHECK(outcome.errors[0].line == 5);

    std::string text = "a: &a " + std::string(200'000, 'x') + "\nb: [*a, *a, *a, *a, *a, *a]\n";
    outcome = parse(text);
    REQUIRE(outcome.errors.size() == 1);
    CHECK(holds(outcome.errors[0].message, "once aliases are expanded"));
    CHECK(outcome.errors[0].line == 2);
  }

  TEST_CASE("deep nesting stops at a bound") {
    const auto deep = [](std::size_t levels, char open) { return std::string(levels, open); };
    const ConfigOutcome outcome = parse(deep(100'000, '['));
    REQUIRE(outcome.errors.size() == 1);
    CHECK(holds(outcome.errors[0].message, "nested deeper than 32"));
    CHECK_FALSE(parse(deep(kMaxConfigFileBytes, '[')).ok());
    CHECK_FALSE(parse(deep(kMaxConfigFileBytes, '{')).ok());
    std::string block;
    for (int i = 0; i < 500; ++i) block += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
    CHECK_FALSE(parse(block).ok());
    std::string dashes;
    for (int i = 0; i < 100'000; ++i) dashes += "- ";
    CHECK_FALSE(parse(dashes).ok());
    CHECK_FALSE(parse(deep(100'000, '?')).ok());
  }

  TEST_CASE("a file above 1MiB is refused, one of 1MiB is read") {
    std::string text = "log: {level: warn}\n";
    while (text.size() + 64 <= kMaxConfigFileBytes) text += "#" + std::string(62, 'x') + "\n";
    text += "#" + std::string(kMaxConfigFileBytes - text.size() - 1, 'x');
    REQUIRE(text.size() == kMaxConfigFileBytes);
    CHECK(parsed(text).log.level == "warn");
    check_refused(text + "x", 0, 0, "", {"larger than 1MiB"});
  }

  TEST_CASE("bytes that are not UTF-8 are refused at their place") {
    for (const char* bytes :
         {"\xFF", "\xC3", "\x80", "\xC0\xAF", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80",
          "\xF8\x88\x80\x80\x80", "\xE2\x82", "\xF0\x9F\x98"}) {
      check_refused("log:\n  level: " + std::string(bytes), 2, 10, "", {"not UTF-8"});
    }
    check_refused("# \xC3\xA4\xC3\xA4 \xFF", 1, 6, "", {"0xFF"});
    CHECK(parse("# gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80\n").ok());
    CHECK_FALSE(parse(std::string_view("\xFF\xFEl\0o\0", 6)).ok());
  }

  TEST_CASE("columns count characters, also after ones of many bytes") {
    check_refused("{\"\xC3\xA4\": 1, log: {}}", 1, 2, "\xC3\xA4", {"unknown key"});
    check_refused("{socket: {group: \"\xF0\x9F\x98\x80\"}, x: 1}", 1, 24, "x", {"unknown key"});
  }

  TEST_CASE("NUL bytes and control characters are refused at their place") {
    check_refused(std::string_view("log:\n  \0", 8), 2, 3, "", {"control character 0x00"});
    check_refused("a\x1B[2J", 1, 2, "", {"0x1B"});
    check_refused("log: {level: \"a\\0b\"}", 1, 14, "log.level", {"'a\\x00b'"});
    check_refused("socket: {path: \"/a\\0b\"}", 1, 16, "socket.path", {"control"});
    check_refused("socket: {group: \"a\\nb\"}", 1, 17, "socket.group", {"control"});
    CHECK(parse("log:\r\n  level: info\r\n").ok());
  }

  TEST_CASE("long and hostile values are cut and escaped in messages") {
    const std::string value(100'000, 'v');
    const ConfigOutcome outcome = parse("log: {level: " + value + "}\n" + value + ": 1\n");
    REQUIRE_FALSE(outcome.errors.empty());
    for (const ConfigError& error : outcome.errors) CHECK(error.to_string().size() < 500);
    CHECK(quote("a\x01"
                "b") == "'a\\x01b'");
    CHECK(quote(std::string(63, 'a') + "\xC3\xA4z") == "'" + std::string(63, 'a') + "…'");
  }
}
