#pragma once
// A pool as the daemon serves it: its memory, its clients, its orders, and what is counted about them.
//
// Thread safety: the loop thread's.

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "daemon/config.hpp"
#include "daemon/pool_memory.hpp"

namespace zeropool::daemon {

class OrderDesk;     // order_desk.hpp
class LeaseWatch;    // lease_watch.hpp
class AuditWatch;    // audit_watch.hpp
class IdleCaches;    // idle_caches.hpp
class HoldWatch;     // hold_watch.hpp
class CounterFloor;  // counter_floor.hpp

// A histogram with fixed bounds, in seconds; the last bucket is +Inf.
struct Histogram {
  static constexpr std::array<double, 12> kBounds = {0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.005,
                                                     0.01,    0.05,    0.1,    0.5,    1.0,   5.0};
  std::array<std::uint64_t, kBounds.size() + 1> buckets{};
  std::uint64_t count = 0;
  double sum_seconds = 0;

  void observe(double seconds) {
    std::size_t i = 0;
    while (i < kBounds.size() && seconds > kBounds[i]) ++i;
    ++buckets[i];
    ++count;
    sum_seconds += seconds;
  }
};

// By the audit that runs by itself; what it mended counts among the repairs.
struct AuditCounters {
  std::uint64_t passes = 0;
  std::uint64_t withheld = 0;     // slots and magazines, at the last whole pass
  std::uint64_t stray_bytes = 0;  // at the last look
  std::uint64_t punched_stray_bytes = 0;
};

// Why idle caches were taken: not used for a while, wanted by an order that starves, asked for by a trim.
enum class StealReason : std::uint8_t { kIdle, kStarving, kTrim, kQuota };
inline constexpr std::size_t kStealReasons = 4;
struct StealCounters {
  std::uint64_t threads = 0;
  std::uint64_t bytes = 0;
};

// Counted by the daemon itself (what clients count lies in their thread records).
struct PoolCounters {
  std::uint64_t reclaims = 0;
  std::uint64_t reclaimed_slots = 0;
  std::uint64_t quarantined_slots = 0;
  std::uint64_t repairs = 0;
  std::uint64_t handoffs_expired = 0;
  std::uint64_t orders_granted = 0;
  std::uint64_t orders_refused = 0;
  std::uint64_t orders_cancelled = 0;
  AuditCounters audit;
  std::array<StealCounters, kStealReasons> steals;  // by StealReason
  Histogram reclaim_duration;
  Histogram order_wait;
  // By ring: what reclaim and leases took from holders, so that held = gets + adopted - puts - released - these.
  std::vector<std::uint64_t> reclaimed_held;
  std::vector<std::uint64_t> reclaimed_in_transit;
};

// A client of a pool, as the daemon knows it.
struct ClientInfo {
  std::uint32_t id = 0;
  std::uint32_t epoch = 0;
  std::uint32_t record = 0;  // number of its ClientRecord
  std::int32_t pid = 0;
  std::uint32_t uid = 0;
  std::string name;
  std::uint64_t attached_ns = 0;  // CLOCK_MONOTONIC
  bool suspect = false;           // its socket hung up, its process lives
  bool direct_io = false;         // what it holds is quarantined after it
};

// What a client holds; by a scan of marks and magazines (holders.hpp).
struct ClientHolding {
  std::uint32_t id = 0;
  std::uint64_t held_bytes = 0;
  std::uint64_t cached_bytes = 0;
  std::uint64_t in_transit_bytes = 0;
  std::uint64_t shared_bytes = 0;   // that it reads with others: each is said to have all of them
  std::uint64_t charged_bytes = 0;  // as the client keeps it (client_charge.hpp), not by the scan
};

struct Pool {
  PoolConfig config;
  std::unique_ptr<PoolMemory> memory;
  std::vector<ClientInfo> clients;
  PoolCounters counters;
  std::unique_ptr<OrderDesk> orders;
  std::unique_ptr<LeaseWatch> leases;
  std::unique_ptr<AuditWatch> audit;
  std::unique_ptr<IdleCaches> idle;
  bool draining = false;        // nobody new is attached (drain.hpp)
  bool may_be_drained = false;  // something has happened since that was looked at last
  bool told_drained = false;    // and it was said that it is empty
  std::unique_ptr<HoldWatch> holds;
  std::unique_ptr<CounterFloor> floor;  // never null

  Pool();
  ~Pool();
  Pool(Pool&&) noexcept;
  Pool& operator=(Pool&&) noexcept;
};

}  // namespace zeropool::daemon
