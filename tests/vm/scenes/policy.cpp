// What a pool's placement means when a node is full, and where buffers go that are put elsewhere. For two nodes or more,
// both with memory and CPUs.

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <signal.h>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/lib/topology.hpp>
#include <zeropool/zeropool.hpp>

#include "tests/integration/support/child_process.hpp"
#include "tests/integration/support/daemon_process.hpp"
#include "tests/vm/support/machine.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using namespace zeropool::vm;
using zeropool::Buffer;
using zeropool::ErrorCode;
using zeropool::GetOptions;
using zeropool::Pool;

namespace {

constexpr std::size_t kMiB = 1 << 20;

std::string config(const std::string& placement, const std::string& pages, int limit_mib = 0) {
  return "budget: 512MiB\npages: {size: [" + pages +
         "]}\npools:\n  frames:\n    placement: " + placement +
         "\n    classes: [64KiB, 1MiB]\n    wait: {timeout: 300ms}\n    watermarks: {low: 1MiB, "
         "high: 2MiB}\n" +
         (limit_mib == 0 ? "" : "    limit: " + std::to_string(limit_mib) + "MiB\n");
}

template <typename Work>
void on_a_thread_of(const Node& node, Work work) {
  std::thread([&] {
    run_on(node);
    work();
  }).join();
}

std::map<std::uint32_t, std::size_t> by_node(const std::vector<Buffer>& held) {
  std::map<std::uint32_t, std::size_t> count;
  for (const Buffer& buffer : held) ++count[buffer.node()];
  return count;
}

// 2 MiB pages on each node that has memory: `few` on one, `many` on the others.
std::vector<std::unique_ptr<Hugepages>> hugepages(std::uint32_t node, std::uint64_t few,
                                                  std::uint64_t many) {
  std::vector<std::unique_ptr<Hugepages>> reserved;
  for (const Node& other : nodes_with(false, true)) {
    const std::uint64_t wanted = other.id == node ? few : many;
    reserved.push_back(std::make_unique<Hugepages>(other.id, wanted));
    REQUIRE(reserved.back()->granted() == wanted);
  }
  return reserved;
}

}  // namespace

TEST_CASE("local: when the node has no more, the nearest gives, and it is counted") {
  const Node home = nodes_with(true, true).front();
  const auto reserved = hugepages(home.id, 8, 24);
  DaemonProcess daemon(config("local", "2MiB"));
  auto pool = daemon.open();
  REQUIRE(pool);
  on_a_thread_of(home, [&] {
    std::vector<Buffer> held;
    for (int i = 0; i < 36; ++i) {
      held.push_back(pool->get(kMiB, 30s));
      REQUIRE_MESSAGE(held.back(), held.back().error().sentence);
    }
    const auto count = by_node(held);
    MESSAGE("node ", home.id, " has 16 MiB: ", count.at(home.id), " of 36 buffers");
    CHECK(count.at(home.id) >= 12);
    CHECK(count.at(home.id) <= 16);
    // The rest in the order of distance: none on a farther node while the nearer one had room (48 MiB of it).
    const auto topology = zeropool::lib::read_topology();
    CHECK(count.size() == 2);
    CHECK(count.contains(topology.nodes[topology.memory_nodes_by_distance(0)[1]].id));
    for (std::size_t i = 0; i < 12; ++i) CHECK(held[i].node() == home.id);
    CHECK(daemon.metric("zeropool_remote_gets_total") == 36 - count.at(home.id));
  });
}

TEST_CASE("local: what others have put on another node is taken before memory grows there") {
  const std::vector<Node> both = nodes_with(true, true);
  const auto reserved = hugepages(both[0].id, 2, 24);
  DaemonProcess daemon(config("local", "2MiB"));
  auto pool = daemon.open();
  REQUIRE(pool);
  on_a_thread_of(both[1], [&] {  // makes 16 MiB of node 1 and gives them back
    std::vector<Buffer> held;
    for (int i = 0; i < 16; ++i) held.push_back(pool->get(kMiB, 30s));
  });
  const double committed = daemon.metric("zeropool_committed_bytes", {"node=\"1\""});
  on_a_thread_of(both[0], [&] {
    std::vector<Buffer> held;
    for (int i = 0; i < 12; ++i) {
      held.push_back(pool->get(kMiB, 30s));
      REQUIRE(held.back());
    }
    CHECK(by_node(held).at(both[1].id) >= 8);
    CHECK(daemon.metric("zeropool_committed_bytes", {"node=\"1\""}) == committed);
  });
}

TEST_CASE(
    "local_only: waits, and fails rather than go elsewhere; a buffer that comes home serves it") {
  const Node home = nodes_with(true, true).front();
  const auto reserved = hugepages(home.id, 8, 24);
  DaemonProcess daemon(config("local_only", "2MiB"));
  auto pool = daemon.open();
  REQUIRE(pool);
  on_a_thread_of(home, [&] {
    std::vector<Buffer> held;
    for (;;) {
      Buffer buffer = pool->get(kMiB);
      if (!buffer) {
        const bool full = buffer.error().code == ErrorCode::budget_exhausted ||
                          buffer.error().code == ErrorCode::timed_out;
        CHECK_MESSAGE(full, buffer.error().sentence);
        break;
      }
      held.push_back(std::move(buffer));
    }
    CHECK(held.size() >= 12);
    CHECK(by_node(held).size() == 1);
    CHECK(by_node(held).contains(home.id));
    CHECK(pool->try_get(kMiB).error().code == ErrorCode::would_wait);
    std::thread giver([&] {
      std::this_thread::sleep_for(100ms);
      held.pop_back();
    });
    Buffer late = pool->get(kMiB, 30s);
    giver.join();
    REQUIRE_MESSAGE(late, late.error().sentence);
    CHECK(late.node() == home.id);
  });
  CHECK(daemon.metric("zeropool_remote_gets_total") == 0);
}

TEST_CASE("interleave: buffers lie evenly on all nodes, for one thread and for many") {
  DaemonProcess daemon(config("interleave", "4KiB"));
  auto pool = daemon.open();
  REQUIRE(pool);
  const std::size_t memory_nodes = nodes_with(false, true).size();
  for (const std::size_t bytes : {std::size_t{65536}, kMiB}) {
    std::vector<Buffer> held;
    const std::size_t count = bytes == kMiB ? 48 : 480;
    for (std::size_t i = 0; i < count; ++i) {
      held.push_back(pool->get(bytes));
      REQUIRE(held.back());
    }
    const auto nodes = by_node(held);
    CHECK(nodes.size() == memory_nodes);
    for (const auto& [node, there] : nodes) {
      MESSAGE(bytes, " bytes on node ", node, ": ", there);
      CHECK(there * memory_nodes >= count * 8 / 10);
      CHECK(there * memory_nodes <= count * 12 / 10);
    }
    for (const Buffer& buffer : held) {
      CHECK(all_on(where_pages_are(buffer.data(), 4096), buffer.node()));
    }
  }
  CHECK(daemon.metric("zeropool_remote_gets_total") == 0);
}

TEST_CASE(
    "a get can ask for a node; one that the pool does not have is an error that names those it "
    "has") {
  DaemonProcess daemon(config("local", "4KiB"));
  auto pool = daemon.open();
  REQUIRE(pool);
  for (const Node& node : nodes_with(false, true)) {
    GetOptions options;
    options.node = node.id;
    options.timeout = 30s;
    for (int i = 0; i < 4; ++i) {
      const Buffer buffer = pool->get(kMiB, options);
      REQUIRE_MESSAGE(buffer, buffer.error().sentence);
      CHECK(buffer.node() == node.id);
      CHECK(all_on(where_pages_are(buffer.data(), kMiB), node.id));
    }
  }
  GetOptions nowhere;
  nowhere.node = 77;
  const Buffer none = pool->get(kMiB, nowhere);
  CHECK(none.error().code == ErrorCode::invalid_argument);
  CHECK(none.error().sentence.find("node 77") != std::string::npos);
}

TEST_CASE(
    "a thread that moves gets local buffers from its next claim on, and its cache goes home") {
  const std::vector<Node> both = nodes_with(true, true);
  DaemonProcess daemon(config("local", "4KiB"));
  auto pool = daemon.open();
  REQUIRE(pool);
  on_a_thread_of(both[0], [&] {
    { Buffer first = pool->get(65536); }  // a magazine of node 0 is loaded
    run_on(both[1]);
    std::vector<Buffer> held;
    while (held.size() < 200) {
      held.push_back(pool->get(65536));
      REQUIRE(held.back());
    }
    std::size_t old = 0;
    while (old < held.size() && held[old].node() == both[0].id) ++old;
    CHECK(old <= 60);  // one magazine at most
    CHECK(std::all_of(held.begin() + static_cast<std::ptrdiff_t>(old), held.end(),
                      [&](const Buffer& buffer) { return buffer.node() == both[1].id; }));
  });
  *pool = Pool();
  CHECK(becomes_all_free(daemon));
}

TEST_CASE("buffers put on another node come back to their own, and are not hoarded") {
  const std::vector<Node> both = nodes_with(true, true);
  DaemonProcess daemon(config("local", "4KiB", 64));
  auto pool = daemon.open();
  REQUIRE(pool);
  for (int round = 0; round < 20; ++round) {
    std::vector<Buffer> held;
    on_a_thread_of(both[0], [&] {
      for (int i = 0; i < 16; ++i) {
        held.push_back(pool->get(kMiB, 30s));
        REQUIRE(held.back());
        CHECK(held.back().node() == both[0].id);
      }
    });
    on_a_thread_of(both[1], [&] { held.clear(); });
  }
  CHECK(daemon.metric("zeropool_remote_gets_total") == 0);
  *pool = Pool();
  CHECK(becomes_all_free(daemon));
}

TEST_CASE("a client killed with buffers of another node leaves nothing behind") {
  const std::vector<Node> both = nodes_with(true, true);
  DaemonProcess daemon(config("local", "4KiB", 96));
  {
    ChildProcess child([&](Link& link) {
      run_on(both[0]);
      auto pool = daemon.open();
      expect(static_cast<bool>(pool), "open");
      std::vector<Buffer> held;
      for (const Node& node : both) {
        GetOptions options;
        options.node = node.id;
        options.timeout = 30s;
        for (int i = 0; i < 12; ++i) held.push_back(pool->get(kMiB, options));
      }
      run_on(both[1]);
      held.resize(20);  // some go back, from the other node
      link.signal();
      link.await();  // until it is killed
    });
    child.link().await();
    CHECK(child.kill().signal == SIGKILL);
  }
  CHECK(becomes_all_free(daemon));
  auto pool = daemon.open();
  REQUIRE(pool);
  for (const Node& node : both) {
    GetOptions options;
    options.node = node.id;
    options.timeout = 30s;
    std::vector<Buffer> held;
    for (int i = 0; i < 12; ++i) {
      held.push_back(pool->get(kMiB, options));
      REQUIRE(held.back());
    }
  }
}
