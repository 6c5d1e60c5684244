// Memory and CPUs that go offline under a running daemon, and CPUs that come after its start. For two nodes, the second's
// memory movable.

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "tests/integration/support/daemon_process.hpp"
#include "tests/vm/support/machine.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using namespace zeropool::vm;
using zeropool::Buffer;
using zeropool::GetOptions;

namespace {

constexpr std::size_t kMiB = 1 << 20;
constexpr const char* kConfig =
    "budget: 192MiB\npages: {size: [4KiB]}\npools:\n  frames:\n    classes: [1MiB]\n"
    "    wait: {timeout: 500ms}\n    watermarks: {low: 1MiB, high: 2MiB}\n";

using Settings = std::vector<std::unique_ptr<Setting>>;

void take_cpu_offline(std::uint32_t cpu, Settings& settings) {
  const std::string path = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/online";
  settings.push_back(std::make_unique<Setting>(path, "0"));
  REQUIRE(settings.back()->granted() == "0");
}

// Every block of the node's memory; its pages move to other nodes, those of shared memory too.
void take_memory_offline(std::uint32_t node, Settings& settings) {
  const std::string folder = "/sys/devices/system/node/node" + std::to_string(node);
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().filename().string().rfind("memory", 0) != 0) continue;
    const std::string state = entry.path().string() + "/state";
    if (!std::filesystem::exists(state)) continue;
    settings.push_back(std::make_unique<Setting>(state, "offline"));
    REQUIRE(settings.back()->granted() == "offline");
  }
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a CPU that comes online after the daemon's start is known to be on its node") {
  const Node far = nodes_with(true, true).back();
  Settings offline;
  take_cpu_offline(far.cpus.back(), offline);
  DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  CHECK(has(daemon.ctl({"doctor"}).out, "1 CPUs are offline"));
  offline.clear();
  std::thread([&] {
    run_on_cpu(far.cpus.back());
    for (int i = 0; i < 4; ++i) {
      const Buffer buffer = pool->get(kMiB, 30s);
      REQUIRE_MESSAGE(buffer, buffer.error().sentence);
      CHECK(buffer.node() == far.id);
      CHECK(all_on(where_pages_are(buffer.data(), kMiB), far.id));
    }
  }).join();
  CHECK(daemon.metric("zeropool_remote_gets_total") == 0);
}

TEST_CASE(
    "a node goes offline: what is held keeps its bytes, its threads get memory of another, and it "
    "is told") {
  const Node near = nodes_with(true, true).front();
  const Node far = nodes_with(true, true).back();
  DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  std::vector<Buffer> held;
  run_on(far);
  for (int i = 0; i < 8; ++i) {
    held.push_back(pool->get(kMiB, 30s));
    REQUIRE_MESSAGE(held.back(), held.back().error().sentence);
    std::memset(held.back().data(), 'a' + i, kMiB);
    CHECK(all_on(where_pages_are(held.back().data(), kMiB), far.id));
  }
  CHECK(daemon.metric("zeropool_misplaced_bytes") == 0);

  run_anywhere();
  Settings offline;
  for (const std::uint32_t cpu : far.cpus) take_cpu_offline(cpu, offline);
  take_memory_offline(far.id, offline);

  for (std::size_t i = 0; i < held.size(); ++i) {
    const auto* bytes = reinterpret_cast<const char*>(held[i].data());
    CHECK(std::all_of(bytes, bytes + kMiB,
                      [&](char c) { return c == static_cast<char>('a' + static_cast<int>(i)); }));
    CHECK(all_on(where_pages_are(held[i].data(), kMiB), near.id));
  }
  // More than lies in the ring of the node that is gone.
  std::vector<Buffer> more;
  for (int i = 0; i < 24; ++i) {
    more.push_back(pool->get(kMiB, 30s));
    REQUIRE_MESSAGE(more.back(), more.back().error().sentence);
    CHECK(all_on(where_pages_are(more.back().data(), kMiB), near.id));
  }
  // Named, it gives what its ring still has, and then says so.
  std::vector<Buffer> there;
  Buffer refused;
  for (int i = 0; i < 64; ++i) {
    refused = pool->get(kMiB, GetOptions{.node = far.id});
    if (!refused) break;
    there.push_back(std::move(refused));
  }
  CHECK_FALSE(refused);
  CHECK(has(refused.error().sentence, "node"));
  MESSAGE("asked for the node that is gone: ", refused.error().sentence);
  CHECK(eventually([&] { return daemon.metric("zeropool_misplaced_bytes") >= 8.0 * kMiB; }, 30s));
  const std::string doctor = daemon.ctl({"doctor"}).out;
  MESSAGE(doctor);
  CHECK(has(doctor, "node " + std::to_string(far.id) + " had memory when zeropoold started"));

  // It comes again.
  offline.clear();
  there.clear();
  more.clear();
  held.clear();
  std::thread([&] {  // with no cache of the other node
    run_on(far);
    const Buffer again = pool->get(kMiB, 30s);
    REQUIRE_MESSAGE(again, again.error().sentence);
    CHECK(again.node() == far.id);
  })
      .join();
}
