// zeropoolctl doctor on a machine where one node is without hugepages, or forbidden. For two nodes, both with memory.

#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>

#include <doctest/doctest.h>

#include "tests/integration/support/daemon_process.hpp"
#include "tests/vm/support/machine.hpp"

using namespace zeropool::testing;
using namespace zeropool::vm;

namespace {

constexpr const char* kControllers = "/sys/fs/cgroup/cgroup.subtree_control";
constexpr const char* kAll = "/sys/fs/cgroup/cgroup.procs";
constexpr const char* kFolder = "/sys/fs/cgroup/one-node";
constexpr const char* kMemory = "/sys/fs/cgroup/one-node/cpuset.mems";
constexpr const char* kOurs = "/sys/fs/cgroup/one-node/cgroup.procs";

std::string config(const std::string& pages) {
  return "budget: 128MiB\npages: {size: [" + pages +
         "]}\npools: {frames: {classes: [64KiB, 1MiB]}}\n";
}

bool write_word(const std::string& path, const std::string& word) {
  std::ofstream file(path);
  return static_cast<bool>(file << word << std::flush);
}

// This process, and the daemons that it starts, in a group that may use one node only.
class ForbiddenBut {
 public:
  explicit ForbiddenBut(const Node& node) {
    REQUIRE(write_word(kControllers, "+cpuset"));
    std::filesystem::create_directory(kFolder);
    REQUIRE(write_word(kMemory, std::to_string(node.id)));
    REQUIRE(write_word(kOurs, std::to_string(::getpid())));
  }
  ~ForbiddenBut() {
    write_word(kAll, std::to_string(::getpid()));
    std::error_code ignored;
    std::filesystem::remove(kFolder, ignored);
  }
  ForbiddenBut(const ForbiddenBut&) = delete;
  ForbiddenBut& operator=(const ForbiddenBut&) = delete;
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("doctor: the node without hugepages is named, with a command that mends it") {
  const std::vector<Node> both = nodes_with(true, true);
  const Hugepages some(both[0].id, 32);
  REQUIRE(some.granted() == 32);
  DaemonProcess daemon(config("2MiB, 4KiB"));
  CommandResult result = daemon.ctl({"doctor"});
  CHECK_MESSAGE(result.exit_code == 0, result.out);
  const std::string command = "echo 32 > /sys/devices/system/node/node" +
                              std::to_string(both[1].id) +
                              "/hugepages/hugepages-2048kB/nr_hugepages";
  CHECK_MESSAGE(has(result.out, command), result.out);
  CHECK(has(result.out, "pages of 4KiB in place of 2MiB on 1 node"));
  // The command, and a daemon that starts after it.
  const Hugepages as_told(both[1].id, 32);
  CHECK(daemon.stop().well());
  daemon.start_again();
  result = daemon.ctl({"doctor"});
  CHECK_MESSAGE(!has(result.out, "hugepages-2048kB/nr_hugepages"), result.out);
  CHECK_FALSE(has(result.out, "in place of"));
  CHECK(daemon.ctl_json({"doctor"})["well"] == true);
}

TEST_CASE("doctor: a node that a cpuset forbids has no arena, and is shown") {
  const std::vector<Node> both = nodes_with(true, true);
  const ForbiddenBut only(both[0]);
  DaemonProcess daemon(config("4KiB"));
  CHECK(has(daemon.log(),
            "node " + std::to_string(both[1].id) + " has memory, and this process may not"));
  const CommandResult result = daemon.ctl({"doctor"});
  CHECK_MESSAGE(has(result.out, "node " + std::to_string(both[1].id) + " may not be used"),
                result.out);
  CHECK_MESSAGE(has(result.out, "/sys/fs/cgroup/one-node/cpuset.mems"), result.out);
  run_on(both[1]);
  auto pool = daemon.open();
  REQUIRE(pool);
  const zeropool::Buffer buffer = pool->get(1 << 20);
  REQUIRE(buffer);
  CHECK(buffer.node() == both[0].id);
  run_anywhere();
}
