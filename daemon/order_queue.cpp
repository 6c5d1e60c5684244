#include "daemon/order_queue.hpp"

#include <utility>

namespace zeropool::daemon {

Order* OrderQueue::find(std::uint32_t cell) { return places_[cell] ? &**places_[cell] : nullptr; }

void OrderQueue::add(Order order) {
  const std::uint32_t cell = order.cell;
  order.arrival = ++arrivals_;
  deadlines_.push({order.deadline_ns, cell, order.word.word});
  Lane& lane = lanes_[order.classes];
  places_[cell] = lane.insert(lane.end(), std::move(order));
  ++size_;
}

void OrderQueue::remove(const Order& order) {
  const auto lane = lanes_.find(order.classes);
  const std::uint32_t cell = order.cell;
  lane->second.erase(*places_[cell]);
  places_[cell].reset();
  if (lane->second.empty()) lanes_.erase(lane);
  --size_;
  // Deadlines of orders that are gone are dropped when they are met, or when they are most.
  if (deadlines_.size() > 2 * size_ + 1024) {
    decltype(deadlines_) kept;
    each([&](const Order& waiting) {
      kept.push({waiting.deadline_ns, waiting.cell, waiting.word.word});
    });
    deadlines_.swap(kept);
  }
}

void OrderQueue::clear() {
  lanes_.clear();
  for (auto& place : places_) place.reset();
  deadlines_ = {};
  size_ = 0;
}

Order* OrderQueue::overdue(std::uint64_t until_ns) {
  while (!deadlines_.empty() && deadlines_.top().at_ns < until_ns) {
    const Deadline deadline = deadlines_.top();
    deadlines_.pop();
    Order* order = find(deadline.cell);
    if (order != nullptr && order->word.word == deadline.word) return order;
  }
  return nullptr;
}

std::optional<std::uint64_t> OrderQueue::next_deadline_ns() const {
  if (deadlines_.empty()) return std::nullopt;
  return deadlines_.top().at_ns;
}

OrderWalk::OrderWalk(OrderQueue& queue) : queue_(queue) {
  cursors_.reserve(queue.lanes_.size());
  for (auto& [classes, lane] : queue.lanes_) cursors_.push_back({&lane, lane.begin(), classes});
}

void OrderWalk::settle(Next outcome) {
  Cursor& cursor = cursors_[current_];
  const auto settled = cursor.at;
  if (outcome == Next::kBlocks) {
    blocked_ |= cursor.classes;
    close(current_);
    return;
  }
  ++cursor.at;
  const bool last = cursor.at == cursor.lane->end();
  if (last) close(current_);
  if (outcome == Next::kDone) queue_.remove(*settled);  // the lane, too, where it was the last
}

std::size_t OrderWalk::first() const {
  std::size_t found = cursors_.size();
  for (std::size_t i = 0; i < cursors_.size(); ++i) {
    if (found == cursors_.size() || cursors_[i].at->arrival < cursors_[found].at->arrival) {
      found = i;
    }
  }
  return found;
}

void OrderWalk::close(std::size_t cursor) {
  cursors_[cursor] = cursors_.back();
  cursors_.pop_back();
}

}  // namespace zeropool::daemon
