#pragma once
// Orders: asking zeropoold for slots that the ring does not have, and waiting for the answer.
//
// Thread safety: a value of one thread. Edges and crash table: zeropool/lib/order_cell.hpp.

#include <cstdint>
#include <string>

#include "attachment.hpp"
#include "cache_ops.hpp"
#include "last_error.hpp"

namespace zeropool::client {

// How many slots of each class.
struct OrderWants {
  std::uint32_t count[lib::kMaxClasses] = {};
};

class Order {
 public:
  explicit Order(Attachment& attachment) noexcept : attachment_(attachment) {}

  // Posts and waits until `deadline_ns` (CLOCK_MONOTONIC). 0: granted, accept() must follow; else an error code,
  // and the order is gone. With kOrderRoom: 0 and the order is gone, there is room.
  int place(const OrderWants& wants, std::uint32_t arena, std::uint32_t flags,
            std::int64_t deadline_ns) noexcept;
  // Takes over the granted magazines: calls `taken(ring, slot, mark)` for up to `wants` slots of each class, the
  // rest stays in the thread's cache. Ends the order.
  template <typename Taken>
  void accept(CacheOps& ops, OrderWants wants, Taken taken) noexcept;

 private:
  int take_cell(std::int64_t deadline_ns) noexcept;
  int wait(std::int64_t deadline_ns) noexcept;
  int why_not(ErrorCode code) const noexcept;
  // The next granted magazine, made the thread's. False at the end.
  bool next_granted(CacheOps& ops, std::uint32_t& link, std::uint32_t& ring,
                    std::uint32_t& cell) noexcept;
  void end() noexcept;

  Attachment& attachment_;
  std::uint32_t number_ = 0;
  std::uint32_t flags_ = 0;
  lib::OrderWord word_;
};

std::int64_t monotonic_ns() noexcept;

template <typename Taken>
void Order::accept(CacheOps& ops, OrderWants wants, Taken taken) noexcept {
  std::uint32_t link =
      attachment_.view.order(number_).first_granted.load(std::memory_order_acquire);
  std::uint32_t ring = 0;
  std::uint32_t cell = 0;
  while (next_granted(ops, link, ring, cell)) {
    std::uint32_t& wanted = wants.count[ring % attachment_.class_count];
    ops.take_from(ring, cell, wanted, taken);
    ops.stash(ring, cell);
  }
  end();
}

}  // namespace zeropool::client
