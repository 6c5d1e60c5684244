#pragma once
// A machine for pools of a test's own: one node whose free memory the test says, a budget, a ledger, a commit thread.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <spdlog/spdlog.h>

#include "daemon/pool_memory.hpp"
#include "zeropool/lib/audit.hpp"
#include "zeropool/lib/segment.hpp"

namespace zeropool::test {

using namespace zeropool::daemon;

inline lib::Topology one_node() {
  lib::Topology topology;
  lib::Topology::Node node;
  node.memory_bytes = std::uint64_t{8} << 30;
  node.distances = {10};
  topology.nodes = {node};
  topology.cpus.resize(4, {0, 0, true});
  topology.cpus[2].domain = 1;
  topology.cpus[3].domain = 1;
  topology.domain_count = 2;
  topology.l2_bytes = 1 << 20;
  topology.l3_bytes = 32 << 20;
  return topology;
}

// A node whose free memory a test says.
class FakeNode {
 public:
  FakeNode() {
    char pattern[] = "/tmp/zeropool-node-XXXXXX";
    root_ = ::mkdtemp(pattern);
    std::filesystem::create_directories(root_ + "/node0");
    free_mib(4096);
  }
  ~FakeNode() { std::filesystem::remove_all(root_); }
  FakeNode(const FakeNode&) = delete;
  FakeNode& operator=(const FakeNode&) = delete;
  // Beyond the reserve.
  void free_mib(std::uint64_t mib) const {
    std::ofstream(root_ + "/node0/meminfo")
        << "Node 0 MemTotal: 4194304 kB\nNode 0 MemFree: " << (mib + 64) * 1024 << " kB\n";
  }
  MemoryGuardPaths paths() const { return {root_, root_, root_}; }

 private:
  std::string root_;
};

struct Machine {
  explicit Machine(std::uint64_t budget_bytes, std::vector<PageSize> pages = {PageSize::kSmall4KiB})
      : budget(budget_bytes), commits(false, MemoryGuard(node.paths())), sizes(std::move(pages)) {
    spdlog::set_level(spdlog::level::off);
    std::string why;
    ledger = Ledger::create(budget, 64, why);
    REQUIRE(ledger);
  }
  std::unique_ptr<PoolMemory> pool(const PoolConfig& config, std::string& why,
                                   std::uint32_t threads = 256) {
    return PoolMemory::create(config, config.limit_bytes.value_or(budget.budget()), 64, threads,
                              MemoryServices{budget, *ledger, commits, topology, sizes}, why);
  }
  // What is charged covers what is there, and neither exceeds the budget.
  void check_books(const PoolMemory& memory) {
    std::uint64_t data = 0;
    for (std::uint32_t a = 0; a < memory.plan().arena_bytes.size(); ++a) {
      CHECK(lib::segment_occupied_bytes(memory.data_fd(a)) == memory.committed_bytes(a));
      data += memory.committed_bytes(a);
    }
    CHECK(lib::segment_occupied_bytes(memory.control_fd()) == memory.metadata_bytes());
    const std::uint64_t all =
        data + memory.metadata_bytes() + lib::segment_occupied_bytes(ledger->fd());
    CHECK(all == budget.committed());
    CHECK(budget.committed() <= budget.budget());
    CHECK(ledger->header().committed_bytes.load() == budget.committed());
  }

  FakeNode node;
  lib::Topology topology = one_node();
  Budget budget;
  std::unique_ptr<Ledger> ledger;
  CommitThread commits;
  std::vector<PageSize> sizes;
};

inline PoolConfig straddling() {
  PoolConfig config;
  config.name = "straddling";
  config.classes = {4160, 65536, 3110400};
  return config;
}

// Everything published lies in the ring or with the daemon, once.
inline void check_idle_rings(const PoolMemory& memory) {
  for (std::uint32_t r = 0; r < memory.ring_count(); ++r) {
    const lib::AuditReport report = lib::audit_ring(memory.ring(r));
    CHECK(report.clean());
    CHECK(report.free == memory.published_slots(r));
    CHECK(report.free == report.slots - report.daemon);
  }
}

}  // namespace zeropool::test
