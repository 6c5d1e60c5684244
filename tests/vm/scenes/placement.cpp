// Page by page: a thread's buffers lie on its node, for each page size.

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/lib/topology.hpp>
#include <zeropool/zeropool.hpp>

#include "tests/integration/support/daemon_process.hpp"
#include "tests/vm/support/machine.hpp"

using namespace zeropool::testing;
using namespace zeropool::vm;
using zeropool::Buffer;

namespace {

constexpr std::size_t kMiB = 1 << 20;
constexpr std::size_t kBuffers = 24;

// The nearest node with memory: a node without has its neighbour's.
std::uint32_t memory_node_of(const Node& node) {
  if (node.memory_bytes != 0) return node.id;
  const auto topology = zeropool::lib::read_topology();
  for (std::uint32_t i = 0; i < topology.nodes.size(); ++i) {
    if (topology.nodes[i].id == node.id)
      return topology.nodes[topology.memory_nodes_by_distance(i).front()].id;
  }
  return node.id;
}

void check_node(zeropool::Pool& pool, const Node& node, const std::string& pages) {
  run_on(node);
  std::vector<Buffer> held;
  std::map<int, std::size_t> where;
  for (std::size_t i = 0; i < kBuffers; ++i) {
    held.push_back(pool.get(kMiB));
    REQUIRE_MESSAGE(held.back(), held.back().error().sentence);
    for (const auto& [on, count] : where_pages_are(held.back().data(), kMiB)) where[on] += count;
    CHECK(held.back().node() == memory_node_of(node));
  }
  MESSAGE(pages, " from node ", node.id, ": ", describe(where));
  CHECK(all_on(where, memory_node_of(node)));
}

void check_every_node(const std::string& pages) {
  DaemonProcess daemon("budget: 256MiB\npages: {size: [" + pages +
                       "]}\npools: {frames: {classes: [64KiB, 1MiB]}}\n");
  auto pool = daemon.open();
  REQUIRE(pool);
  for (const Node& node : nodes_with(true, false)) {
    // A thread of its own, with no cache from the node before.
    std::thread([&] { check_node(*pool, node, pages); }).join();
  }
  CHECK(daemon.metric("zeropool_remote_gets_total") == 0);
  CHECK(daemon.metric("zeropool_page_fallbacks_total") == 0);
}

}  // namespace

TEST_CASE("4 KiB pages lie on the node of the thread that gets them") { check_every_node("4KiB"); }

TEST_CASE("2 MiB pages lie on the node of the thread that gets them") {
  std::vector<std::unique_ptr<Hugepages>> reserved;
  for (const Node& node : nodes_with(false, true)) {
    reserved.push_back(std::make_unique<Hugepages>(node.id, 48));
    REQUIRE(reserved.back()->granted() == 48);
  }
  check_every_node("2MiB");
}

TEST_CASE("transparent huge pages lie on the node of the thread that gets them") {
  const Setting advised("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "advise");
  check_every_node("thp");
}
