#pragma once
// A pool taken out of service: nobody new is attached, who is attached goes on, and it is said when all buffers are home.
// (Not to be confused with an extent that is draining.)
//
// Thread safety: the loop thread's.
// Invariants:
//   R1  The ledger's word is written before an attach is refused, or answered again: a daemon that takes the pool up (after a
//       kill, or --take-over) goes on where the one before was. A daemon that is stopped forgets it with the pools.
//   R2  Nothing but attaching changes: orders, hand-offs, and connections of clients that are known are served as before. Not
//       known is who was attaching when a daemon died, and a forked child: they are turned away.
//   R3  With no client left, what is out is told by marks and share cells, not by clients' counters, which a kill leaves one
//       operation behind: the last one's reclaim settles them (counter_settling.hpp).

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "daemon/ledger.hpp"
#include "daemon/pool.hpp"
#include "daemon/statistics.hpp"

namespace zeropool::daemon {

// What is still out of a pool.
struct DrainState {
  std::string pool;
  bool draining = false;
  std::uint64_t clients = 0;
  std::uint64_t held_bytes = 0;
  std::uint64_t cached_bytes = 0;
  std::uint64_t in_transit_bytes = 0;
  std::uint64_t shared_bytes = 0;

  // No client, and every buffer home.
  bool empty() const;
  bool drained() const { return draining && empty(); }
};

DrainState drain_state(const PoolStatistics& pool);
// "drained": all of these pools are.
nlohmann::json drain_document(const std::vector<DrainState>& pools);

// What is said to who is turned away.
std::string drain_refusal(const std::string& pool);

// R1. Does nothing where it is so already.
void set_draining(Pool& pool, Ledger& ledger, bool draining);
// That of the daemon before.
void resume_draining(Pool& pool, const Ledger& ledger);
// Logs, once a drain, that the pool is drained. Counts only where no client is left.
void tell_when_drained(Pool& pool, Budget& budget);

}  // namespace zeropool::daemon
