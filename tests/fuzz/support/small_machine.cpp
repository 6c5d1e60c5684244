#include "tests/fuzz/support/small_machine.hpp"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include <spdlog/spdlog.h>

#include "daemon/audit_watch.hpp"
#include "daemon/hold_watch.hpp"
#include "daemon/lease_watch.hpp"
#include "zeropool/lib/segment.hpp"

namespace zeropool::fuzz {
namespace {

constexpr std::uint64_t kBudgetBytes = std::uint64_t{40} << 20;
constexpr std::uint64_t kPoolBytes = std::uint64_t{16} << 20;

lib::Topology two_nodes() {
  lib::Topology topology;
  for (std::uint32_t id = 0; id < 2; ++id) {
    lib::Topology::Node node;
    node.id = id;
    node.memory_bytes = std::uint64_t{1} << 30;
    node.distances =
        id == 0 ? std::vector<std::uint32_t>{10, 20} : std::vector<std::uint32_t>{20, 10};
    topology.nodes.push_back(node);
  }
  topology.cpus.resize(2, {0, 0, true});
  topology.cpus[1].node = 1;
  topology.cpus[1].domain = 1;
  topology.domain_count = 2;
  topology.l2_bytes = 1 << 18;
  topology.l3_bytes = 1 << 20;
  return topology;
}

}  // namespace

void require(bool condition, const char* sentence) {
  if (condition) return;
  std::fprintf(stderr, "fuzz: %s\n", sentence);
  std::abort();
}

SmallMachine::SmallMachine()
    : topology(two_nodes()),
      budget(kBudgetBytes),
      // Files that are not there limit nothing.
      commits(false, daemon::MemoryGuard({"/nonexistent", "/nonexistent", "/nonexistent"})) {
  spdlog::set_level(spdlog::level::off);
  std::string why;
  ledger = daemon::Ledger::create(budget, kClients * 2, why);
  require(ledger != nullptr, why.c_str());
}

std::unique_ptr<daemon::Pool> SmallMachine::open_pool(const std::string& name,
                                                      daemon::OrderDeskHooks hooks) {
  auto pool = std::make_unique<daemon::Pool>();
  pool->config.name = name;
  pool->config.classes = {4160, 262208};
  pool->config.limit_bytes = kPoolBytes;
  pool->config.limit_max_bytes = kPoolBytes;
  pool->config.thread_cache_bytes = 1 << 16;
  pool->config.wait.orders = 128;
  pool->config.handoff_lease = std::chrono::seconds(1);
  pool->config.client_quota_bytes = kPoolBytes;
  std::string why;
  pool->memory = daemon::PoolMemory::create(
      pool->config, kPoolBytes, kClients, kThreads,
      daemon::MemoryServices{budget, *ledger, commits, topology, {daemon::PageSize::kSmall4KiB}},
      why);
  require(pool->memory != nullptr, why.c_str());
  pool->orders = std::make_unique<daemon::OrderDesk>(*pool, std::move(hooks));
  pool->leases = std::make_unique<daemon::LeaseWatch>(*pool);
  pool->audit = std::make_unique<daemon::AuditWatch>(*pool, nullptr);
  pool->holds = std::make_unique<daemon::HoldWatch>(*pool->memory, 64);
  return pool;
}

void SmallMachine::check_books(const daemon::Pool& pool) {
  const daemon::PoolMemory& memory = *pool.memory;
  require(lib::segment_occupied_bytes(memory.control_fd()) == memory.metadata_bytes(),
          "the control segment has pages that were never committed");
  for (std::uint32_t arena = 0; arena < memory.plan().arena_bytes.size(); ++arena) {
    require(lib::segment_occupied_bytes(memory.data_fd(arena)) == memory.committed_bytes(arena),
            "a data segment has pages that were never committed");
  }
  require(budget.committed() <= budget.budget(), "the budget is exceeded");
}

}  // namespace zeropool::fuzz
