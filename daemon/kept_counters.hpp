#pragma once
// Counters that go on after a restart of the daemon: what the daemon counts itself has a copy in the ledger. (What
// clients count lies in the control segments, which are kept anyway.)
//
// Thread safety: the loop thread's.
// Invariants:
//   K1  A figure that was scraped is in the ledger: it is kept before the scrape is answered, so no counter is ever seen
//       to go back.
//   K2  The place of a counter in the ledger never changes its meaning; new ones take places that were 0.
// Crash safety: each word is a counter of its own, so a kill while they are written leaves each at its value before or
// after. Lost is what was counted since the loop last slept; what reclaim took from holders is kept at its end, because
// slots{state="held"} rests on it.

#include <map>
#include <string>

#include "daemon/ledger.hpp"
#include "daemon/pool.hpp"
#include "daemon/pressure_watch.hpp"

namespace zeropool::daemon {

// Once, when the pool has its memory: goes on from what the ledger has of it.
void resume_counters(Pool& pool, Ledger& ledger);
void keep_counters(const Pool& pool, Ledger& ledger);

// What the daemon counts of no pool.
struct DaemonCounts {
  std::map<std::string, std::uint64_t> rejections;  // by error name
  PressureCounters pressure_events{};
};
DaemonCounts kept_counts(Ledger& ledger);
void keep_counts(const std::map<std::string, std::uint64_t>& rejections,
                 const PressureCounters& pressure_events, Ledger& ledger);

}  // namespace zeropool::daemon
