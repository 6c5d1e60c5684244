#pragma once
// What a client's thread keeps in shared memory: its caches' magazine numbers, and its counters.
//
// Thread safety: a record belongs to the thread of the client named by `owner`; others only read it, but for
// `steal` and `limit`, which the daemon writes too.
// Invariants:
//   T1  loaded, previous and spares name magazines that this thread owns, whenever `busy` is 0. (While it is 1
//       they may lag behind by one claim or release: the owner words are the truth.) Once `steal` is kStealTaken they
//       are nobody's word any more: the daemon has taken them (cache_steal.hpp).
//   T2  Counters have one writer, only grow, and are never reset: the next owner of a record goes on from them.
//   T3  An operation writes busy = 1 before its first access to a magazine and busy = 0 after its last one, and
//       does nothing to a magazine when it then reads a `steal` other than kStealNone.
// Crash safety: a dead thread's magazines are found by their owner words, not by this record, which reclaim
// then clears (numbers first, `owner` last: COMMIT).

#include <atomic>
#include <cstdint>

#include <zeropool/lib/layout_constants.hpp>

namespace zeropool::inline v1::lib {

inline constexpr std::uint32_t kStealNone = 0;       // the thread uses its caches
inline constexpr std::uint32_t kStealRequested = 1;  // the daemon asks whether it is idle
inline constexpr std::uint32_t kStealTaken = 2;      // the daemon has taken its magazines

// Why a get failed: the indices of RingRecord::failures and the metric's `reason`.
enum class FailureReason : std::uint32_t {
  kBudgetExhausted = 0,
  kQuotaExceeded = 1,
  kTimedOut = 2,
  kWouldWait = 3,
  kNoDaemon = 4,
  kTooManyOrders = 5,
  kInvalidSize = 6,  // 0, or larger than every class; counted in the first ring's record
  kOther = 7,
};
inline constexpr std::uint32_t kFailureReasons = 8;

// RingRecord::loaded.
constexpr std::uint32_t loaded_number(std::uint64_t loaded) noexcept {
  return static_cast<std::uint32_t>(loaded);
}

// Gets and puts of a thread in a ring up to the moment when the loaded magazine's count word was `since`.
template <template <typename> class Atom>
struct TallyBase {
  Atom<std::uint64_t> hits;  // gets served by this thread's own magazines
  Atom<std::uint64_t> puts;
  Atom<std::uint64_t> since;
};

// One thread and one ring. Magazine numbers are 1 + the pool-wide number; 0 means none.
template <template <typename> class Atom>
struct alignas(kCacheLine) RingRecord {
  // What a put by the hit path reads, and what a claim writes.
  Atom<std::uint64_t> loaded;  // {tally number: 32, magazine number: 32} (thread_tally.hpp)
  Atom<std::uint32_t> previous;
  Atom<std::uint32_t>
      limit;  // a put with so many slots in `loaded` takes the slow path; 0 while orders wait
  Atom<std::uint32_t> spare_limit;  // spares that the thread may keep
  Atom<std::uint32_t> spare_count;
  Atom<std::uint64_t> shared_hits;  // gets served by a claim
  Atom<std::uint64_t> allocations;  // gets served by an order
  Atom<std::uint64_t> ring_claims;  // magazines claimed
  Atom<std::uint64_t> contention;   // lost CAS and skipped magazines
  Atom<std::uint64_t> dropped;      // entries found not free at a get
  // The line of hits and puts.
  TallyBase<Atom> tallies[2];
  Atom<std::uint64_t> taken_hits;  // both, once `steal` is kStealTaken: the daemon's to write
  Atom<std::uint64_t> taken_puts;
  // The line of spares and hand-offs.
  Atom<std::uint32_t> spares[kMaxSpares];
  Atom<std::uint64_t> released;     // hand-offs begun
  Atom<std::uint64_t> adopted;      // hand-offs ended
  Atom<std::uint64_t> remote_gets;  // gets served from another node than the thread's
  Atom<std::uint64_t> reserved[2];
  // The line of failures.
  Atom<std::uint64_t> failures[kFailureReasons];
};

template <template <typename> class Atom>
struct alignas(kCacheLine) ThreadRecord {
  Atom<std::uint64_t> owner;  // OwnerWord of kind kThread; 0: the record is free
  Atom<std::uint32_t> home_arena;
  Atom<std::uint32_t> tid;      // 0: of a cache that a process's threads share
  Atom<std::uint32_t> closing;  // 1: its client closed the pool; limits stay 0
  Atom<std::uint32_t>
      barriers;  // 1: its process takes part in membarrier, so its caches can be taken
  Atom<std::uint64_t> reserved[3];
  // Not at the offset of Magazine::count: a load of that behind a store of `busy` whose address has the same low
  // 12 bits would be taken for one of it (4 KiB aliasing), at every operation.
  Atom<std::uint32_t> busy;
  Atom<std::uint32_t> steal;
  Atom<std::uint64_t> reserved_end;
  // The line of misuse.
  Atom<std::uint64_t> stale_handles;
  Atom<std::uint64_t> double_puts;
  Atom<std::uint64_t> foreign_puts;
  Atom<std::uint64_t> orphaned_puts;
  Atom<std::uint64_t> orders;
  Atom<std::uint64_t> order_wait_ns;
  Atom<std::uint64_t> reserved_counters[2];
  // RingRecord rings[ring_count] follow.
};

}  // namespace zeropool::v1::lib
