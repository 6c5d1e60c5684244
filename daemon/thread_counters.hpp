#pragma once
// What the threads of a pool have counted in shared memory, added up; and the slots by state that
// follow.
//
// Thread safety: any thread; plain reads of words that others write, each copied once. A scrape
// makes nobody wait.
// Trust: every word may be garbage: indices are checked, counts clamped, sums wrap instead of
// trapping.

#include <cstdint>
#include <vector>

#include "daemon/pool_memory.hpp"
#include "daemon/statistics.hpp"
#include "zeropool/lib/control_plan.hpp"
#include "zeropool/lib/control_view.hpp"
#include "zeropool/lib/thread_tally.hpp"

namespace zeropool::daemon {

// How much is there to look at, as the daemon knows it: the words in the segment are clients' to write.
struct PublishedRecords {
  std::uint32_t threads = 0;
  std::vector<std::uint32_t> cells;  // by ring
};
PublishedRecords published_records(const PoolMemory& memory);

// Adds every published thread record to `pool`, whose rings are those of the plan, in their order.
// `cached` becomes what the records' magazines hold.
void add_thread_counters(const lib::ControlView& view, const lib::ControlPlan& plan,
                         const PublishedRecords& published, PoolStatistics& pool);

// Gets and puts that a thread's own magazines of a ring have served.
lib::Tally tally_of(const lib::ControlView& view, const lib::RingPlan& plan, std::uint32_t cells,
                    const lib::SharedThreadRecord& thread, const lib::SharedRingRecord& record);

// What the states of one ring are derived from, besides its counters and `cached`.
struct RingSupply {
  std::uint64_t published = 0;
  std::uint64_t quarantined = 0;
  std::uint64_t shared = 0;                // by the share cells
  std::uint64_t cold = 0;                  // by the hints
  std::uint64_t reclaimed_held = 0;        // taken from dead holders
  std::uint64_t reclaimed_in_transit = 0;  // taken back from hand-offs that nobody ended
};

// Sets published, quarantined, shared, held, in_transit, cached, cold and free so that the others sum to the first,
// whatever the counters say: each is cut to what those before it leave, free is the rest.
void settle_states(RingStatistics& ring, const RingSupply& supply);

}  // namespace zeropool::daemon
