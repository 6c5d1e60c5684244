#pragma once
// A deterministic scheduler for shared-memory protocols: every access to a ScheduledAtomic is a point at which
// another actor may go on, and an actor may be killed (dropped, never resumed) after its n-th access.
//
// How: actors are fibers in one OS thread. A fiber stops before each access; the next one to go on is chosen
// by a depth-first search over all choices, replayed from the start for each run. Runs that differ only in the
// order of independent accesses (other words, or two reads) are explored once (sleep sets), so "all
// interleavings" stays affordable. Where it is not: a bound on preemptions, or random schedules.
//
// Rules for a test: what actors tell each other goes through ScheduledAtomic too (else the search may leave
// out an order that matters); an actor's locals are trivially destructible (a killed fiber unwinds nothing).
// Memory is sequentially consistent here: weak orders are the business of the thread sanitizer and of models.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace zeropool::test {

#if defined(__SANITIZE_THREAD__)
inline constexpr bool kCanSchedule = false;  // the thread sanitizer does not follow fibers
#else
inline constexpr bool kCanSchedule = true;
#endif

inline constexpr std::uint32_t kNever = 0xffffffffU;

struct Actor {
  std::function<void()> body;
  std::uint32_t kill_after = kNever;   // accesses that it still makes
  int after = -1;                      // starts when that actor, one before it, has ended or died
  std::function<void()> prelude = {};  // runs unscheduled, just before it starts
  bool dies_anyway = false;  // its kill is not counted: not the one that explore_kills moves
};

// One run: made anew for each schedule.
struct Script {
  std::vector<Actor> actors;     // at most 8
  std::function<void()> finish;  // after all actors: the checks
};

struct Limits {
  std::uint64_t runs = 2'000'000;
  std::uint32_t preemptions = kNever;  // kNever: all interleavings
  std::uint64_t random_seed = 0;       // not 0: `runs` random schedules instead of a search
};

struct Explored {
  std::string failure;       // of the first run that failed, with its schedule; empty: none did
  std::uint64_t runs = 0;    // finished and checked
  bool complete = false;     // the search ended before Limits::runs did
  std::uint32_t killed = 0;  // runs in which somebody was killed
};

Explored explore(const std::function<Script()>& make, const Limits& limits = {});

// explore() for kill points 0, 1, 2, ... of whoever `make` gives its argument to, until nobody dies any more.
// Always the same result as one search, summed up.
Explored explore_kills(const std::function<Script(std::uint32_t kill_after)>& make,
                       const Limits& limits = {});

// Called by actors and finish(): this run has failed. The first sentence counts.
void fail(const std::string& sentence);
inline void expect(bool condition, const char* sentence) {
  if (!condition) fail(sentence);
}

namespace detail {
void before_access(const void* word, bool writes) noexcept;
}

// As std::atomic<T>, in size, layout and the operations that the structures under test use.
template <typename T>
class ScheduledAtomic {
 public:
  constexpr ScheduledAtomic() noexcept = default;
  ScheduledAtomic(const ScheduledAtomic&) = delete;
  ScheduledAtomic& operator=(const ScheduledAtomic&) = delete;

  T load(std::memory_order = std::memory_order_seq_cst) const noexcept {
    detail::before_access(this, false);
    return value_;
  }
  void store(T value, std::memory_order = std::memory_order_seq_cst) noexcept { swap_in(value); }
  T exchange(T value, std::memory_order = std::memory_order_seq_cst) noexcept {
    return swap_in(value);
  }
  T fetch_add(T by, std::memory_order = std::memory_order_seq_cst) noexcept {
    detail::before_access(this, true);
    const T old = value_;
    value_ = static_cast<T>(old + by);
    return old;
  }
  T fetch_or(T bits, std::memory_order = std::memory_order_seq_cst) noexcept {
    detail::before_access(this, true);
    const T old = value_;
    value_ = old | bits;
    return old;
  }
  T fetch_and(T bits, std::memory_order = std::memory_order_seq_cst) noexcept {
    detail::before_access(this, true);
    const T old = value_;
    value_ = old & bits;
    return old;
  }
  bool compare_exchange_strong(T& expected, T desired,
                               std::memory_order = std::memory_order_seq_cst,
                               std::memory_order = std::memory_order_seq_cst) noexcept {
    detail::before_access(this, true);
    if (value_ != expected) {
      expected = value_;
      return false;
    }
    value_ = desired;
    return true;
  }

 private:
  T swap_in(T value) noexcept {
    detail::before_access(this, true);
    const T old = value_;
    value_ = value;
    return old;
  }

  alignas(sizeof(T)) T value_{};
};

static_assert(sizeof(ScheduledAtomic<std::uint32_t>) == sizeof(std::atomic<std::uint32_t>));
static_assert(alignof(ScheduledAtomic<std::uint64_t>) == alignof(std::atomic<std::uint64_t>));

}  // namespace zeropool::test
