// examples/share against a daemon of its own.

#include <cstdlib>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include "support/daemon_process.hpp"

using namespace zeropool::testing;

TEST_CASE("the example shares one buffer with four processes, and nothing is left of it") {
  const DaemonProcess daemon("budget: 32MiB\npools: {demo: {classes: [64KiB]}}\n");
  const char* folder = std::getenv("ZEROPOOL_EXAMPLES_DIR");
  REQUIRE_MESSAGE(folder != nullptr, "ZEROPOOL_EXAMPLES_DIR is not set; run this by ctest");
  ProgramOptions options;
  options.arguments = {std::string(folder) + "/share"};
  options.environment = {{"ZEROPOOL_SOCKET", daemon.socket()}};
  const CommandResult result = run_command(std::move(options));
  CHECK_MESSAGE(result.exit_code == 0, result.err);
  std::size_t readers = 0;
  for (std::size_t at = result.out.find("read by four"); at != std::string::npos;
       at = result.out.find("read by four", at + 1)) {
    ++readers;
  }
  CHECK(readers == 4);
  CHECK(becomes_all_free(daemon));
}
