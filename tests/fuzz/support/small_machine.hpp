#pragma once
// SmallMachine: what pools need around them, for fuzz targets. One a process; two nodes, no real one is looked at.
//
// Thread safety: one thread's.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "daemon/budget.hpp"
#include "daemon/commit_thread.hpp"
#include "daemon/ledger.hpp"
#include "daemon/order_desk.hpp"
#include "daemon/pool.hpp"
#include "zeropool/lib/topology.hpp"

namespace zeropool::fuzz {

// Ends the process with a sentence: what a fuzzer calls a finding.
void require(bool condition, const char* sentence);

struct SmallMachine {
  static constexpr std::uint32_t kClients = 16;
  static constexpr std::uint32_t kThreads = 16;

  SmallMachine();

  // Small classes whose slots straddle extents. With orders and leases.
  std::unique_ptr<daemon::Pool> open_pool(const std::string& name, daemon::OrderDeskHooks hooks);
  // What is charged to the pool is what is there, and all of it fits the budget.
  void check_books(const daemon::Pool& pool);

  lib::Topology topology;
  daemon::Budget budget;
  std::unique_ptr<daemon::Ledger> ledger;
  daemon::CommitThread commits;
};

}  // namespace zeropool::fuzz
