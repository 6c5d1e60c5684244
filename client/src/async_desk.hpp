#pragma once
// AsyncDesk: the suspended gets of this process in one pool, their order cells, and how they end.
//
// A get that finds nothing at hand leaves an op here and goes; zp_poll() finds out what came of it and calls its `done`.
// The daemon says which cells it has answered by bits in the ClientRecord (client_record.hpp, H1) and by the wake socket.
// Both are hints: all cells of this process are looked at every 0.1 to 1 s, too, as a get that blocks does.
//
// Thread safety: functions that take a Suspended need guard->async_lock, which that holds. No lock is held while `done` runs.
// Invariants:
//   D1  cells[n] is the op that has order cell n, or nobody. Nothing in shared memory is taken for a pointer.
//   D2  An op's state is changed under the lock, so exactly one of grant, refusal, deadline, stop and cancel ends it: of the
//       order word's CAS (withdraw against grant or refuse) one is first, and the op leaves once.
//   D3  What an op was granted is taken by this process's threads only while they deliver it or withdraw it: until then the
//       magazines carry the grant, and go back by it.
//   D4  Async orders use the lower three quarters of the pool's order cells, and one process at most half of all: gets that
//       block always find some.
//   D5  Each op that waits, and each poll under way, holds the attachment (A3).
// Crash safety: all of it is in this process's memory; what a kill leaves in shared memory are orders and grants
// (order_cell.hpp). Fork: the desk lies in memory that fork wipes: a child's is no desk, and ops that name its parent's
// (`serial`) are inert there.

#include <cstddef>
#include <cstdint>

#include <zeropool.h>

#include "async_queue.hpp"
#include "attachment.hpp"
#include "batch.hpp"

namespace zeropool::client {

struct AsyncDesk {
  std::uint64_t serial;  // 0: wiped
  AsyncQueue queue;
  std::uint32_t cursor;         // where the next free cell may be
  std::int64_t timer_at_ns;     // what the timer is set to; 0: it is off
  std::int64_t look_at_ns;      // when to look at all cells
  std::int64_t retry_at_ns;     // when to look for cells again; 0: none are missing
  std::int64_t retry_pause_ns;  // grows with each look in vain
  std::int64_t deliver_at_ns;  // when to deliver again; 0: at once. A thread had no record just now
  std::uint32_t left_behind;   // cells whose grant nobody could give back yet
  // Why the daemon has granted nothing of a class, as far as it has last said; ok: it has.
  ErrorCode why_nothing[lib::kMaxClasses];
  AsyncOp** cells;  // D1: as many as the pool has; behind this, in the same memory
};

// An op that leaves: what its `done` is to be told.
struct Ended {
  zp_async_get* get = nullptr;  // null: none
  int code = 0;
  BatchWish batch;
};

// The desk under its lock.
class Suspended {
 public:
  explicit Suspended(Attachment& attachment) noexcept;
  Suspended(const Suspended&) = delete;
  Suspended& operator=(const Suspended&) = delete;

  bool any() const noexcept { return desk_ != nullptr && !desk_->queue.empty(); }
  // Whether the op waits here, and not at a parent's desk.
  bool has(const AsyncOp& op) const noexcept {
    return desk_ != nullptr && op.serial == desk_->serial && op.waits();
  }
  std::size_t ready() const noexcept { return desk_ == nullptr ? 0 : desk_->queue.ready(); }

  // Makes the desk if there is none. False: no memory.
  bool open() noexcept;
  // Takes the op in; its fields are filled, its deadline too. False: a stop came first.
  bool add(AsyncOp& op, std::int64_t now_ns) noexcept;

  // Whether it is time to look at all.
  bool look_due(std::int64_t now_ns) const noexcept {
    return (any() || (desk_ != nullptr && desk_->left_behind > 0)) && now_ns >= desk_->look_at_ns;
  }
  // What the daemon has hinted at; all, with `everywhere`. False: it has hinted at nothing.
  bool look(bool everywhere, std::int64_t now_ns) noexcept;
  // Ends those whose time is up.
  void expire(std::int64_t now_ns) noexcept;
  // Posts as many of those that wait as may be.
  void post(std::int64_t now_ns) noexcept;
  // Ends all that are not ready.
  void end_all(ErrorCode code) noexcept;

  // The next op that is ready leaves, with what it got.
  Ended deliver(std::int64_t now_ns) noexcept;
  // It waits no more, and what it was granted has gone back. It leaves.
  void cancel(AsyncOp& op) noexcept;
  // It will be delivered as cancelled, if it is not ready already.
  void stop(AsyncOp& op) noexcept;
  // As cancel(), but it stays, to be delivered as cancelled.
  void take_back_all() noexcept;

  // Sets the timer for what comes next; at once where more is ready than the caller delivers now.
  void set_timer(std::size_t being_delivered = 0) noexcept;
  // The event descriptor, made if need be. -1 and errno.
  int open_events() noexcept;
  Descriptors::Events take_events() noexcept;

 private:
  Order order_of(const AsyncOp& op) noexcept {
    return {attachment_, op.cell, lib::OrderWord{op.order_word}};
  }
  std::uint32_t cell_bound() const noexcept;
  void look_at_cell(std::uint32_t cell) noexcept;
  void end(AsyncOp& op, ErrorCode code) noexcept;
  // D2: false: it was answered; then it is ready.
  bool withdraw(AsyncOp& op) noexcept;
  bool post_one(AsyncOp& op) noexcept;
  ErrorCode why_expired(const AsyncOp& op) noexcept;
  void note_answer(const AsyncOp& op, int code) noexcept;
  // Gives back what its order was granted. False: this thread can have no cache now.
  bool give_back_grant(AsyncOp& op) noexcept;
  // The same of an op that leaves its cell, at a later look where it must be.
  void give_back_or_leave(AsyncOp& op) noexcept;
  void leave(AsyncOp& op) noexcept;

  Attachment& attachment_;
  Locked lock_;
  AsyncDesk* desk_;
};

// After the lock: what an op that has left, or a poll that is over, held (D5).
void let_go(Attachment& attachment, std::uint32_t holds) noexcept;

inline BatchWish batch_of(const AsyncOp& op) noexcept { return {op.bytes, op.count, op.buffers}; }

// The last zp_close() of a pool (zeropool.h). Caller holds the process's lock.
void withdraw_async_gets(Attachment& attachment) noexcept;

}  // namespace zeropool::client
