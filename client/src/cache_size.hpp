#pragma once
// How many magazines of a ring a thread keeps: by its use of them, within the pool's thread_cache.
//
// Decided by the thread itself, where it goes to the ring: there it pays a CAS and more already, and knows what it
// needed. The hit path has no part in it. What a thread cannot decide, because it never comes back, the daemon does:
// idle caches are taken (cache_steal.hpp).
//
//   slow start  A new thread keeps what it works with, two magazines, and no spares. Each time that it comes to the
//               ring soon again it may keep one spare more. Soon: less than kSoonNs for each operation since.
//   shrinking   When it comes late, it may keep half of its spares; when it may keep none, it keeps nothing at all: it
//               takes or puts one slot and gives the magazine back. Its kReturns-th return in time ends that.
//   low water   Spares that it did not touch for kIntervalNs it gives back, and may keep so many fewer.
//
// `limit`, where a put leaves the hit path, is not part of it: below a full magazine it would leave half-full ones in
// the ring, and is 0 or all.
//
// Thread safety: the thread's own. All zero: a new thread.

#include <algorithm>
#include <cstdint>

namespace zeropool::client {

struct CacheSize {
  static constexpr std::int64_t kSoonNs = 50'000'000;
  static constexpr std::int64_t kIntervalNs = 1'000'000'000;
  static constexpr std::uint32_t kReturns = 2;
  static constexpr std::uint64_t kMostCounted = 1'000'000;  // operations since: no overflow below

  std::uint64_t operations = 0;    // the thread's in this ring, at its last visit
  std::int64_t visited_ns = 0;     // 0: never
  std::int64_t interval_ns = 0;    // where it began
  std::uint32_t least_spares = 0;  // in it
  std::uint32_t returns = 0;
  bool keeps_nothing = false;

  // The thread goes to the ring, with so many spares. `spare_limit` becomes how many it may keep, at most `most`.
  // Returns how many of its spares are to go back, those that it would use last.
  std::uint32_t visit(std::int64_t now_ns, std::uint64_t operations_now, std::uint32_t spares,
                      std::uint32_t most, std::uint32_t& spare_limit) noexcept {
    const std::uint64_t since = std::min(operations_now - operations, kMostCounted);
    const bool first = visited_ns == 0;
    const bool soon = now_ns - visited_ns <= kSoonNs * static_cast<std::int64_t>(since + 1);
    operations = operations_now;
    visited_ns = now_ns;
    if (first) {
      begin_interval(now_ns, spares);
    } else if (!soon) {
      returns = 0;
      keeps_nothing = keeps_nothing || spare_limit == 0;
      spare_limit /= 2;
    } else if (!keeps_nothing) {
      ++spare_limit;
    } else if (++returns >= kReturns) {
      keeps_nothing = false;
    }
    spare_limit = std::min(spare_limit, most);
    std::uint32_t unused = 0;
    if (now_ns - interval_ns >= kIntervalNs) {
      unused = std::min(least_spares, spares);
      spare_limit -= std::min(unused, spare_limit);
      begin_interval(now_ns, spares - unused);
    }
    return std::max(unused, spares - std::min(spares, spare_limit));
  }

  // It has taken a spare, and has so many left.
  void took_spare(std::uint32_t left) noexcept { least_spares = std::min(least_spares, left); }

 private:
  void begin_interval(std::int64_t now_ns, std::uint32_t spares) noexcept {
    interval_ns = now_ns;
    least_spares = spares;
  }
};

}  // namespace zeropool::client
