#pragma once
// The orders of one pool: found, checked, served first come first served, refused at their deadline.
//
// Thread safety: the loop thread's.
// Invariants:
//   O1  An order is copied once; what its client writes afterwards changes nothing but its word.
//   O2  An order is served only after those before it that want one of its classes; memory is committed for it
//       only when none before it waits for memory.
//   O3  Orders are granted whole or not at all.
//   O4  An order that does not fit its client's quota holds nobody up; its client's caches have kQuotaPatience to give
//       something back, then it is refused.
//   O5  What an order waits for is not claimed by others from under it (queue_words.hpp) once it has waited for
//       kQueueAfter, or no memory can be had for it.
// Cost: a serve looks at the orders that it answers and one more of each kind, however many wait (order_queue.hpp).
// Crash safety: order_cell.hpp.

#include <chrono>
#include <cstdint>
#include <functional>
#include <unordered_set>
#include <vector>

#include "daemon/cache_pressure.hpp"
#include "daemon/client_pressure.hpp"
#include "daemon/client_quota.hpp"
#include "daemon/order_intake.hpp"
#include "daemon/order_queue.hpp"
#include "daemon/pool.hpp"
#include "daemon/queue_words.hpp"
#include "zeropool/lib/error_code.hpp"

namespace zeropool::daemon {

class OrderClaim;

// What the desk needs from around it.
struct OrderDeskHooks {
  std::function<std::uint64_t()> now_ns;                            // CLOCK_MONOTONIC
  std::function<int(std::uint32_t client)> wake_fd;                 // our end; -1: none
  std::function<TrimReport(std::uint64_t bytes)> trim_other_pools;  // for the global budget
};

class OrderDesk {
 public:
  static constexpr std::chrono::nanoseconds kQuotaPatience = std::chrono::milliseconds(100);
  static constexpr std::chrono::nanoseconds kQueueAfter = std::chrono::milliseconds(10);

  OrderDesk(Pool& pool, OrderDeskHooks hooks);

  // Takes up orders whose hint is set. True: there were some.
  bool look();
  // Takes up every posted order, hints or not.
  void look_everywhere();
  // After a restart: as look_everywhere(), and no thread's limit is left low by the daemon before.
  void take_up_everything();
  // Grants what can be granted, refuses what is over. Also whenever slots were published or came back.
  void serve();
  // The same from what is in the rings alone. True: some order was answered.
  bool serve_from_rings();
  // Refuses all that wait.
  void refuse_all(lib::ErrorCode code);

  std::size_t waiting() const { return queue_.size(); }
  const ClientQuota& quota() const { return quota_; }
  // When to serve again at the latest; zero: nothing waits.
  std::chrono::nanoseconds next_look() const;

 private:
  // Whether memory is committed for an order: yes; not in this pass, but perhaps in the next one; not now, as none is to
  // be had (then buffers of other nodes are as good as any).
  enum class Growth { kAllowed, kLater, kSpent };
  enum class Attempt { kDone, kWaits, kStarves, kOverQuota };

  void take_up(std::uint32_t cell, std::uint64_t now, std::vector<Order>& found);
  // In the order in which they were posted, as far as their clients say so.
  void queue_up(std::vector<Order>& found);
  bool serve(bool may_grow);
  bool refuse_overdue(std::uint64_t now);
  Attempt attempt(Order& order, Growth growth, std::uint64_t now);
  Attempt attempt_within_quota(Order& order, Growth growth, std::uint64_t now);
  OrderWalk::Next settle(Order& order, Attempt outcome, std::uint64_t now);
  // Whether the ring grows, or grows already, from what budget and node have left.
  bool comes_soon(std::uint32_t ring, std::uint64_t slots);
  bool grow(const std::vector<std::uint32_t>& rings, std::uint64_t slots);
  GrowOutcome grow_ring(std::uint32_t ring, std::uint64_t slots);
  bool hand_over(const Order& order, OrderClaim& claim);
  void refuse(const Order& order, lib::ErrorCode code);
  void ring_client(const Order& order);
  bool gone(const Order& order) const;
  void note_end(const Order& order, std::uint64_t now);
  void note_starving(Order& order);
  void note_all_starving();
  void keep_others_behind(const Order& order, std::uint64_t now);
  void press(Order& order);  // caches give back what starving orders want

  Pool& pool_;
  OrderDeskHooks hooks_;
  OrderQueue queue_;
  CachePressure pressure_;
  ClientQuota quota_;
  ClientPressure quota_pressure_;
  QueueWords queue_words_;
  std::unordered_set<std::uint32_t> over_quota_;  // clients, in this serve
  bool starving_ = false;             // no memory could be had for some order at the last serve
  std::uint64_t next_growth_ns_ = 0;  // while starving: no earlier try to have some
  std::uint64_t holders_at_ns_ = 0;
  bool serving_ = false;
};

}  // namespace zeropool::daemon
