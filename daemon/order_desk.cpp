#include "daemon/order_desk.hpp"

#include <algorithm>
#include <bit>
#include <climits>
#include <linux/futex.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

#include "daemon/holders.hpp"
#include "daemon/idle_caches.hpp"
#include "daemon/order_claim.hpp"
#include "zeropool/lib/tracepoint.hpp"

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
constexpr std::chrono::nanoseconds kQuotaRetry = 10ms;
// Between tries to have memory for a starving order.
constexpr std::uint64_t kGrowthEveryNs = 5'000'000;

}  // namespace

OrderDesk::OrderDesk(Pool& pool, OrderDeskHooks hooks)
    : pool_(pool),
      hooks_(std::move(hooks)),
      queue_(pool.memory->plan().shape.order_capacity),
      pressure_(pool),
      quota_(pool),
      quota_pressure_(*pool.memory),
      queue_words_(*pool.memory) {}

bool OrderDesk::look() {
  const PoolMemory& memory = *pool_.memory;
  const std::uint32_t published = memory.published().orders;
  bool hinted = false;
  std::vector<Order> found;
  for (std::uint32_t first = 0; first < published; first += 64) {
    std::atomic<std::uint64_t>& hints = memory.view().order_hint_word(first);
    if (hints.load(kRelaxed) == 0) continue;
    // Acquire: the orders that the hints speak of are posted.
    for (std::uint64_t bits = hints.exchange(0, std::memory_order_acquire); bits != 0;
         bits &= bits - 1) {
      const std::uint32_t cell = first + static_cast<std::uint32_t>(std::countr_zero(bits));
      if (cell >= published) break;
      hinted = true;
      take_up(cell, hooks_.now_ns(), found);
    }
  }
  queue_up(found);
  return hinted;
}

void OrderDesk::look_everywhere() {
  const std::uint32_t published = pool_.memory->published().orders;
  const std::uint64_t now = hooks_.now_ns();
  std::vector<Order> found;
  for (std::uint32_t cell = 0; cell < published; ++cell) take_up(cell, now, found);
  queue_up(found);
}

void OrderDesk::take_up_everything() {
  pressure_.relieve_everything();
  queue_words_.take_all_back();
  look_everywhere();
}

void OrderDesk::take_up(std::uint32_t cell, std::uint64_t now, std::vector<Order>& found) {
  lib::SharedOrderCell& shared = pool_.memory->view().order(cell);
  const OrderWord word{shared.word.load(std::memory_order_acquire)};  // O1
  if (word.state() != OrderState::kPosted) return;
  if (const Order* earlier = queue_.find(cell); earlier != nullptr) {
    if (earlier->word == word) return;
    ++pool_.counters.orders_cancelled;
    note_end(*earlier, now);
    queue_.remove(*earlier);
  }
  Order order;
  const ErrorCode code = read_order(pool_, cell, word, now, order);
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
  found.push_back(std::move(order));
}

void OrderDesk::queue_up(std::vector<Order>& found) {
  std::stable_sort(found.begin(), found.end(), [](const Order& one, const Order& other) {
    return one.posted_ns < other.posted_ns;
  });
  for (Order& order : found) {
    if (starving_) note_starving(order);
    queue_.add(std::move(order));
  }
}

void OrderDesk::serve() { serve(true); }

bool OrderDesk::serve_from_rings() { return !queue_.empty() && serve(false); }

bool OrderDesk::serve(bool may_grow) {
  if (serving_) return false;  // growing may publish at once, and call back
  serving_ = true;
  const std::uint64_t now = hooks_.now_ns();
  bool answered = refuse_overdue(now);
  bool starving = false;
  over_quota_.clear();
  OrderWalk walk(queue_);
  const auto held_up = [&](const Order& order) { keep_others_behind(order, now); };
  while (Order* order = walk.next(held_up)) {
    const Growth growth = starving   ? Growth::kSpent  // O2
                          : may_grow ? Growth::kAllowed
                                     : Growth::kLater;
    const Attempt outcome = attempt(*order, growth, now);
    starving = starving || outcome == Attempt::kStarves;
    const OrderWalk::Next next = settle(*order, outcome, now);
    answered = answered || next == OrderWalk::Next::kDone;
    walk.settle(next);
  }
  // Behind a starving order all wait for the same memory, and must be able to say so.
  if (starving && !starving_) note_all_starving();
  if (may_grow || queue_.empty()) starving_ = starving;
  pool_.memory->header().orders_waiting.store(static_cast<std::uint32_t>(queue_.size()), kRelaxed);
  queue_words_.tell(now);
  quota_pressure_.relieve_but(over_quota_);
  if (queue_.empty()) pressure_.relieve();
  serving_ = false;
  return answered;
}

bool OrderDesk::refuse_overdue(std::uint64_t now) {
  bool any = false;
  while (const Order* order = queue_.overdue(now - std::min(now, kGraceNs))) {
    if (gone(*order)) {
      ++pool_.counters.orders_cancelled;
    } else {
      refuse(*order, order->over_quota_ns != 0 ? ErrorCode::quota_exceeded
                     : order->starved          ? ErrorCode::budget_exhausted
                                               : ErrorCode::timed_out);
    }
    note_end(*order, now);
    queue_.remove(*order);
    any = true;
  }
  return any;
}

OrderWalk::Next OrderDesk::settle(Order& order, Attempt outcome, std::uint64_t now) {
  switch (outcome) {
    case Attempt::kDone: note_end(order, now); return OrderWalk::Next::kDone;
    case Attempt::kOverQuota: return OrderWalk::Next::kStandsBy;  // O4
    case Attempt::kStarves:
    case Attempt::kWaits: break;
  }
  keep_others_behind(order, now);
  return OrderWalk::Next::kBlocks;
}

// O5
void OrderDesk::keep_others_behind(const Order& order, std::uint64_t now) {
  const auto patience = static_cast<std::uint64_t>(kQueueAfter.count());
  if (!order.starved && now - std::min(now, order.posted_ns) < patience) return;
  for (const lib::OrderItem item : order.items) {
    if ((order.missing & (1U << item.cls())) == 0) continue;
    for (const std::uint32_t ring : rings_for(pool_, order, item.cls())) queue_words_.want(ring);
  }
}

bool OrderDesk::gone(const Order& order) const {
  return pool_.memory->view().order(order.cell).word.load(std::memory_order_acquire) !=
         order.word.word;
}

void OrderDesk::note_end(const Order& order, std::uint64_t now) {
  pool_.counters.order_wait.observe(static_cast<double>(now - std::min(now, order.posted_ns)) *
                                    1e-9);
}

OrderDesk::Attempt OrderDesk::attempt(Order& order, Growth growth, std::uint64_t now) {
  if (gone(order)) {
    ++pool_.counters.orders_cancelled;
    return Attempt::kDone;
  }
  const ClientInfo* client = client_of(pool_, order.word);
  if (client == nullptr) return Attempt::kWaits;  // just reclaimed: its cells are freed next
  switch (quota_.ask(*client, order.bytes, now)) {
    case QuotaVerdict::kFits: order.over_quota_ns = 0; break;
    case QuotaVerdict::kOver: refuse(order, ErrorCode::quota_exceeded); return Attempt::kDone;
    case QuotaVerdict::kNotYet: {  // O4
      if (order.over_quota_ns == 0) order.over_quota_ns = now;
      if (now - order.over_quota_ns >= static_cast<std::uint64_t>(kQuotaPatience.count())) {
        refuse(order, ErrorCode::quota_exceeded);
        return Attempt::kDone;
      }
      over_quota_.insert(client->id);
      quota_pressure_.press(client->id);
      if (pool_.idle) pool_.idle->take_of(client->id, now);
      return Attempt::kOverQuota;
    }
  }
  if ((order.flags & lib::kOrderRoom) != 0) {  // that was all that it wanted
    refuse(order, ErrorCode::ok);
    return Attempt::kDone;
  }
  return attempt_within_quota(order, growth, now);
}

OrderDesk::Attempt OrderDesk::attempt_within_quota(Order& order, Growth growth, std::uint64_t now) {
  // No memory was to be had a moment ago: what others give back meanwhile comes by the ring.
  if (order.starved && starving_ && now < next_growth_ns_) growth = Growth::kSpent;
  // Two rounds: growing from memory that is there already may publish at once.
  for (int round = 0; round < 2; ++round) {
    OrderClaim claim(*pool_.memory);
    bool covered = true;
    bool coming = true;
    for (const lib::OrderItem item : order.items) {
      const std::vector<std::uint32_t> rings = rings_for(pool_, order, item.cls());
      const bool exact = queue_.size() > 1 || order.starved || quota_.set();
      std::uint64_t missing = item.count();
      missing -= std::min(missing, claim.take(rings.front(), missing, exact));
      if (missing == 0) continue;
      // Memory that is to be had on the wished node goes before free slots of others, and those before memory that
      // others must give up (docs/numa.md).
      const bool soon = growth == Growth::kAllowed ? comes_soon(rings.front(), missing)
                                                   : growth == Growth::kLater && !order.starved;
      for (std::size_t i = 1; i < rings.size() && !soon && missing > 0; ++i) {
        missing -= std::min(missing, claim.take(rings[i], missing, exact));
      }
      if (missing == 0) continue;
      covered = false;
      order.missing |= 1U << item.cls();
      coming =
          (soon || (growth == Growth::kAllowed && round == 0 && grow(rings, missing))) && coming;
    }
    pool_.counters.repairs += claim.repairs();
    if (covered) return hand_over(order, claim) ? Attempt::kDone : Attempt::kWaits;
    if (growth != Growth::kAllowed || round == 1)
      return order.starved ? Attempt::kStarves : Attempt::kWaits;
    order.starved = !coming;
    if (order.starved) {
      next_growth_ns_ = now + kGrowthEveryNs;
      press(order);
    }
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
  const ClientInfo* client = client_of(pool_, order.word);
  if (client == nullptr) return false;
  const auto owner = lib::OwnerWord::grant(order.word.client(), order.word.epoch(), order.cell,
                                           order.word.sequence());
  std::uint32_t first = 0;
  if (!claim.grant(owner, first)) {  // grant 1
    ++pool_.counters.repairs;
    return false;
  }
  quota_.grant(*client, claim.bytes());                // Q1
  if (!lib::grant_order(shared, order.word, first)) {  // grant 2: COMMIT
    claim.give_back();
    quota_.taken_back(*client, claim.bytes());
    ++pool_.counters.orders_cancelled;
    return true;
  }
  claim.keep();
  ++pool_.counters.orders_granted;
  lib::tracepoint::grant(pool_.config.name.c_str(), order.cell, order.word.word, order.bytes,
                         order.posted_ns);
  ring_client(order);
  return true;
}

void OrderDesk::refuse(const Order& order, ErrorCode code) {
  lib::SharedOrderCell& shared = pool_.memory->view().order(order.cell);
  if (gone(order)) return;
  if (!lib::refuse_order(shared, order.word, code)) return;
  if (code != ErrorCode::ok) ++pool_.counters.orders_refused;
  lib::tracepoint::refuse(pool_.config.name.c_str(), order.cell, order.word.word, order.bytes,
                          order.posted_ns, static_cast<std::uint32_t>(code));
  ring_client(order);
}

void OrderDesk::ring_client(const Order& order) {
  lib::SharedOrderCell& shared = pool_.memory->view().order(order.cell);
  shared.wake.fetch_add(1, std::memory_order_release);
  if ((order.flags & lib::kOrderAsync) != 0) {
    const ClientInfo* client = client_of(pool_, order.word);
    const std::uint32_t capacity = pool_.memory->plan().shape.order_capacity;
    if (client != nullptr && client->record < pool_.memory->plan().shape.client_capacity &&
        !lib::note_answer(pool_.memory->view().client(client->record), order.cell, capacity)) {
      return;  // H1: it was woken, and has not looked yet
    }
    const int fd = hooks_.wake_fd ? hooks_.wake_fd(order.word.client()) : -1;
    const char one = 1;
    constexpr int kNeverBlock = MSG_DONTWAIT | MSG_NOSIGNAL;
    if (fd >= 0 && ::send(fd, &one, 1, kNeverBlock) < 0) return;  // full: it is readable already
    return;
  }
  ::syscall(SYS_futex, &shared.wake, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

// What its client says when its time is up first.
void OrderDesk::note_starving(Order& order) {
  order.starved = true;
  lib::note_reason(pool_.memory->view().order(order.cell), order.word, ErrorCode::budget_exhausted);
}

void OrderDesk::note_all_starving() {
  queue_.each([this](Order& order) {
    if (!order.starved) note_starving(order);
  });
}

void OrderDesk::press(Order& order) {
  note_starving(order);
  const std::uint64_t now = hooks_.now_ns();
  if (holders_at_ns_ == 0 || now - holders_at_ns_ >= kHoldersEveryNs) {
    holders_at_ns_ = now;
    publish_holders(pool_, holdings(pool_));
  }
  for (const lib::OrderItem item : order.items) {
    if ((order.missing & (1U << item.cls())) == 0) continue;
    for (const std::uint32_t ring : rings_for(pool_, order, item.cls())) pressure_.press(ring);
  }
}

void OrderDesk::refuse_all(ErrorCode code) {
  const std::uint64_t now = hooks_.now_ns();
  queue_.each([&](const Order& order) {
    refuse(order, code);
    note_end(order, now);
  });
  queue_.clear();
  starving_ = false;
  pool_.memory->header().orders_waiting.store(0, kRelaxed);
  queue_words_.take_all_back();
  quota_pressure_.relieve_but({});
  pressure_.relieve();
}

std::chrono::nanoseconds OrderDesk::next_look() const {
  if (queue_.empty()) return 0ns;
  const std::uint64_t now = hooks_.now_ns();
  std::chrono::nanoseconds wait = over_quota_.empty() ? kRetry : kQuotaRetry;
  const std::uint64_t deadline = queue_.next_deadline_ns().value_or(now + kRetry.count());
  if (deadline < now + static_cast<std::uint64_t>(kRetry.count())) {
    const std::uint64_t over = deadline + kGraceNs;
    wait = std::min(wait, std::chrono::nanoseconds(over - std::min(now, over)));
  }
  return std::max<std::chrono::nanoseconds>(wait, 1ms);
}

}  // namespace zeropool::daemon
