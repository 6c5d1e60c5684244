// pages.reserve and zeropoold --reserve-pages, against a real kernel. For two nodes, both with memory.

#include <cstdint>
#include <filesystem>
#include <string>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "tests/integration/support/daemon_process.hpp"
#include "tests/integration/support/program.hpp"
#include "tests/vm/support/machine.hpp"

using namespace zeropool::testing;
using namespace zeropool::vm;

namespace {

constexpr std::size_t kMiB = 1 << 20;
constexpr unsigned kUser = 1000;

std::string config(int budget_mib, bool reserve = true) {
  return "budget: " + std::to_string(budget_mib) +
         "MiB\npages: {size: [2MiB, 4KiB], reserve: " + (reserve ? "true" : "false") +
         "}\npools: {frames: {classes: [64KiB, 1MiB]}}\n";
}

std::uint64_t count_on(const Node& node) {
  return std::stoull(read_file("/sys/devices/system/node/node" + std::to_string(node.id) +
                               "/hugepages/hugepages-2048kB/nr_hugepages"));
}

std::uint64_t pages_in_all() {
  std::uint64_t pages = 0;
  for (const Node& node : nodes_with(false, true)) pages += count_on(node);
  return pages;
}

std::string state_of_pages() {
  std::string text;
  for (const Node& node : nodes_with(false, true)) {
    const std::string folder =
        "/sys/devices/system/node/node" + std::to_string(node.id) + "/hugepages/hugepages-2048kB/";
    for (const char* name : {"nr_hugepages", "free_hugepages", "surplus_hugepages"}) {
      text += name + std::string(" ") + read_file(folder + name);
    }
  }
  return text;
}

void check_no_pages() {
  for (const Node& node : nodes_with(false, true)) REQUIRE(count_on(node) == 0);
}

CommandResult reserve_pages(const std::string& config, std::optional<unsigned> user = {}) {
  const TemporaryFolder folder;
  write_file(folder.path() + "/config", config);
  ProgramOptions options;
  options.arguments = {daemon_program(), "--reserve-pages", "--config", folder.path() + "/config"};
  options.user = user;
  return run_command(std::move(options));
}

}  // namespace

TEST_CASE("pages.reserve: the budget's pages are there on each node, and given back") {
  check_no_pages();
  DaemonProcess daemon(config(192));
  for (const Node& node : nodes_with(false, true)) CHECK(count_on(node) == 48);
  CHECK(daemon.metric("zeropool_page_fallbacks_total") == 0);
  CHECK(daemon.metric("zeropool_committed_bytes", {"page_size=\"4KiB\""}) == 0);
  auto pool = daemon.open();
  REQUIRE(pool);
  zeropool::Buffer held = pool->get(kMiB);
  REQUIRE(held);
  CHECK(daemon.stop().well());
  // What a client still maps stays, and is in the record: the next daemon's end gives it back.
  const std::uint64_t left = pages_in_all();
  CHECK(left > 0);
  CHECK(left < 96);
  CHECK(daemon.log().find("clients still map them") != std::string::npos);
  held = zeropool::Buffer();
  *pool = zeropool::Pool();
  daemon.start_again();
  CHECK(pages_in_all() == 96);
  CHECK(daemon.stop().well());
  CHECK_MESSAGE(pages_in_all() == 0, state_of_pages());
}

TEST_CASE("a killed daemon's pages stay, serve the next one, and are given back by it") {
  check_no_pages();
  DaemonProcess daemon(config(128));
  CHECK(pages_in_all() == 64);
  daemon.kill9();
  CHECK(pages_in_all() == 64);
  CHECK(std::filesystem::exists(daemon.socket() + ".hugepages"));
  daemon.start_again();
  CHECK(pages_in_all() == 64);
  daemon.take_over();
  CHECK(pages_in_all() == 64);
  CHECK(daemon.stop().well());
  check_no_pages();
  CHECK_FALSE(std::filesystem::exists(daemon.socket() + ".hugepages"));
}

TEST_CASE("pages that were there before stay") {
  const Node first = nodes_with(false, true).front();
  const Hugepages others(first.id, 8);
  {
    DaemonProcess daemon(config(128));
    CHECK(count_on(first) == 32);  // the eight were free
    CHECK(daemon.stop().well());
  }
  CHECK(count_on(first) == 8);
}

TEST_CASE("a node that has less: what was granted is said, and the pool still starts") {
  check_no_pages();
  const Node first = nodes_with(false, true).front();
  {
    const FullNode full(first.id, 96 * kMiB);
    DaemonProcess daemon(config(512));
    CHECK(count_on(first) < 128);
    const std::string log = daemon.log();
    CHECK_MESSAGE(log.find("of 128 pages of 2MiB are free") != std::string::npos, log);
    CHECK(log.find("reserve earlier after boot") != std::string::npos);
    auto pool = daemon.open();
    REQUIRE(pool);
    CHECK(pool->get(kMiB));
    *pool = zeropool::Pool();
    CHECK(daemon.stop().well());
  }
  const bool gone = eventually([] { return pages_in_all() == 0; });
  CHECK_MESSAGE(gone, state_of_pages());
}

TEST_CASE("an ordinary user's daemon says the command for root, and falls back") {
  check_no_pages();
  DaemonProcess daemon(config(64), kUser);
  const std::string log = daemon.log();
  for (const Node& node : nodes_with(false, true)) {
    const std::string command = "as root: echo 16 > /sys/devices/system/node/node" +
                                std::to_string(node.id) +
                                "/hugepages/hugepages-2048kB/nr_hugepages";
    CHECK_MESSAGE(log.find(command) != std::string::npos, log);
  }
  CHECK(daemon.metric("zeropool_page_fallbacks_total") == 2);
  CHECK_FALSE(std::filesystem::exists(daemon.socket() + ".hugepages"));
  check_no_pages();
}

TEST_CASE("--reserve-pages: asks, says what each node gave, and the pages stay") {
  check_no_pages();
  const CommandResult refused = reserve_pages(config(128, false), kUser);
  CHECK(refused.exit_code == 1);
  CHECK(refused.err.find("as root: echo 32 >") != std::string::npos);
  const CommandResult granted = reserve_pages(config(128, false));
  CHECK_MESSAGE(granted.exit_code == 0, granted.err);
  for (const Node& node : nodes_with(false, true)) {
    CHECK(granted.out.find("node " + std::to_string(node.id) +
                           ": 32 of 32 pages of 2MiB are free (nr_hugepages 0 -> 32)") !=
          std::string::npos);
  }
  CHECK(reserve_pages(config(128, false)).exit_code == 0);
  CHECK(pages_in_all() == 64);
  {
    DaemonProcess daemon(config(128));  // finds them: raises nothing, and gives nothing back
    CHECK(pages_in_all() == 64);
    CHECK(daemon.stop().well());
  }
  CHECK(pages_in_all() == 64);
  for (const Node& node : nodes_with(false, true)) {
    write_file("/sys/devices/system/node/node" + std::to_string(node.id) +
                   "/hugepages/hugepages-2048kB/nr_hugepages",
               "0");
  }
  const CommandResult too_much = reserve_pages(config(1900, false));
  CHECK(too_much.exit_code == 1);
  CHECK(too_much.err.find("of 475 pages of 2MiB are free") != std::string::npos);
  for (const Node& node : nodes_with(false, true)) {
    write_file("/sys/devices/system/node/node" + std::to_string(node.id) +
                   "/hugepages/hugepages-2048kB/nr_hugepages",
               "0");
  }
  check_no_pages();
}

TEST_CASE("--reserve-pages: a node that has less fails alone, and is named with what it gave") {
  check_no_pages();
  const Node full_node = nodes_with(false, true).front();
  CommandResult result;
  {
    const FullNode full(full_node.id, 96 * kMiB);
    result = reserve_pages(config(512, false));
  }
  CHECK(result.exit_code == 1);
  for (const Node& node : nodes_with(false, true)) {
    const std::string name = "node " + std::to_string(node.id) + ": ";
    if (node.id == full_node.id) {
      // What it gave, and what to do: on standard error, where the journal shows it as such.
      CHECK_MESSAGE(result.err.find(name) != std::string::npos, result.err);
      CHECK_MESSAGE(result.err.find("of 128 pages of 2MiB are free") != std::string::npos,
                    result.err);
      CHECK(result.err.find("reserve earlier after boot") != std::string::npos);
      CHECK(count_on(node) < 128);
    } else {
      CHECK_MESSAGE(
          result.out.find(name + "128 of 128 pages of 2MiB are free") != std::string::npos,
          result.out);
      CHECK(count_on(node) == 128);
    }
    write_file("/sys/devices/system/node/node" + std::to_string(node.id) +
                   "/hugepages/hugepages-2048kB/nr_hugepages",
               "0");
  }
  const bool gone = eventually([] { return pages_in_all() == 0; });
  CHECK_MESSAGE(gone, state_of_pages());
}
