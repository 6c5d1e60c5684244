#pragma once
// Who holds what, and since when: of a pool's clients, by class, what has been held for longer than some time. From two
// sources, of which neither is believed further than a slot's mark bears it out:
//   the daemon's own looks at marks   all clients; lower bounds, as old as the daemon at most (hold_watch.hpp)
//   sampled gets                      of clients that sample: the time of the get, and from where (hold_sample.hpp)
//
// Thread safety: the loop thread's; clients go on, so that the result is an estimate. Nothing is decided on it.
// Invariants:
//   A1  Counted is a slot whose mark says held by a client that is attached; each once by either source.
//   A2  What samples claim of a client and class is never more than what it holds of it (their weights can be forged).
//   A3  No more than HoldBounds::most_samples are kept at a time, whatever clients write: of more, each is dropped with
//       probability 1/2, and what stays stands for twice as much (as in hold_sample_block.hpp, K1).
//   A4  It ends soon after `spent` says so: what was not read by then is missing, and `complete` says that some is.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "daemon/pool.hpp"
#include "zeropool/lib/hold_sample.hpp"

namespace zeropool::daemon {

// What to look for.
struct HoldQuery {
  std::uint64_t older_than_ns = 0;
  std::string pool = {};     // empty: all
  std::uint32_t client = 0;  // an id; 0: all
};

// What one client holds of one class, of those that are old enough.
struct HoldAges {
  std::uint32_t client = 0;
  std::uint64_t class_bytes = 0;
  std::uint64_t buffers = 0;  // estimated where not every slot is watched, or by samples alone
  bool exact = true;          // not estimated, but for what moved meanwhile
  std::uint64_t samples = 0;  // of its gets
  std::uint64_t oldest_ns = 0;
  std::uint64_t median_ns = 0;
};

// Gets from one place in a client.
struct HoldStack {
  std::uint32_t client = 0;
  std::uint64_t class_bytes = 0;
  std::uint64_t buffers = 0;  // estimated
  std::uint64_t samples = 0;
  std::uint64_t oldest_ns = 0;
  std::vector<std::uint64_t> frames;  // the innermost first
};

struct PoolHolds {
  bool complete = true;           // else more is held than this says
  std::uint64_t watched_ns = 0;   // for how long the daemon has looked
  std::vector<HoldAges> ages;     // those that hold most bytes first
  std::vector<HoldStack> stacks;  // likewise
};

// What one answer may cost the loop thread.
struct HoldBounds {
  std::size_t most_samples = 16'384;  // 4 MiB of them
  std::function<bool()> spent = {};   // asked between blocks and rings; none: never
};

PoolHolds hold_ages(const Pool& pool, const HoldQuery& query, std::uint64_t now_ns,
                    const HoldBounds& bounds = {});

}  // namespace zeropool::daemon
