#include "client/src/async_queue.hpp"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <random>
#include <vector>

#include <doctest/doctest.h>

using namespace zeropool::client;

namespace {

// Ops of a test, as a caller's memory.
class Ops {
 public:
  AsyncOp& make(std::uint32_t lane, std::int64_t since_ns, std::int64_t deadline_ns) {
    AsyncOp& op = ops_.emplace_back();
    op.lane = lane;
    op.since_ns = since_ns;
    op.deadline_ns = deadline_ns;
    op.set_state(AsyncState::kWaiting);
    return op;
  }

 private:
  std::deque<AsyncOp> ops_;
};

constexpr std::size_t kMost = 1'000'000;

}  // namespace

TEST_CASE("who came first is posted first, whatever the class") {
  Ops ops;
  AsyncQueue queue;
  AsyncOp& second = ops.make(0, 20, 1);
  AsyncOp& first = ops.make(3, 10, 1);
  AsyncOp& third = ops.make(0, 30, 1);
  for (AsyncOp* op : {&second, &first, &third}) queue.add(*op);
  for (AsyncOp* op : {&first, &second, &third}) {
    REQUIRE(queue.next_to_post(kMost) == op);
    queue.post(*op);
    CHECK(op->state() == AsyncState::kPosted);
  }
  CHECK(queue.next_to_post(kMost) == nullptr);
  CHECK(queue.posted() == 3);
  CHECK(queue.waiting() == 0);
}

TEST_CASE("a class of which nothing is posted may post one, however many of others are") {
  Ops ops;
  AsyncQueue queue;
  for (int i = 0; i < 4; ++i) queue.add(ops.make(0, i, 1));
  while (AsyncOp* op = queue.next_to_post(2)) queue.post(*op);
  CHECK(queue.posted() == 2);
  AsyncOp& other = ops.make(1, 100, 1);
  AsyncOp& more = ops.make(1, 101, 1);
  queue.add(other);
  queue.add(more);
  REQUIRE(queue.next_to_post(2) == &other);
  queue.post(other);
  CHECK(queue.next_to_post(2) == nullptr);
  // One of them ends: the oldest goes on, of whatever class.
  queue.remove(*queue.first_posted(0));
  queue.remove(*queue.first_posted(0));
  AsyncOp* next = queue.next_to_post(2);
  REQUIRE(next != nullptr);
  CHECK(next->lane == 0);
}

TEST_CASE("one that is put back goes before all of its class") {
  Ops ops;
  AsyncQueue queue;
  AsyncOp& one = ops.make(0, 1, 1);
  AsyncOp& other = ops.make(0, 2, 1);
  queue.add(one);
  queue.add(other);
  queue.post(one);
  queue.make_ready(one, AsyncState::kAnswered);
  CHECK(queue.first_ready() == &one);
  queue.put_back(one);
  CHECK(queue.ready() == 0);
  CHECK(queue.next_to_post(kMost) == &one);
  CHECK(queue.size() == 2);
}

TEST_CASE("one that is ready has no deadline any more, and is delivered in its turn") {
  Ops ops;
  AsyncQueue queue;
  AsyncOp& one = ops.make(0, 1, 10);
  AsyncOp& other = ops.make(0, 2, 20);
  queue.add(one);
  queue.add(other);
  CHECK(queue.next_deadline() == &one);
  queue.make_ready(one, AsyncState::kEnded);
  CHECK(queue.next_deadline() == &other);
  queue.make_ready(other, AsyncState::kEnded);
  CHECK(queue.next_deadline() == nullptr);
  CHECK(queue.first_ready() == &one);
  queue.remove(one);
  CHECK(queue.first_ready() == &other);
  queue.remove(other);
  CHECK(queue.empty());
}

TEST_CASE("of a hundred thousand, any may leave, and deadlines come in order") {
  constexpr std::size_t kOps = 100'000;
  for (const bool shuffled : {false, true}) {
    Ops ops;
    AsyncQueue queue;
    std::mt19937_64 random(7);
    std::vector<AsyncOp*> there;
    for (std::size_t i = 0; i < kOps; ++i) {
      const auto deadline = static_cast<std::int64_t>(shuffled ? random() % kOps : i);
      AsyncOp& op =
          ops.make(static_cast<std::uint32_t>(i % 5), static_cast<std::int64_t>(i), deadline);
      queue.add(op);
      there.push_back(&op);
    }
    while (queue.posted() < 1000) queue.post(*queue.next_to_post(kMost));
    std::shuffle(there.begin(), there.end(), random);
    for (std::size_t i = 0; i < kOps / 2; ++i) queue.remove(*there[i]);
    CHECK(queue.size() == kOps / 2);
    std::vector<std::int64_t> left;
    for (std::size_t i = kOps / 2; i < kOps; ++i) left.push_back(there[i]->deadline_ns);
    std::sort(left.begin(), left.end());
    for (const std::int64_t deadline : left) {
      AsyncOp* next = queue.next_deadline();
      REQUIRE(next != nullptr);
      REQUIRE(next->deadline_ns == deadline);
      queue.make_ready(*next, AsyncState::kEnded);
      queue.remove(*next);
    }
    CHECK(queue.empty());
    CHECK(queue.next_deadline() == nullptr);
    CHECK(queue.next_to_post(kMost) == nullptr);
  }
}
