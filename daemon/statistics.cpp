#include "daemon/statistics.hpp"

#include <utility>

#include "daemon/counter_floor.hpp"
#include "daemon/holders.hpp"
#include "daemon/order_desk.hpp"
#include "daemon/share_ends.hpp"
#include "daemon/statistics_snapshot.hpp"

namespace zeropool::daemon {
namespace {

constexpr PageSize kPageSizes[] = {PageSize::kHuge1GiB, PageSize::kHuge2MiB, PageSize::kThp,
                                   PageSize::kSmall4KiB};

std::uint64_t entry(const std::vector<std::uint64_t>& by_ring, std::size_t ring) {
  return ring < by_ring.size() ? by_ring[ring] : 0;
}

// Every step down is there from the start, so that the first fallback is seen as an increase.
void add_page_fallbacks(const PoolMemory& memory, PoolStatistics& pool) {
  for (const PageSize from : kPageSizes) {
    for (const PageSize to : kPageSizes) {
      if (from == to) continue;
      const std::uint64_t count = memory.page_fallbacks(from, to);
      if (from < to || count > 0) pool.page_fallbacks[{from, to}] = count;
    }
  }
}

}  // namespace

PoolSnapshot snapshot_of(const Pool& pool, Budget& budget) {
  PoolMemory& memory = *pool.memory;
  const lib::ControlPlan& plan = memory.plan();
  PoolSnapshot snapshot;
  PoolStatistics& statistics = snapshot.statistics;
  statistics.name = memory.name();
  statistics.draining = pool.draining;
  const PoolAccount account = budget.snapshot(memory.account());
  statistics.committed_bytes = account.committed_bytes;
  statistics.limit_bytes = account.limit_bytes;
  statistics.client_quota_bytes = pool.config.client_quota_bytes.value_or(0);
  statistics.reserved_bytes = account.reserved_bytes;
  statistics.metadata_bytes = memory.metadata_bytes();
  if (pool.orders) statistics.orders_waiting = pool.orders->waiting();
  statistics.trims = memory.trims();
  statistics.trimmed_bytes = memory.trimmed_bytes();
  statistics.released_bytes = memory.released_bytes();
  add_page_fallbacks(memory, statistics);
  for (std::uint32_t number = 0; number < plan.shape.arenas.size(); ++number) {
    const lib::PoolShape::Arena& arena = plan.shape.arenas[number];
    statistics.arenas.push_back({arena.node, arena.page_kind, memory.committed_bytes(number),
                                 memory.misplaced_bytes(number), memory.pinned_bytes(number)});
  }
  statistics.clients = pool.clients;
  for (const ClientInfo& client : pool.clients) {
    statistics.charged_bytes.push_back(charge_of(pool, client).bytes());
  }
  statistics.counters = pool.counters;
  snapshot.memory = &memory;
  snapshot.floor = pool.floor.get();
  snapshot.published = published_records(memory);
  const std::vector<std::uint64_t> shared = shared_slots(pool);
  for (std::uint32_t number = 0; number < plan.rings.size(); ++number) {
    snapshot.supply.push_back({
        .published = memory.published_slots(number) + memory.quarantined_slots(number),
        .quarantined = memory.quarantined_slots(number),
        .shared = entry(shared, number),
        .cold = memory.cold_slots_estimate(number),
        .reclaimed_held = entry(pool.counters.reclaimed_held, number),
        .reclaimed_in_transit = entry(pool.counters.reclaimed_in_transit, number),
    });
  }
  return snapshot;
}

PoolStatistics complete(PoolSnapshot snapshot) {
  const lib::ControlPlan& plan = snapshot.memory->plan();
  PoolStatistics statistics = std::move(snapshot.statistics);
  statistics.rings.resize(plan.rings.size());
  add_thread_counters(snapshot.memory->view(), plan, snapshot.published, statistics);
  for (std::size_t number = 0; number < statistics.rings.size(); ++number) {
    RingStatistics& ring = statistics.rings[number];
    const lib::RingPlan& ring_plan = plan.rings[number];
    ring.arena = ring_plan.arena;
    ring.node = plan.shape.arenas[ring_plan.arena].node;
    ring.class_bytes = ring_plan.class_bytes;
    settle_states(ring, snapshot.supply[number]);
    snapshot.floor->raise(number, snapshot.published.threads, ring);
  }
  return statistics;
}

DaemonStatistics complete(DaemonSnapshot snapshot) {
  DaemonStatistics statistics = std::move(snapshot.statistics);
  for (PoolSnapshot& pool : snapshot.pools) statistics.pools.push_back(complete(std::move(pool)));
  return statistics;
}

PoolStatistics collect_pool_statistics(const Pool& pool, Budget& budget) {
  return complete(snapshot_of(pool, budget));
}

}  // namespace zeropool::daemon
