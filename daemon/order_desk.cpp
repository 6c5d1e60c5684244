#include "daemon/order_desk.hpp"

#include <algorithm>
#include <bit>
#include <climits>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

#include "daemon/holders.hpp"
#include "daemon/order_claim.hpp"

namespace zeropool::daemon {
namespace {

using lib::ErrorCode;
using lib::OrderState;
using lib::OrderWord;
using namespace std::chrono_literals;

constexpr auto kRelaxed = std::memory_order_relaxed;
// The client gives up first, so that its own CAS wins where both are about to.
constexpr std::uint64_t kGraceNs = 20'000'000;
constexpr std::uint64_t kHoldersEveryNs = 100'000'000;
constexpr std::chrono::nanoseconds kRetry = 100ms;

}  // namespace

OrderDesk::OrderDesk(Pool& pool, OrderDeskHooks hooks)
    : pool_(pool),
      hooks_(std::move(hooks)),
      queued_word_(pool.memory->plan().shape.order_capacity, 0),
      pressure_(pool) {}

bool OrderDesk::look() {
  const PoolMemory& memory = *pool_.memory;
  const std::uint32_t published = memory.published().orders;
  bool found = false;
  for (std::uint32_t first = 0; first < published; first += 64) {
    std::atomic<std::uint64_t>& hints = memory.view().order_hint_word(first);
    if (hints.load(kRelaxed) == 0) continue;
    // Acquire: the orders that the hints speak of are posted.
    for (std::uint64_t bits = hints.exchange(0, std::memory_order_acquire); bits != 0;
         bits &= bits - 1) {
      const std::uint32_t cell = first + static_cast<std::uint32_t>(std::countr_zero(bits));
      if (cell >= published) break;
      found = true;
      take_up(cell);
    }
  }
  return found;
}

void OrderDesk::look_everywhere() {
  const std::uint32_t published = pool_.memory->published().orders;
  for (std::uint32_t cell = 0; cell < published; ++cell) take_up(cell);
}

void OrderDesk::take_up_everything() {
  pressure_.relieve_everything();
  look_everywhere();
}

void OrderDesk::take_up(std::uint32_t cell) {
  lib::SharedOrderCell& shared = pool_.memory->view().order(cell);
  const OrderWord word{shared.word.load(std::memory_order_acquire)};  // O1
  if (word.state() != OrderState::kPosted || queued_word_[cell] == word.word) return;
  Order order;
  const ErrorCode code = read_order(pool_, cell, word, hooks_.now_ns(), order);
  if (client_of(pool_, word) == nullptr) {  // nobody's: no client of this pool has that id
    std::uint64_t expected = word.word;
    shared.word.compare_exchange_strong(expected, word.freed().word);
    ++pool_.counters.repairs;
    return;
  }
  if (code != ErrorCode::ok) {
    refuse(order, code);
    return;
  }
  queued_word_[cell] = word.word;
  queue_.push_back(std::move(order));
}

void OrderDesk::serve() {
  if (serving_) return;  // growing may publish at once, and call back
  serving_ = true;
  std::uint32_t blocked = 0;  // classes that orders ahead wait for
  bool starving = false;
  for (auto order = queue_.begin(); order != queue_.end();) {
    bool done = gone(*order);
    if (done) {
      ++pool_.counters.orders_cancelled;
    } else if ((order->classes & blocked) == 0) {  // O2
      const Attempt outcome = attempt(*order, queue_.size() > 1, !starving);
      done = outcome == Attempt::kDone;
      starving = starving || outcome == Attempt::kStarves;
    }
    // Behind a starving order all wait for the same memory, and must be able to say so.
    if (!done && starving) note_starving(*order);
    if (!done && hooks_.now_ns() >= order->deadline_ns &&
        hooks_.now_ns() - order->deadline_ns >= kGraceNs) {
      refuse(*order, order->starved ? ErrorCode::budget_exhausted : ErrorCode::timed_out);
      done = true;
    }
    if (done) {
      finish(*order);
      order = queue_.erase(order);
      continue;
    }
    blocked |= order->classes;
    ++order;
  }
  pool_.memory->header().orders_waiting.store(static_cast<std::uint32_t>(queue_.size()), kRelaxed);
  if (queue_.empty()) pressure_.relieve();
  serving_ = false;
}

bool OrderDesk::gone(const Order& order) const {
  return pool_.memory->view().order(order.cell).word.load(std::memory_order_acquire) !=
         order.word.word;
}

void OrderDesk::finish(const Order& order) {
  queued_word_[order.cell] = 0;
  const std::uint64_t now = hooks_.now_ns();
  pool_.counters.order_wait.observe(static_cast<double>(now - std::min(now, order.posted_ns)) *
                                    1e-9);
}

OrderDesk::Attempt OrderDesk::attempt(Order& order, bool others_wait, bool may_grow) {
  // Two rounds: growing from memory that is there already may publish at once.
  for (int round = 0; round < 2; ++round) {
    OrderClaim claim(*pool_.memory);
    bool covered = true;
    bool coming = true;
    for (const lib::OrderItem item : order.items) {
      const std::vector<std::uint32_t> rings = rings_for(pool_, order, item.cls());
      const bool exact = others_wait || order.starved;
      std::uint64_t missing = item.count();
      missing -= std::min(missing, claim.take(rings.front(), missing, exact));
      if (missing == 0) continue;
      // Memory that is to be had on the wished node goes before free slots of others, and those before memory that
      // others must give up (docs/numa.md).
      const bool soon = may_grow && comes_soon(rings.front(), missing);
      for (std::size_t i = 1; i < rings.size() && !soon && missing > 0; ++i) {
        missing -= std::min(missing, claim.take(rings[i], missing, exact));
      }
      if (missing == 0) continue;
      covered = false;
      coming = (soon || (may_grow && round == 0 && grow(rings, missing))) && coming;
    }
    pool_.counters.repairs += claim.repairs();
    if (covered) return hand_over(order, claim) ? Attempt::kDone : Attempt::kWaits;
    if (!may_grow) return Attempt::kWaits;
    if (round == 1) return order.starved ? Attempt::kStarves : Attempt::kWaits;
    order.starved = !coming;
    if (order.starved) press(order);
  }
  return Attempt::kWaits;
}

bool OrderDesk::comes_soon(std::uint32_t ring, std::uint64_t slots) {
  const GrowOutcome outcome = pool_.memory->grow(ring, slots);
  return outcome == GrowOutcome::kStarted || outcome == GrowOutcome::kUnderWay;
}

bool OrderDesk::grow(const std::vector<std::uint32_t>& rings, std::uint64_t slots) {
  for (const std::uint32_t ring : rings) {
    const GrowOutcome outcome = grow_ring(ring, slots);
    if (outcome == GrowOutcome::kStarted || outcome == GrowOutcome::kUnderWay) return true;
  }
  return false;
}

GrowOutcome OrderDesk::grow_ring(std::uint32_t ring, std::uint64_t slots) {
  PoolMemory& memory = *pool_.memory;
  const GrowOutcome outcome = memory.grow(ring, slots);
  const bool spent = outcome == GrowOutcome::kBudgetSpent ||
                     outcome == GrowOutcome::kLimitReached || outcome == GrowOutcome::kNodeFull;
  if (!spent) return outcome;
  const lib::RingPlan& plan = memory.plan().rings[ring];
  const std::uint64_t bytes = std::max(slots * plan.class_bytes, plan.extent_bytes);
  std::uint64_t freed = memory.trim(bytes, ring).bytes;
  if (freed < bytes && outcome != GrowOutcome::kLimitReached && hooks_.trim_other_pools) {
    freed += hooks_.trim_other_pools(bytes - freed).bytes;
  }
  return freed == 0 ? outcome : memory.grow(ring, slots);
}

bool OrderDesk::hand_over(const Order& order, OrderClaim& claim) {
  lib::SharedOrderCell& shared = pool_.memory->view().order(order.cell);
  const auto owner = lib::OwnerWord::grant(order.word.client(), order.word.epoch(), order.cell,
                                           order.word.sequence());
  std::uint32_t first = 0;
  if (!claim.grant(owner, first)) {  // grant 1
    ++pool_.counters.repairs;
    return false;
  }
  shared.first_granted.store(first, kRelaxed);
  lib::note_reason(shared, order.word, ErrorCode::ok);
  std::uint64_t expected = order.word.word;
  if (!shared.word.compare_exchange_strong(expected,
                                           order.word.with_state(OrderState::kGranted).word,
                                           std::memory_order_release)) {  // grant 2: COMMIT (O2)
    claim.give_back();
    ++pool_.counters.orders_cancelled;
    return true;
  }
  claim.keep();
  ++pool_.counters.orders_granted;
  ring_client(order);
  return true;
}

void OrderDesk::refuse(const Order& order, ErrorCode code) {
  lib::SharedOrderCell& shared = pool_.memory->view().order(order.cell);
  if (gone(order)) return;
  if (!lib::refuse_order(shared, order.word, code)) return;
  ++pool_.counters.orders_refused;
  ring_client(order);
}

void OrderDesk::ring_client(const Order& order) {
  lib::SharedOrderCell& shared = pool_.memory->view().order(order.cell);
  shared.wake.fetch_add(1, std::memory_order_release);
  if ((order.flags & lib::kOrderAsync) != 0) {
    const int fd = hooks_.wake_fd ? hooks_.wake_fd(order.word.client()) : -1;
    const std::uint64_t one = 1;
    if (fd >= 0 && ::write(fd, &one, sizeof(one)) < 0) return;  // full: it is readable already
    return;
  }
  ::syscall(SYS_futex, &shared.wake, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

// What its client says when its time is up first.
void OrderDesk::note_starving(Order& order) {
  order.starved = true;
  lib::note_reason(pool_.memory->view().order(order.cell), order.word, ErrorCode::budget_exhausted);
}

void OrderDesk::press(Order& order) {
  note_starving(order);
  const std::uint64_t now = hooks_.now_ns();
  if (holders_at_ns_ == 0 || now - holders_at_ns_ >= kHoldersEveryNs) {
    holders_at_ns_ = now;
    publish_holders(pool_, holdings(pool_));
  }
  for (const lib::OrderItem item : order.items) {
    for (const std::uint32_t ring : rings_for(pool_, order, item.cls())) pressure_.press(ring);
  }
}

void OrderDesk::refuse_all(ErrorCode code) {
  for (const Order& order : queue_) {
    refuse(order, code);
    finish(order);
  }
  queue_.clear();
  pool_.memory->header().orders_waiting.store(0, kRelaxed);
  pressure_.relieve();
}

std::chrono::nanoseconds OrderDesk::next_look() const {
  if (queue_.empty()) return 0ns;
  const std::uint64_t now = hooks_.now_ns();
  std::chrono::nanoseconds wait = kRetry;
  for (const Order& order : queue_) {
    if (order.deadline_ns >= now + static_cast<std::uint64_t>(kRetry.count())) continue;
    const std::uint64_t over = order.deadline_ns + kGraceNs;
    wait = std::min(wait, std::chrono::nanoseconds(over - std::min(now, over)));
  }
  return std::max<std::chrono::nanoseconds>(wait, 1ms);
}

}  // namespace zeropool::daemon
