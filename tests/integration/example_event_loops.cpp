// examples/asio_get and examples/uring_get against a daemon of their own, with fewer buffers than they want.

#include <cstdlib>
#include <string>

#include <doctest/doctest.h>

#include "support/daemon_process.hpp"
#include "support/pattern.hpp"

namespace zeropool::testing {
namespace {

constexpr const char* kConfig =
    "budget: 64MiB\nlimits: {clients: 16, threads: 16}\npages: {size: [4KiB]}\n"
    "pools: {few: {classes: [64KiB], limit: 3MiB, watermarks: {low: 0, high: 0}}}\n";  // 32 buffers

CommandResult run_example(const DaemonProcess& daemon, const std::string& name,
                          std::vector<std::string> arguments = {}) {
  const char* folder = std::getenv("ZEROPOOL_EXAMPLES_DIR");
  REQUIRE_MESSAGE(folder != nullptr, "ZEROPOOL_EXAMPLES_DIR is not set; run this by ctest");
  ProgramOptions options;
  options.arguments = {std::string(folder) + "/" + name};
  options.arguments.insert(options.arguments.end(), arguments.begin(), arguments.end());
  options.environment = {{"ZEROPOOL_SOCKET", daemon.socket()}};
  return run_command(options);
}

void check_nothing_is_lost(const DaemonProcess& daemon) {
  CHECK(eventually([&] { return daemon.clients() == 0; }));
  CHECK(becomes_all_free(daemon));
}

std::string bytes_of(std::size_t count) {
  Random random(count);
  std::string text(count, 0);
  for (char& letter : text) letter = static_cast<char>(random.below(256));
  return text;
}

TEST_CASE("asio_get: a hundred coroutines on one thread share 32 buffers") {
  DaemonProcess daemon(kConfig);
  const CommandResult result = run_example(daemon, "asio_get");
  INFO(result.err);
  CHECK(result.exit_code == 0);
  CHECK(result.out.find("100 worked, 0 failed\n") != std::string::npos);
  check_nothing_is_lost(daemon);
}

TEST_CASE("uring_get: a copy is the same to the byte, whatever the file's size") {
  DaemonProcess daemon(kConfig);
  const TemporaryFolder folder;
  for (const std::size_t bytes : {0u, 1u, 65536u, 65537u, 5'000'000u}) {
    CAPTURE(bytes);
    const std::string text = bytes_of(bytes);
    write_file(folder.path() + "/from", text);
    const CommandResult result =
        run_example(daemon, "uring_get", {folder.path() + "/from", folder.path() + "/to"});
    if (result.exit_code == 77) {
      MESSAGE("SKIPPED: " << result.err);
      return;
    }
    INFO(result.err);
    REQUIRE(result.exit_code == 0);
    CHECK(result.out.find(std::to_string(bytes) + " bytes, 32 buffers registered") == 0);
    CHECK(read_file(folder.path() + "/to") == text);
    check_nothing_is_lost(daemon);
  }
}

TEST_CASE("without a daemon they fail and say what to do") {
  const TemporaryFolder folder;
  const char* examples = std::getenv("ZEROPOOL_EXAMPLES_DIR");
  REQUIRE(examples != nullptr);
  for (const char* name : {"asio_get", "uring_get"}) {
    CAPTURE(name);
    ProgramOptions options;
    options.arguments = {std::string(examples) + "/" + name, "/dev/null", "/dev/null"};
    if (std::string(name) == "asio_get") options.arguments.resize(1);
    options.environment = {{"ZEROPOOL_SOCKET", folder.path() + "/none.sock"}};
    const CommandResult result = run_command(options);
    CHECK(result.exit_code == 1);
    CHECK(result.err.find("zeropoold") != std::string::npos);
  }
}

}  // namespace
}  // namespace zeropool::testing
