#pragma once
// AsyncQueue: the suspended gets of this process, by what they are waiting for.
//
// A process may suspend more gets than the pool has order cells, and others need cells too. So some are posted, and the
// others wait here, in lanes by the class that they want; who came first is posted first. A class of which nothing is
// posted may always post one: gets of one class that is spent keep nobody from another class.
//
// Thread safety: one thread at a time (the attachment's async_lock). All zero is an empty queue: it lies in memory that
// fork wipes.
// Invariants:
//   Q1  An op that waits is in one list: of its lane, waiting or posted, or of those that are ready.
//   Q2  A lane's waiting list is in the order in which they came; one that was put back goes first.
//   Q3  Those that are waiting or posted are in the heap of deadlines, those that are ready are not.

#include <cstddef>
#include <cstdint>

#include <zeropool/lib/layout_constants.hpp>

#include "async_op.hpp"
#include "deadline_heap.hpp"

namespace zeropool::client {

class AsyncList {
 public:
  bool empty() const noexcept { return first_ == nullptr; }
  AsyncOp* first() const noexcept { return first_; }
  std::size_t size() const noexcept { return size_; }
  void push_back(AsyncOp& op) noexcept { insert(op, last_, nullptr); }
  void push_front(AsyncOp& op) noexcept { insert(op, nullptr, first_); }
  void remove(AsyncOp& op) noexcept {
    (op.previous == nullptr ? first_ : op.previous->next) = op.next;
    (op.next == nullptr ? last_ : op.next->previous) = op.previous;
    op.previous = op.next = nullptr;
    --size_;
  }

 private:
  void insert(AsyncOp& op, AsyncOp* before, AsyncOp* after) noexcept {
    op.previous = before;
    op.next = after;
    (before == nullptr ? first_ : before->next) = &op;
    (after == nullptr ? last_ : after->previous) = &op;
    ++size_;
  }

  AsyncOp* first_ = nullptr;
  AsyncOp* last_ = nullptr;
  std::size_t size_ = 0;
};

class AsyncQueue {
 public:
  bool empty() const noexcept { return size() == 0; }
  std::size_t size() const noexcept { return waiting_ + posted_ + ready_.size(); }
  std::size_t waiting() const noexcept { return waiting_; }
  std::size_t posted() const noexcept { return posted_; }
  std::size_t ready() const noexcept { return ready_.size(); }

  // Behind all of its lane. Its state was changed by the caller.
  void add(AsyncOp& op) noexcept {
    lanes_[op.lane].waiting.push_back(op);
    ++waiting_;
    deadlines_.push(op);
  }
  // The next to be posted where a process may have `most` posted; null: none.
  AsyncOp* next_to_post(std::size_t most) const noexcept {
    AsyncOp* found = nullptr;
    for (const Lane& lane : lanes_) {
      AsyncOp* first = lane.waiting.first();
      if (first == nullptr || (posted_ >= most && !lane.posted.empty())) continue;
      if (found == nullptr || first->since_ns < found->since_ns) found = first;
    }
    return found;
  }
  void post(AsyncOp& op) noexcept {
    take_out(op);
    lanes_[op.lane].posted.push_back(op);
    ++posted_;
    op.set_state(AsyncState::kPosted);
  }
  // What came for it was no good: it goes before those of its lane that wait.
  void put_back(AsyncOp& op) noexcept {
    remove(op);
    lanes_[op.lane].waiting.push_front(op);
    ++waiting_;
    deadlines_.push(op);
    op.set_state(AsyncState::kWaiting);
  }
  // To be delivered; Q3.
  void make_ready(AsyncOp& op, AsyncState state) noexcept {
    remove(op);
    ready_.push_back(op);
    op.set_state(state);
  }
  // Its state is the caller's to change.
  void remove(AsyncOp& op) noexcept {
    const AsyncState state = op.state();
    take_out(op);
    if (state == AsyncState::kWaiting || state == AsyncState::kPosted) deadlines_.remove(op);
  }

  AsyncOp* first_ready() const noexcept { return ready_.first(); }
  AsyncOp* first_waiting(std::uint32_t lane) const noexcept { return lanes_[lane].waiting.first(); }
  AsyncOp* first_posted(std::uint32_t lane) const noexcept { return lanes_[lane].posted.first(); }
  // Of those that are waiting or posted; null: none.
  AsyncOp* next_deadline() const noexcept { return deadlines_.first(); }

 private:
  struct Lane {
    AsyncList waiting;
    AsyncList posted;
  };
  void take_out(AsyncOp& op) noexcept {
    switch (op.state()) {
      case AsyncState::kWaiting:
        lanes_[op.lane].waiting.remove(op);
        --waiting_;
        return;
      case AsyncState::kPosted:
        lanes_[op.lane].posted.remove(op);
        --posted_;
        return;
      default: ready_.remove(op);
    }
  }

  Lane lanes_[lib::kMaxClasses];
  AsyncList ready_;
  DeadlineHeap<AsyncOp> deadlines_;
  std::size_t waiting_ = 0;
  std::size_t posted_ = 0;
};

}  // namespace zeropool::client
