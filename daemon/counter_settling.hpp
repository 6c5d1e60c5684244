#pragma once
// Counters of a pool that its last client has left, made to agree with its marks.
//
// Slots held and in transit are differences of what threads have counted, and a thread that is killed may have done an
// operation that it did not come to count (hot_path.hpp). While clients come and go, such differences stay; with nobody
// attached the marks are the truth and stand still, so then the daemon's own part of the sums takes up what is missing.
//
// Thread safety: the loop thread's; no client is attached, so nobody counts meanwhile.
// Crash safety: a daemon killed before this leaves the difference to the next time that the last client leaves.

#include <cstdint>
#include <vector>

#include "daemon/pool.hpp"

namespace zeropool::daemon {

// `in_transit`: by ring, as the marks are. Nothing is held or cached.
void settle_counters(Pool& pool, const std::vector<std::uint64_t>& in_transit);

}  // namespace zeropool::daemon
