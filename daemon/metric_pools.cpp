#include "daemon/metric_pools.hpp"

#include <functional>
#include <string>
#include <utility>

#include "daemon/human_bytes.hpp"
#include "daemon/statistics_words.hpp"

namespace zeropool::daemon {
namespace {

using Pools = std::vector<PoolStatistics>;

MetricLabels with(MetricLabels labels, const char* name, std::string value) {
  labels.push_back({name, std::move(value)});
  return labels;
}

MetricLabels pool_labels(const PoolStatistics& pool) { return {{"pool", pool.name}}; }

MetricLabels ring_labels(const PoolStatistics& pool, const RingStatistics& ring) {
  return {{"pool", pool.name},
          {"node", std::to_string(ring.node)},
          {"class", exact_bytes(ring.class_bytes)}};
}

// One series a pool. `value` names or computes the number.
template <typename Value>
void each_pool(MetricSheet::Family family, const Pools& pools, Value value) {
  for (const PoolStatistics& pool : pools) family.set(pool_labels(pool), std::invoke(value, pool));
}

// One series a pool, node and class.
template <typename Value>
void each_ring(MetricSheet::Family family, const Pools& pools, Value value) {
  for (const PoolStatistics& pool : pools) {
    for (const RingStatistics& ring : pool.rings) {
      family.set(ring_labels(pool, ring), std::invoke(value, ring));
    }
  }
}

void add_steals(MetricSheet& sheet, const Pools& pools) {
  const auto each_reason = [&](MetricSheet::Family family, std::uint64_t StealCounters::*value) {
    for (const PoolStatistics& pool : pools) {
      for (std::size_t reason = 0; reason < kStealReasons; ++reason) {
        family.set(with(pool_labels(pool), "reason", steal_word(static_cast<StealReason>(reason))),
                   pool.counters.steals[reason].*value);
      }
    }
  };
  each_reason(sheet.counter("steals_total", "Threads whose idle caches were taken, by reason."),
              &StealCounters::threads);
  each_reason(sheet.counter("stolen_bytes_total",
                            "Buffers in idle caches that were taken, in bytes, by reason."),
              &StealCounters::bytes);
}

void add_memory(MetricSheet& sheet, const Pools& pools) {
  MetricSheet::Family committed = sheet.gauge(
      "committed_bytes", "Buffer memory committed, by node and the page size that was got.");
  for (const PoolStatistics& pool : pools) {
    for (const ArenaStatistics& arena : pool.arenas) {
      MetricLabels labels = with(pool_labels(pool), "node", std::to_string(arena.node));
      committed.set(with(std::move(labels), "page_size", page_size_word(arena.page_kind)),
                    arena.committed_bytes);
    }
  }
  MetricSheet::Family misplaced = sheet.gauge(
      "misplaced_bytes", "Committed memory that lies on another node than asked for, by samples.");
  for (const PoolStatistics& pool : pools) {
    for (const ArenaStatistics& arena : pool.arenas) {
      misplaced.set(with(pool_labels(pool), "node", std::to_string(arena.node)),
                    arena.misplaced_bytes);
    }
  }
  MetricSheet::Family pinned =
      sheet.gauge("pinned_bytes", "Buffers that clients have pinned, each counted once.");
  for (const PoolStatistics& pool : pools) {
    for (const ArenaStatistics& arena : pool.arenas) {
      pinned.set(with(pool_labels(pool), "node", std::to_string(arena.node)), arena.pinned_bytes);
    }
  }
  each_pool(sheet.gauge("metadata_bytes", "Committed for the pool's control segment."), pools,
            &PoolStatistics::metadata_bytes);
  each_pool(sheet.gauge("pool_limit_bytes", "The most that the pool may commit."), pools,
            &PoolStatistics::limit_bytes);
  each_pool(sheet.gauge("pool_reserved_bytes", "The part of the budget that is the pool's alone."),
            pools, &PoolStatistics::reserved_bytes);
  each_pool(sheet.counter("trims_total", "Extents given back to the system."), pools,
            &PoolStatistics::trims);
  each_pool(sheet.counter("trimmed_bytes_total", "Memory given back to the system."), pools,
            &PoolStatistics::trimmed_bytes);
  add_steals(sheet, pools);
  MetricSheet::Family released =
      sheet.counter("released_bytes_total", "Memory given back to the system, by the reason why.");
  for (const PoolStatistics& pool : pools) {
    for (std::size_t reason = 0; reason < kReleaseReasons; ++reason) {
      released.set(
          with(pool_labels(pool), "reason", release_word(static_cast<ReleaseReason>(reason))),
          pool.released_bytes[reason]);
    }
  }
  MetricSheet::Family fallbacks = sheet.counter(
      "page_fallbacks_total", "Pages of one size that could not be had, and what was got instead.");
  for (const PoolStatistics& pool : pools) {
    for (const auto& [sizes, count] : pool.page_fallbacks) {
      fallbacks.set(with(with(pool_labels(pool), "from", page_size_word(sizes.first)), "to",
                         page_size_word(sizes.second)),
                    count);
    }
  }
}

void add_clients_and_orders(MetricSheet& sheet, const Pools& pools) {
  each_pool(sheet.gauge("clients", "Attached processes."), pools, [](const PoolStatistics& pool) {
    return static_cast<std::uint64_t>(pool.clients.size());
  });
  each_pool(sheet.gauge("threads", "Threads with caches."), pools, &PoolStatistics::threads);
  each_pool(sheet.gauge("orders_waiting", "Orders that wait for memory."), pools,
            &PoolStatistics::orders_waiting);
  each_pool(sheet.counter("orders_total", "Orders that ended: granted, refused or cancelled."),
            pools, [](const PoolStatistics& pool) {
              return pool.counters.orders_granted + pool.counters.orders_refused +
                     pool.counters.orders_cancelled;
            });
  each_pool(
      sheet.histogram("order_wait_seconds", "From an order's arrival to its grant, in seconds."),
      pools, [](const PoolStatistics& pool) { return pool.counters.order_wait; });
}

void add_recovery_and_misuse(MetricSheet& sheet, const Pools& pools) {
  each_pool(sheet.counter("reclaims_total", "Dead clients whose slots were given back."), pools,
            [](const PoolStatistics& pool) { return pool.counters.reclaims; });
  each_pool(sheet.counter("reclaimed_slots_total", "Slots that dead clients held."), pools,
            [](const PoolStatistics& pool) { return pool.counters.reclaimed_slots; });
  each_pool(sheet.counter("quarantined_slots_total",
                          "Slots that dead clients with direct I/O held: quarantined until they "
                          "have new pages."),
            pools, [](const PoolStatistics& pool) { return pool.counters.quarantined_slots; });
  each_pool(sheet.histogram("reclaim_duration_seconds", "How long one reclaim took, in seconds."),
            pools, [](const PoolStatistics& pool) { return pool.counters.reclaim_duration; });
  each_pool(sheet.counter("repairs_total", "Impossible values found in shared memory and mended."),
            pools, [](const PoolStatistics& pool) { return pool.counters.repairs; });
  each_pool(sheet.gauge("stray_bytes",
                        "Touched without being committed, at the audit's last look; punched out."),
            pools, [](const PoolStatistics& pool) { return pool.counters.audit.stray_bytes; });
  each_pool(
      sheet.counter("punched_stray_bytes_total", "Touched without being committed, punched out."),
      pools, [](const PoolStatistics& pool) { return pool.counters.audit.punched_stray_bytes; });
  each_pool(sheet.counter("audit_passes_total", "Times that the audit has looked at every word."),
            pools, [](const PoolStatistics& pool) { return pool.counters.audit.passes; });
  each_pool(sheet.gauge("withheld_items",
                        "Slots and magazines whose damaged word leaves open which client uses "
                        "them; given back when those attached at the time have gone."),
            pools, [](const PoolStatistics& pool) { return pool.counters.audit.withheld; });
  each_pool(sheet.counter("handoffs_expired_total", "Hand-offs that nobody adopted in time."),
            pools, [](const PoolStatistics& pool) { return pool.counters.handoffs_expired; });
  each_pool(sheet.counter("stale_handles_total", "Handles adopted too late or twice."), pools,
            &PoolStatistics::stale_handles);
  each_pool(sheet.counter("double_puts_total", "Puts of a buffer that was put before."), pools,
            &PoolStatistics::double_puts);
  each_pool(sheet.counter("foreign_puts_total", "Puts by a process that does not hold the buffer."),
            pools, &PoolStatistics::foreign_puts);
  each_pool(sheet.counter("orphaned_puts_total", "Puts for which no magazine could be found."),
            pools, &PoolStatistics::orphaned_puts);
}

void add_states(MetricSheet& sheet, const Pools& pools) {
  MetricSheet::Family slots =
      sheet.gauge("slots", "Published slots by state. free, cold and cached are estimates.");
  for (const PoolStatistics& pool : pools) {
    for (const RingStatistics& ring : pool.rings) {
      const std::pair<const char*, std::uint64_t> states[] = {{"free", ring.free},
                                                              {"cold", ring.cold},
                                                              {"cached", ring.cached},
                                                              {"held", ring.held},
                                                              {"in_transit", ring.in_transit},
                                                              {"shared", ring.shared},
                                                              {"quarantined", ring.quarantined}};
      for (const auto& [state, count] : states) {
        slots.set(with(ring_labels(pool, ring), "state", state), count);
      }
    }
  }
}

void add_failures(MetricSheet& sheet, const Pools& pools) {
  MetricSheet::Family failures =
      sheet.counter("get_failures_total", "Gets that failed, by reason.");
  for (const PoolStatistics& pool : pools) {
    for (const RingStatistics& ring : pool.rings) {
      for (std::uint32_t reason = 0; reason < lib::kFailureReasons; ++reason) {
        failures.set(with(ring_labels(pool, ring), "reason", failure_word(reason)),
                     ring.failures[reason]);
      }
    }
  }
}

}  // namespace

void add_pool_metrics(MetricSheet& sheet, const Pools& pools) {
  add_memory(sheet, pools);
  add_clients_and_orders(sheet, pools);
  add_recovery_and_misuse(sheet, pools);
}

void add_ring_metrics(MetricSheet& sheet, const Pools& pools) {
  add_states(sheet, pools);
  each_ring(
      sheet.counter("gets_total", "Gets: the sum of the hits, the allocations and the failures."),
      pools, &RingStatistics::gets);  // X1
  each_ring(sheet.counter("puts_total", "Buffers put back."), pools, &RingStatistics::puts);
  each_ring(sheet.counter("tls_hits_total", "Gets served by the thread's own magazines."), pools,
            &RingStatistics::tls_hits);
  each_ring(sheet.counter("shared_hits_total", "Gets served by a magazine claimed from the ring."),
            pools, &RingStatistics::shared_hits);
  each_ring(sheet.counter("allocations_total", "Gets served by an order to the daemon."), pools,
            &RingStatistics::allocations);
  add_failures(sheet, pools);
  each_ring(sheet.counter("remote_gets_total", "Gets served from another node than the thread's."),
            pools, &RingStatistics::remote_gets);
  each_ring(sheet.counter("contention_events_total", "Races lost and magazines passed over."),
            pools, &RingStatistics::contention);
  each_ring(sheet.counter("ring_claims_total", "Magazines claimed."), pools,
            &RingStatistics::ring_claims);
  each_ring(sheet.counter("handoffs_total", "Buffers released to another process."), pools,
            &RingStatistics::released);
  each_ring(sheet.counter("adoptions_total", "Buffers adopted from another process."), pools,
            &RingStatistics::adopted);
  each_ring(sheet.counter("dropped_entries_total", "Magazine entries that a get found not free."),
            pools, &RingStatistics::dropped);
}

}  // namespace zeropool::daemon
