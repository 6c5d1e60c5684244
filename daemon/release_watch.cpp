#include "daemon/release_watch.hpp"

#include <algorithm>
#include <utility>

#include <spdlog/spdlog.h>

#include "daemon/demand_window.hpp"
#include "daemon/order_desk.hpp"

namespace zeropool::daemon {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::nanoseconds kNextTurn = 1ms;  // others first
// While what is above the budget is all with clients, who may put it back without a word to the daemon.
constexpr std::chrono::nanoseconds kFirstShrinkWait = 10ms;
constexpr std::chrono::nanoseconds kMostShrinkWait = 1s;
// After clients came or went: many may.
constexpr std::chrono::nanoseconds kSettle = 100ms;
// One event of pressure releases so much of what is committed, and at least kTurnBytes; and so long the pools grow no
// further ahead of demand.
constexpr std::uint64_t kPressurePart = 8;
constexpr std::chrono::nanoseconds kReliefEvery = 250ms;
constexpr std::chrono::nanoseconds kNoTopUp = 10s;
// While clients are attached, so that a need between two looks is a short one.
constexpr int kLooksAPart = 4;
constexpr std::chrono::nanoseconds kWordEvery = 10s;

std::uint64_t less(std::uint64_t from, std::uint64_t bytes) {
  return from > bytes ? from - bytes : 0;
}

template <typename Wait>
Wait earlier(Wait a, Wait b) {
  if (!a || !b) return a ? a : b;
  return std::min(*a, *b);
}

}  // namespace

ReleaseWatch::ReleaseWatch(EventLoop& loop, Budget& budget,
                           const std::vector<std::unique_ptr<Pool>>& pools, PressurePaths paths)
    : loop_(loop),
      budget_(budget),
      pools_(pools),
      pressure_(loop, std::move(paths), [this](PressureSource source) { on_pressure(source); }) {}

ReleaseWatch::~ReleaseWatch() { loop_.cancel(timer_); }

ReleaseStatistics ReleaseWatch::statistics() const {
  return {less(budget_.committed(), budget_.budget()), pressure_events_, pressure_.sources()};
}

void ReleaseWatch::look() { turn(); }

void ReleaseWatch::look_before_sleep() {
  const Stamp now = stamp();
  if (now == seen_) return;
  came_or_went_ = came_or_went_ || now.clients != seen_.clients ||
                  now.comings_and_goings != seen_.comings_and_goings;
  if (timer_ == 0 || came_or_went_) arm(kSettle);
}

// A turn that is to come earlier stays.
void ReleaseWatch::arm(std::chrono::nanoseconds wait) {
  const Clock::time_point due = Clock::now() + wait;
  if (timer_ != 0 && due_ <= due) return;
  loop_.cancel(timer_);
  due_ = due;
  timer_ = loop_.after(wait, [this] {
    timer_ = 0;
    turn();
  });
}

void ReleaseWatch::turn() {
  const Clock::time_point now = Clock::now();
  Wait next = shrink();
  next = earlier(next, relieve(now));
  next = earlier(next, release_idle(now));
  seen_ = stamp();
  came_or_went_ = false;
  loop_.cancel(std::exchange(timer_, 0));
  if (next) arm(*next);
}

ReleaseWatch::Stamp ReleaseWatch::stamp() const {
  Stamp sum;
  sum.committed_bytes = budget_.committed();
  for (const auto& pool : pools_) {
    sum.clients += pool->clients.size();
    sum.comings_and_goings += pool->counters.reclaims + pool->counters.handoffs_expired;
  }
  return sum;
}

// Whoever has most above its reservation.
std::vector<Pool*> ReleaseWatch::richest_first() const {
  std::vector<std::pair<std::uint64_t, Pool*>> by_spare;
  for (const auto& pool : pools_) {
    const PoolAccount account = budget_.snapshot(pool->memory->account());
    const std::uint64_t spare = less(account.committed_bytes, account.reserved_bytes);
    if (spare > 0) by_spare.emplace_back(spare, pool.get());
  }
  std::stable_sort(by_spare.begin(), by_spare.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<Pool*> pools;
  pools.reserve(by_spare.size());
  for (const auto& [spare, pool] : by_spare) pools.push_back(pool);
  return pools;
}

std::uint64_t ReleaseWatch::limit_excess() const {
  std::uint64_t excess = 0;
  for (const auto& pool : pools_) {
    const PoolAccount account = budget_.snapshot(pool->memory->account());
    excess += less(account.committed_bytes, account.limit_bytes);
  }
  return excess;
}

// No pool goes below its reservation: where reservations and ledger are more than the budget, that stays.
std::uint64_t ReleaseWatch::releasable_excess() const {
  std::uint64_t spare = 0;
  for (const auto& pool : pools_) {
    const PoolAccount account = budget_.snapshot(pool->memory->account());
    spare += less(account.committed_bytes, account.reserved_bytes);
  }
  return std::min(budget_.excess(), spare);
}

ReleaseWatch::Wait ReleaseWatch::shrink() {
  const std::uint64_t excess = releasable_excess();
  const std::uint64_t over_limits = limit_excess();
  if (excess == 0 && over_limits == 0) {
    if (std::exchange(shrinking_, false)) {
      spdlog::info("what is committed is within budget and limits again: {} given back",
                   format_bytes(shrunk_bytes_));
    }
    return {};
  }
  if (!std::exchange(shrinking_, true)) {
    shrunk_bytes_ = 0;
    shrink_wait_ = kFirstShrinkWait;
    spdlog::info(
        "{} more than the budget and its reservations allow, {} more than limits: given back as "
        "clients give it back; nothing grows before",
        format_bytes(excess), format_bytes(over_limits));
  }
  const std::uint64_t released = release_above_limits() + release_above_budget();
  shrunk_bytes_ += released;
  if (released > 0) {
    shrink_wait_ = kFirstShrinkWait;
    return kNextTurn;
  }
  return std::exchange(shrink_wait_, std::min(shrink_wait_ * 2, kMostShrinkWait));
}

std::uint64_t ReleaseWatch::release_above_limits() {
  std::uint64_t released = 0;
  for (const auto& pool : pools_) {
    const PoolAccount account = budget_.snapshot(pool->memory->account());
    const std::uint64_t over = less(account.committed_bytes, account.limit_bytes);
    released +=
        pool->memory->trim(std::min(over, kTurnBytes), lib::kNone, ReleaseReason::kShrink).bytes;
  }
  return released;
}

std::uint64_t ReleaseWatch::release_above_budget() {
  std::uint64_t released = 0;
  for (Pool* pool : richest_first()) {
    const std::uint64_t excess = std::min(budget_.excess(), less(kTurnBytes, released));
    if (excess == 0) break;
    const PoolAccount account = budget_.snapshot(pool->memory->account());
    const std::uint64_t spare = less(account.committed_bytes, account.reserved_bytes);
    released +=
        pool->memory->trim(std::min(excess, spare), lib::kNone, ReleaseReason::kShrink).bytes;
  }
  return released;
}

void ReleaseWatch::on_pressure(PressureSource source) {
  ++pressure_events_[static_cast<std::size_t>(source)];
  ++unsaid_events_;
  const Clock::time_point now = Clock::now();
  for (const auto& pool : pools_) pool->memory->no_top_up_before(now + kNoTopUp);
  if (to_relieve_bytes_ == 0) {
    to_relieve_bytes_ = std::max(kTurnBytes, budget_.committed() / kPressurePart);
  }
  turn();
}

ReleaseWatch::Wait ReleaseWatch::relieve(Clock::time_point now) {
  if (unsaid_events_ > 0 && now >= next_word_) {
    next_word_ = now + kWordEvery;
    spdlog::warn(
        "the system is short of memory ({} events): cold memory is given back ({} so far), "
        "nothing grows ahead of demand for {} s",
        unsaid_events_, format_bytes(relieved_bytes_), kNoTopUp / 1s);
    unsaid_events_ = 0;
    relieved_bytes_ = 0;
  }
  if (to_relieve_bytes_ == 0) return {};
  if (now < next_relief_) return next_relief_ - now;
  std::uint64_t released = 0;
  for (Pool* pool : richest_first()) {
    const std::uint64_t wanted = std::min(to_relieve_bytes_, kTurnBytes);
    if (released >= wanted) break;
    const PoolAccount account = budget_.snapshot(pool->memory->account());
    const std::uint64_t spare = less(account.committed_bytes, account.reserved_bytes);
    released +=
        pool->memory->trim(std::min(wanted - released, spare), lib::kNone, ReleaseReason::kPressure)
            .bytes;
  }
  relieved_bytes_ += released;
  to_relieve_bytes_ = released == 0 ? 0 : less(to_relieve_bytes_, released);
  if (to_relieve_bytes_ > 0) return kNextTurn;
  next_relief_ = now + kReliefEvery;
  return {};
}

ReleaseWatch::Wait ReleaseWatch::release_idle(Clock::time_point now) {
  Wait next;
  for (const auto& pool : pools_) {
    const ReleaseConfig& config = pool->memory->release_config();
    if (config.window.count() == 0) continue;
    const bool attached = !pool->clients.empty();
    // While orders wait, memory moves for them (the ladder).
    const bool waiting = pool->orders && pool->orders->waiting() > 0;
    const std::uint64_t most = waiting ? 0 : std::min(kTurnBytes, config.rate_bytes);
    const IdleLook look = pool->memory->release_idle(most, attached || came_or_went_, now);
    const std::chrono::nanoseconds part =
        std::max<std::chrono::nanoseconds>(config.window / DemandWindow::kParts, kNextTurn);
    if (look.released.bytes > 0) {
      spdlog::debug("pool '{}': {} given back that nobody needed", pool->memory->name(),
                    format_bytes(look.released.bytes));
    }
    if (look.more && look.released.bytes > 0) {
      const double seconds =
          static_cast<double>(look.released.bytes) / static_cast<double>(config.rate_bytes);
      next = earlier(
          next, Wait(std::max(kNextTurn,
                              std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9)))));
    } else if (attached && pool->memory->above_floor()) {
      next = earlier(next, Wait(std::max(part / kLooksAPart, kNextTurn)));
    } else if (!attached && look.later) {
      next = earlier(next, Wait(config.window + part));  // nothing can be needed before
    }
  }
  return next;
}

}  // namespace zeropool::daemon
