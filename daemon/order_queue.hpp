#pragma once
// The orders that wait, by what they want and when they came: so that who is next is found without looking at all.
//
// Thread safety: the loop thread's.
// Invariants:
//   W1  A lane holds the orders that want the same classes, in the order in which they came.
//   W2  A cell has at most one order here, the one last posted in it.
//   W3  Of a queue of n orders a walk that serves k of them looks at k + (number of lanes) orders, not at n.

#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <queue>
#include <vector>

#include "daemon/order_intake.hpp"

namespace zeropool::daemon {

class OrderQueue {
 public:
  explicit OrderQueue(std::uint32_t cells) : places_(cells) {}

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  // The order of that cell; null: none waits.
  Order* find(std::uint32_t cell);
  // Behind all others. Its cell has none here (W2).
  void add(Order order);
  void remove(const Order& order);
  void clear();

  // The next order whose deadline lies before `until_ns`; null: none. It is not found a second time.
  Order* overdue(std::uint64_t until_ns);
  // The earliest deadline, perhaps of an order that has gone.
  std::optional<std::uint64_t> next_deadline_ns() const;

  template <typename Visit>
  void each(Visit visit) {
    for (auto& [classes, lane] : lanes_) {
      for (Order& order : lane) visit(order);
    }
  }

 private:
  friend class OrderWalk;
  using Lane = std::list<Order>;
  struct Deadline {
    std::uint64_t at_ns = 0;
    std::uint32_t cell = 0;
    std::uint64_t word = 0;
    bool operator>(const Deadline& other) const { return at_ns > other.at_ns; }
  };

  std::map<std::uint32_t, Lane> lanes_;                // W1: by their classes
  std::vector<std::optional<Lane::iterator>> places_;  // W2
  std::priority_queue<Deadline, std::vector<Deadline>, std::greater<>> deadlines_;
  std::size_t size_ = 0;
  std::uint64_t arrivals_ = 0;
};

// One way through the queue, first come first served: an order that stays keeps all behind it that want one of its
// classes (O2).
class OrderWalk {
 public:
  explicit OrderWalk(OrderQueue& queue);

  enum class Next {
    kDone,     // the order leaves the queue
    kBlocks,   // it stays, and who wants one of its classes stays behind it
    kStandsBy  // it stays, and holds nobody up
  };
  // The next order that nobody before it holds up; null: the end. settle() must follow. `held_up` is called for each
  // order on the way that somebody holds up.
  template <typename HeldUp>
  Order* next(HeldUp held_up);
  void settle(Next outcome);

 private:
  struct Cursor {
    OrderQueue::Lane* lane;
    OrderQueue::Lane::iterator at;
    std::uint32_t classes;
  };
  // The lane whose order came first; cursors_.size(): none has any left.
  std::size_t first() const;
  void close(std::size_t cursor);

  OrderQueue& queue_;
  std::vector<Cursor> cursors_;  // of lanes that are open
  std::size_t current_ = 0;
  std::uint32_t blocked_ = 0;
};

template <typename HeldUp>
Order* OrderWalk::next(HeldUp held_up) {
  for (;;) {
    current_ = first();
    if (current_ == cursors_.size()) return nullptr;
    const Cursor& cursor = cursors_[current_];
    if ((cursor.classes & blocked_) == 0) return &*cursor.at;
    held_up(*cursor.at);
    blocked_ |= cursor.classes;
    close(current_);
  }
}

}  // namespace zeropool::daemon
