// examples/async_get.cpp: a thousand requests over a pool with far fewer buffers, in one thread.

#include <cstdlib>
#include <string>

#include <doctest/doctest.h>

#include "support/daemon_process.hpp"

using namespace zeropool::testing;

TEST_CASE("a thousand coroutines share a pool that has fewer buffers") {
  const char* folder = std::getenv("ZEROPOOL_EXAMPLES_DIR");
  REQUIRE_MESSAGE(folder != nullptr, "ZEROPOOL_EXAMPLES_DIR is not set; run this by ctest");
  DaemonProcess daemon(
      "budget: 24MiB\n"
      "limits: {clients: 16, threads: 64}\n"
      "pages: {size: [4KiB]}\n"
      "pools:\n"
      "  frames: {classes: [64KiB], wait: {timeout: 30s}}\n");
  ProgramOptions options;
  options.arguments = {std::string(folder) + "/async_get"};
  options.environment = {{"ZEROPOOL_SOCKET", daemon.socket()}};
  const CommandResult result = run_command(options);
  INFO(result.err);
  CHECK(result.exit_code == 0);
  CHECK(result.out.find("1000 requests served, at most ") == 0);
  CHECK(becomes_all_free(daemon));
  CHECK(daemon.audit()["lost"] == 0);
}
