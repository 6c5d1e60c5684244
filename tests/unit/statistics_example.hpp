#pragma once
// A DaemonStatistics with two pools and something in every field, for tests.

#include <string>

#include "daemon/statistics.hpp"

namespace zeropool::test {

inline daemon::RingStatistics example_ring(std::uint32_t node, std::uint64_t class_bytes,
                                           std::uint64_t salt) {
  daemon::RingStatistics ring;
  ring.arena = node;
  ring.node = node;
  ring.class_bytes = class_bytes;
  ring.published = 150 + salt;
  ring.free = 100;
  ring.cold = 20;
  ring.cached = 15;
  ring.held = 10 + salt;
  ring.in_transit = 5;
  ring.tls_hits = 1'000'003 + salt;
  ring.shared_hits = 50'021 + salt;
  ring.allocations = 307 + salt;
  ring.puts = 1'050'000;
  ring.ring_claims = 900;
  ring.contention = 41;
  ring.released = 77;
  ring.adopted = 72;
  ring.remote_gets = 13;
  for (std::uint32_t i = 0; i < lib::kFailureReasons; ++i) ring.failures[i] = i + salt;
  return ring;
}

inline daemon::PoolStatistics example_pool(const std::string& name) {
  daemon::PoolStatistics pool;
  pool.name = name;
  pool.committed_bytes = 3ULL << 30;
  pool.metadata_bytes = 12ULL << 20;
  pool.limit_bytes = 6ULL << 30;
  pool.reserved_bytes = 1ULL << 30;
  pool.threads = 12;
  pool.stale_handles = 2;
  pool.double_puts = 1;
  pool.trims = 4;
  pool.trimmed_bytes = 8ULL << 20;
  pool.page_fallbacks[{daemon::PageSize::kHuge2MiB, daemon::PageSize::kThp}] = 3;
  pool.arenas = {{0, lib::PageKind::kHuge2MiB, 1ULL << 30},
                 {1, lib::PageKind::kTransparent, 2ULL << 30}};
  for (const std::uint32_t node : {0U, 1U}) {
    pool.rings.push_back(example_ring(node, 4160, 1));
    pool.rings.push_back(example_ring(node, 65536, 2));
  }
  daemon::ClientInfo client;
  client.id = 7;
  client.pid = 4242;
  client.uid = 1000;
  client.name = "camera <1> & \"co\"";
  pool.clients = {client};
  pool.counters.reclaims = 3;
  pool.counters.orders_granted = 5;
  pool.counters.orders_refused = 2;
  pool.counters.orders_cancelled = 1;
  pool.counters.order_wait.observe(0.0002);
  pool.counters.order_wait.observe(0.7);
  pool.counters.order_wait.observe(60);
  return pool;
}

inline daemon::DaemonStatistics example_statistics() {
  daemon::DaemonStatistics statistics;
  statistics.state = "running";
  statistics.budget_bytes = 8ULL << 30;
  statistics.committed_bytes = 6ULL << 30;
  statistics.started_unix_seconds = 1'700'000'000;
  statistics.last_reload_unix_seconds = 1'700'000'100;
  statistics.rejections["access_denied"] = 9;
  statistics.pools = {example_pool("frames"), example_pool("audio")};
  return statistics;
}

}  // namespace zeropool::test
