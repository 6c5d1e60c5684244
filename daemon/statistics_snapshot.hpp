#pragma once
// DaemonStatistics in two steps, so that a scrape keeps nobody waiting: what only the loop's thread may read, in
// microseconds; then what clients' threads have counted, which is most of it, on any thread.
//
// Thread safety: complete() on any thread while the pools' memory is mapped.
// Invariants:
//   V1  Each counter is read once, so sums over one completed snapshot are exact. The two steps are not one instant:
//       slots by state are an estimate (they are cut to what is published).

#include <vector>

#include "daemon/statistics.hpp"
#include "daemon/thread_counters.hpp"

namespace zeropool::daemon {

struct PoolSnapshot {
  PoolStatistics statistics;  // but for the rings, the threads and misuse
  const PoolMemory* memory = nullptr;
  CounterFloor* floor = nullptr;  // the pool's
  PublishedRecords published;
  std::vector<RingSupply> supply;
};

struct DaemonSnapshot {
  DaemonStatistics statistics;  // without pools
  std::vector<PoolSnapshot> pools;
};

PoolSnapshot snapshot_of(const Pool& pool, Budget& budget);
PoolStatistics complete(PoolSnapshot snapshot);
DaemonStatistics complete(DaemonSnapshot snapshot);

}  // namespace zeropool::daemon
