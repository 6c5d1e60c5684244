// What the tests of the configuration share: text in, and where it was refused.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "daemon/config.hpp"

namespace zeropool::daemon::config_testing {

inline ConfigOutcome parse(std::string_view text) { return parse_config(text, "test.yaml"); }

inline Config parsed(std::string_view text) {
  const ConfigOutcome outcome = parse(text);
  for (const ConfigError& error : outcome.errors) MESSAGE(error.to_string());
  REQUIRE(outcome.ok());
  return *outcome.config;
}

inline PoolConfig parsed_pool(const std::string& body) {
  return parsed("pools: {p: {" + body + "}}").pools.at(0);
}

inline bool holds(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// The text is refused, first for `key` at this place, in words that hold each of `parts`.
inline void check_refused(std::string_view text, int line, int column, std::string_view key,
                          const std::vector<std::string_view>& parts) {
  CAPTURE(text.substr(0, 200));
  const ConfigOutcome outcome = parse(text);
  CHECK_FALSE(outcome.ok());
  REQUIRE_FALSE(outcome.errors.empty());
  const ConfigError& error = outcome.errors.front();
  INFO(error.to_string());
  CHECK(error.file == "test.yaml");
  CHECK(error.line == line);
  CHECK(error.column == column);
  CHECK(error.key == key);
  for (std::string_view part : parts) {
    CAPTURE(part);
    CHECK(holds(error.message, part));
  }
}

// `body` inside `pools: {p: {…}}` is refused for pools.p.`key`.
inline void check_pool_refused(const std::string& body, const std::string& key,
                               const std::vector<std::string_view>& parts) {
  CAPTURE(body);
  const ConfigOutcome outcome = parse("pools: {p: {" + body + "}}");
  CHECK_FALSE(outcome.ok());
  REQUIRE_FALSE(outcome.errors.empty());
  const ConfigError& error = outcome.errors.front();
  INFO(error.to_string());
  CHECK(error.line == 1);
  CHECK(error.column > 12);
  CHECK(error.key == "pools.p." + key);
  for (std::string_view part : parts) {
    CAPTURE(part);
    CHECK(holds(error.message, part));
  }
}

inline bool any_holds(const std::vector<std::string>& lines, std::string_view part) {
  return std::any_of(lines.begin(), lines.end(),
                     [&](const std::string& line) { return holds(line, part); });
}

}  // namespace zeropool::daemon::config_testing
