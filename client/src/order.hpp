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

// Words why an order was not granted. Returns the code.
int explain_refusal(Attachment& attachment, ErrorCode code) noexcept;
// ok, or why no order can be served now: stopping, no_daemon.
ErrorCode why_no_order(Attachment& attachment) noexcept;
// After a post, and after cells that are wanted: the daemon is to look.
void ring_if_asleep(Attachment& attachment) noexcept;
// Between looks whether the daemon lives, and at answers that nobody was woken for.
std::int64_t wait_slice_ns(const lib::ControlHeader& header) noexcept;

class Order {
 public:
  explicit Order(Attachment& attachment) noexcept : attachment_(attachment) {}

  // Posts and waits until `deadline_ns` (CLOCK_MONOTONIC). 0: granted, accept() must follow; else an error code,
  // and the order is gone. With kOrderRoom: 0 and the order is gone, there is room.
  int place(const OrderWants& wants, std::uint32_t arena, std::uint32_t flags,
            std::int64_t deadline_ns) noexcept;

  // For who does not wait here (async_desk.hpp): an order that was posted before, and its steps.
  Order(Attachment& attachment, std::uint32_t number, lib::OrderWord word) noexcept
      : attachment_(attachment), number_(number), word_(word) {}
  // Takes a free cell below `bound`, looking from `first` on. False: there is none.
  bool take_free_cell(std::uint32_t first, std::uint32_t bound) noexcept;
  // Fills the cell that was taken. `posted_ns`: since when it waits. False: the daemon freed the cell.
  bool post(const OrderWants& wants, std::uint32_t arena, std::uint32_t flags,
            std::int64_t deadline_ns, std::int64_t posted_ns) noexcept;
  lib::OrderAnswer answer() const noexcept {
    return lib::answer_of(attachment_.view.order(number_), word_);
  }
  // What the daemon has said of it; ok: nothing.
  ErrorCode reason() const noexcept {
    return lib::reason_of(attachment_.view.order(number_), word_);
  }
  bool withdraw() noexcept { return lib::withdraw_order(attachment_.view.order(number_), word_); }
  // Of an order that was refused.
  void end() noexcept;
  std::uint32_t number() const noexcept { return number_; }
  lib::OrderWord word() const noexcept { return word_; }
  // Takes over the granted magazines: calls `taken(ring, slot, mark)` for up to `wants` slots of each class, the
  // rest stays in the thread's cache. Ends the order.
  template <typename Taken>
  void accept(CacheOps& ops, OrderWants wants, Taken taken) noexcept;

 private:
  int take_cell(std::int64_t deadline_ns) noexcept;
  int wait(std::int64_t deadline_ns) noexcept;
  int why_not(ErrorCode code) const noexcept { return explain_refusal(attachment_, code); }
  // The next granted magazine, made the thread's. False at the end.
  bool next_granted(CacheOps& ops, std::uint32_t& link, std::uint32_t& ring,
                    std::uint32_t& cell) noexcept;

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
