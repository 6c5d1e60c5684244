#include "daemon/daemon_health.hpp"

#include <algorithm>

#include "daemon/human_bytes.hpp"

namespace zeropool::daemon {
namespace {

std::string counted(std::uint64_t count, const char* one, const char* many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

void add_pool_problems(const PoolStatistics& pool, std::vector<std::string>& problems) {
  if (pool.orders_waiting > 0) {
    problems.push_back("pool " + pool.name + ": " +
                       counted(pool.orders_waiting, "order waits", "orders wait") +
                       " for memory (" + rounded_bytes(pool.committed_bytes) + " of " +
                       rounded_bytes(pool.limit_bytes) +
                       " committed): raise its limit or the budget, or see who holds most with "
                       "zeropoolctl clients");
  }
  const auto suspects = static_cast<std::uint64_t>(
      std::count_if(pool.clients.begin(), pool.clients.end(),
                    [](const ClientInfo& client) { return client.suspect; }));
  if (suspects > 0) {
    problems.push_back("pool " + pool.name + ": " +
                       counted(suspects, "client has", "clients have") +
                       " hung up but still runs: what it holds comes back when it ends");
  }
  if (pool.counters.audit.withheld > 0) {
    problems.push_back(
        "pool " + pool.name + ": " +
        counted(pool.counters.audit.withheld, "slot or magazine is", "slots or magazines are") +
        " withheld, a client has damaged the word that says who uses them: they "
        "come back when the clients attached at that time have gone");
  }
  if (pool.counters.audit.stray_bytes > 0) {
    problems.push_back("pool " + pool.name + ": " + rounded_bytes(pool.counters.audit.stray_bytes) +
                       " were touched by a client without being committed: punched out each "
                       "second, see the daemon's log for who is attached");
  }
  if (pool.orphaned_puts > 0) {
    problems.push_back("pool " + pool.name + ": " + counted(pool.orphaned_puts, "put", "puts") +
                       " found no magazine: run zeropoolctl audit");
  }
}

}  // namespace

std::vector<std::string> health_problems(const DaemonStatistics& statistics) {
  std::vector<std::string> problems;
  if (statistics.state != "running") problems.push_back("the daemon is " + statistics.state);
  if (!statistics.last_reload_successful) {
    problems.emplace_back(
        "the last reload was refused and the old configuration still holds: run zeropoold "
        "--check-config");
  }
  if (statistics.committed_bytes > statistics.budget_bytes) {
    problems.push_back(rounded_bytes(statistics.committed_bytes) +
                       " are committed, above the budget of " +
                       rounded_bytes(statistics.budget_bytes) +
                       " (it was lowered): nothing grows, and what clients give back goes back to "
                       "the system, until it is there");
  }
  for (const PoolStatistics& pool : statistics.pools) {
    const bool of_its_own = pool.limit_bytes < statistics.budget_bytes;
    if (!of_its_own || pool.committed_bytes <= pool.limit_bytes) continue;
    problems.push_back("pool " + pool.name + ": " + rounded_bytes(pool.committed_bytes) +
                       " are committed, above its limit of " + rounded_bytes(pool.limit_bytes) +
                       " (it was lowered): what its clients give back goes back to the system");
  }
  for (const PoolStatistics& pool : statistics.pools) add_pool_problems(pool, problems);
  return problems;
}

double hit_rate(const PoolStatistics& pool) {
  std::uint64_t hits = 0;
  std::uint64_t served = 0;
  for (const RingStatistics& ring : pool.rings) {
    hits += ring.tls_hits + ring.shared_hits;
    served += ring.tls_hits + ring.shared_hits + ring.allocations;
  }
  return served == 0 ? 1.0 : static_cast<double>(hits) / static_cast<double>(served);
}

}  // namespace zeropool::daemon
