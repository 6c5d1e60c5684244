#pragma once
// The orders of one pool: found, checked, served first come first served, refused at their deadline.
//
// Thread safety: the loop thread's.
// Invariants:
//   O1  An order is copied once; what its client writes afterwards changes nothing but its word.
//   O2  An order is served only after those before it that want one of its classes; memory is committed for it
//       only when none before it waits for memory.
//   O3  Orders are granted whole or not at all.
// Crash safety: order_cell.hpp.

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

#include "daemon/cache_pressure.hpp"
#include "daemon/order_intake.hpp"
#include "daemon/pool.hpp"
#include "zeropool/lib/error_code.hpp"

namespace zeropool::daemon {

class OrderClaim;

// What the desk needs from around it.
struct OrderDeskHooks {
  std::function<std::uint64_t()> now_ns;                            // CLOCK_MONOTONIC
  std::function<int(std::uint32_t client)> wake_fd;                 // its eventfd; -1: none
  std::function<TrimReport(std::uint64_t bytes)> trim_other_pools;  // for the global budget
};

class OrderDesk {
 public:
  OrderDesk(Pool& pool, OrderDeskHooks hooks);

  // Takes up orders whose hint is set. True: there were some.
  bool look();
  // Takes up every posted order, hints or not.
  void look_everywhere();
  // After a restart: as look_everywhere(), and no thread's limit is left low by the daemon before.
  void take_up_everything();
  // Grants what can be granted, refuses what is over. Also whenever slots were published or came back.
  void serve();
  // Refuses all that wait.
  void refuse_all(lib::ErrorCode code);

  std::size_t waiting() const { return queue_.size(); }
  // When to serve again at the latest; zero: nothing waits.
  std::chrono::nanoseconds next_look() const;

 private:
  enum class Attempt { kDone, kWaits, kStarves };

  void take_up(std::uint32_t cell);
  Attempt attempt(Order& order, bool others_wait, bool may_grow);
  // Whether the ring grows, or grows already, from what budget and node have left.
  bool comes_soon(std::uint32_t ring, std::uint64_t slots);
  bool grow(const std::vector<std::uint32_t>& rings, std::uint64_t slots);
  GrowOutcome grow_ring(std::uint32_t ring, std::uint64_t slots);
  bool hand_over(const Order& order, OrderClaim& claim);
  void refuse(const Order& order, lib::ErrorCode code);
  void ring_client(const Order& order);
  bool gone(const Order& order) const;
  void finish(const Order& order);
  void note_starving(Order& order);
  void press(Order& order);  // caches give back what starving orders want

  Pool& pool_;
  OrderDeskHooks hooks_;
  std::deque<Order> queue_;
  std::vector<std::uint64_t> queued_word_;  // by cell: the word that is in the queue; 0: none
  CachePressure pressure_;
  std::uint64_t holders_at_ns_ = 0;
  bool serving_ = false;
};

}  // namespace zeropool::daemon
