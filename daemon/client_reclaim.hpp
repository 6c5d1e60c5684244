#pragma once
// Everything that a dead client leaves in a pool, given back.
//
// Thread safety: the loop thread's; other clients go on. The client is dead, or has said that it is done.
// Invariants:
//   D1  Its slots come back first, then its orders, then its holds of shares, its cells, then its records: whatever still names it is
//       found again when the daemon is killed here and reclaims once more.
// Trust: each word is read once; indices are bounded by the plan.

#include <cstdint>

#include "daemon/pool.hpp"
#include "daemon/share_ends.hpp"
#include "zeropool/lib/reclaim.hpp"

namespace zeropool::daemon {

struct ClientReclaim {
  lib::ReclaimReport slots;
  ShareCounts shares;
  std::uint64_t threads = 0;
  std::uint64_t orders = 0;
  std::uint64_t begun_ns = 0;  // CLOCK_MONOTONIC
  double seconds = 0;
};

// Also counts it in the pool's counters. The caller takes the client out of pool.clients and the ledger. `direct_io`:
// what it held is quarantined.
ClientReclaim reclaim_client(Pool& pool, std::uint32_t client, std::uint32_t epoch,
                             std::uint32_t record, bool direct_io = false);

}  // namespace zeropool::daemon
