// examples/pmr, object_pool, typed_pool against a daemon of their own.

#include <cstdlib>
#include <string>

#include <doctest/doctest.h>

#include "support/daemon_process.hpp"

namespace zeropool::testing {
namespace {

constexpr const char* kConfig =
    "budget: 64MiB\n"
    "pools: {demo: {classes: [64, 4KiB, 64KiB, 1MiB]}}\n";

CommandResult run_example(const std::string& name, const std::string& socket) {
  const char* folder = std::getenv("ZEROPOOL_EXAMPLES_DIR");
  REQUIRE_MESSAGE(folder != nullptr, "ZEROPOOL_EXAMPLES_DIR is not set; run this by ctest");
  ProgramOptions options;
  options.arguments = {std::string(folder) + "/" + name};
  options.environment = {{"ZEROPOOL_SOCKET", socket}};
  return run_command(options);
}

void check_example(const std::string& name, const std::string& output) {
  CAPTURE(name);
  const DaemonProcess daemon(kConfig);
  const CommandResult result = run_example(name, daemon.socket());
  INFO(result.err);
  CHECK(result.exit_code == 0);
  CHECK(result.out == output);
  CHECK(becomes_all_free(daemon));
}

TEST_CASE("pmr keeps containers in the pool") {
  check_example("pmr", "samples in the pool: yes\npage in the pool: yes\nwords in the pool: yes\n");
}

TEST_CASE("object_pool makes four objects for eight threads") {
  check_example("object_pool",
                "gets: 8000, at most 4 made: yes, a line of 4096 bytes in the pool: yes\n");
}

TEST_CASE("typed_pool refuses the wrong type and brings the right one") {
  check_example("typed_pool", "as a Trade: wrong_type\nas a Quote: ZERO 99.50 100.25\n");
}

TEST_CASE("without a daemon each says what is wrong") {
  const TemporaryFolder folder;
  for (const char* name : {"pmr", "object_pool"}) {
    const CommandResult result = run_example(name, folder.path() + "/none.sock");
    CHECK(result.exit_code == 1);
    CHECK(result.err.find("none.sock") != std::string::npos);
  }
}

}  // namespace
}  // namespace zeropool::testing
