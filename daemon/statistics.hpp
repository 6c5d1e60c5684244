#pragma once
// What the daemon knows about itself at one instant, as plain numbers: the source of /metrics, of the status
// page and of zeropoolctl. Built on the loop thread from counters, without a scan of slots.

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "daemon/pool.hpp"
#include "daemon/release_watch.hpp"
#include "zeropool/lib/thread_record.hpp"

namespace zeropool::daemon {

struct RingStatistics {
  std::uint32_t arena = 0;
  std::uint32_t node = 0;
  std::uint64_t class_bytes = 0;
  // Slots by state; sums to `published`.
  std::uint64_t published = 0;
  std::uint64_t free = 0;  // in the ring, hot or partial
  std::uint64_t cold = 0;
  std::uint64_t cached = 0;
  std::uint64_t held = 0;
  std::uint64_t in_transit = 0;
  std::uint64_t quarantined = 0;
  std::uint64_t shared = 0;  // with several readers
  // Counters.
  std::uint64_t tls_hits = 0;
  std::uint64_t shared_hits = 0;
  std::uint64_t allocations = 0;
  std::uint64_t puts = 0;
  std::uint64_t ring_claims = 0;
  std::uint64_t contention = 0;
  std::uint64_t released = 0;
  std::uint64_t adopted = 0;
  std::uint64_t remote_gets = 0;
  std::uint64_t dropped = 0;
  std::uint64_t failures[lib::kFailureReasons] = {};
  std::uint64_t gets() const;  // tls_hits + shared_hits + allocations + failures
};

struct ArenaStatistics {
  std::uint32_t node = 0;
  lib::PageKind page_kind = lib::PageKind::kSmall4KiB;
  std::uint64_t committed_bytes = 0;
  std::uint64_t misplaced_bytes = 0;
  std::uint64_t pinned_bytes = 0;
};

struct PoolStatistics {
  std::string name;
  bool draining = false;              // nobody new is attached
  std::uint64_t committed_bytes = 0;  // with metadata
  std::uint64_t metadata_bytes = 0;
  std::uint64_t limit_bytes = 0;
  std::uint64_t client_quota_bytes = 0;  // 0: none
  std::uint64_t reserved_bytes = 0;
  std::uint64_t orders_waiting = 0;
  std::uint64_t threads = 0;
  std::uint64_t stale_handles = 0;
  std::uint64_t double_puts = 0;
  std::uint64_t foreign_puts = 0;
  std::uint64_t orphaned_puts = 0;
  std::uint64_t trims = 0;
  std::uint64_t trimmed_bytes = 0;
  ReleasedBytes released_bytes{};
  std::map<std::pair<PageSize, PageSize>, std::uint64_t> page_fallbacks;
  std::vector<ArenaStatistics> arenas;
  std::vector<RingStatistics> rings;
  std::vector<ClientInfo> clients;
  std::vector<std::uint64_t> charged_bytes;  // of each client: what it holds and caches
  PoolCounters counters;
};

struct DaemonStatistics {
  std::string state;  // starting, running, stopping
  std::uint64_t budget_bytes = 0;
  std::uint64_t committed_bytes = 0;
  std::uint64_t started_unix_seconds = 0;
  bool last_reload_successful = true;
  std::uint64_t last_reload_unix_seconds = 0;
  std::uint32_t top_clients = 0;  // how many of a pool's clients have series of their own
  std::map<std::string, std::uint64_t> rejections;  // attaches refused, by error name
  ReleaseStatistics release;
  std::vector<PoolStatistics> pools;
};

PoolStatistics collect_pool_statistics(const Pool& pool, Budget& budget);

}  // namespace zeropool::daemon
