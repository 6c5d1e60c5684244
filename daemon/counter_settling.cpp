#include "daemon/counter_settling.hpp"

#include "daemon/share_ends.hpp"
#include "daemon/thread_counters.hpp"

namespace zeropool::daemon {

void settle_counters(Pool& pool, const std::vector<std::uint64_t>& in_transit) {
  const PoolMemory& memory = *pool.memory;
  PoolStatistics sums;
  sums.rings.resize(memory.ring_count());
  add_thread_counters(memory.view(), memory.plan(), published_records(memory), sums);
  const std::vector<std::uint64_t> shared = shared_slots(pool);
  PoolCounters& counters = pool.counters;
  counters.reclaimed_held.resize(memory.ring_count());
  counters.reclaimed_in_transit.resize(memory.ring_count());
  // As settle_states() takes them apart; sums of counters wrap.
  for (std::uint32_t number = 0; number < memory.ring_count(); ++number) {
    const RingStatistics& ring = sums.rings[number];
    const std::uint64_t served = ring.tls_hits + ring.shared_hits + ring.allocations;
    counters.reclaimed_held[number] = served + ring.adopted - ring.puts - ring.released;
    counters.reclaimed_in_transit[number] =
        ring.released - ring.adopted - shared[number] - in_transit[number];
  }
}

}  // namespace zeropool::daemon
