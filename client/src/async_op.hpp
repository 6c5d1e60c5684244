#pragma once
// AsyncOp: a get that waits without a thread, in memory of its caller's (zp_async_get). Zeros are one that does not wait.
//
// Thread safety: `state` is changed under the attachment's async_lock, but for kIdle <-> kStopAsked, by CAS, by anybody;
// all else is read and written under that lock while the op waits. An op that does not wait is its caller's.
//
//   kIdle       does not wait
//   kStopAsked  does not wait; a zp_get_async() of it would end at once (zp_stop() came first)
//   kWaiting    in the queue of this process; has no order cell
//   kPosted     has a cell
//   kAnswered   has a cell that says granted or refused; zp_poll() delivers it
//   kEnded      has no cell; zp_poll() delivers its code

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <zeropool.h>

namespace zeropool::client {

struct Attachment;

enum class AsyncState : std::uint32_t { kIdle, kStopAsked, kWaiting, kPosted, kAnswered, kEnded };

struct AsyncOp {
  std::uint32_t state_word;  // AsyncState; by atomic_ref only
  std::uint32_t cell;
  Attachment* attachment;
  std::uint64_t serial;  // of the AsyncDesk that it waits at
  AsyncOp* previous;     // in the list that it is in (async_queue.hpp)
  AsyncOp* next;
  AsyncOp* heap_child;  // deadline_heap.hpp
  AsyncOp* heap_next;
  AsyncOp* heap_back;
  std::int64_t deadline_ns;  // CLOCK_MONOTONIC
  std::int64_t since_ns;     // CLOCK_MONOTONIC
  std::uint64_t order_word;  // of its cell
  const std::size_t* bytes;  // `count` of them
  std::size_t count;
  zp_buffer* buffers;
  std::size_t one_size;  // what `bytes` points at where one buffer is wanted
  std::uint32_t lane;    // a class that it wants
  std::uint32_t arena;
  std::int32_t code;       // of kEnded
  std::uint32_t only : 1;  // no other arena will do
  std::uint32_t batch : 1;

  AsyncState state() const noexcept {
    return static_cast<AsyncState>(
        std::atomic_ref<std::uint32_t>(const_cast<std::uint32_t&>(state_word))
            .load(std::memory_order_acquire));
  }
  void set_state(AsyncState to) noexcept {
    std::atomic_ref<std::uint32_t>(state_word)
        .store(static_cast<std::uint32_t>(to), std::memory_order_release);
  }
  bool change_state(AsyncState from, AsyncState to) noexcept {
    auto expected = static_cast<std::uint32_t>(from);
    return std::atomic_ref<std::uint32_t>(state_word)
        .compare_exchange_strong(expected, static_cast<std::uint32_t>(to),
                                 std::memory_order_acq_rel);
  }
  bool waits() const noexcept {
    const AsyncState now = state();
    return now != AsyncState::kIdle && now != AsyncState::kStopAsked;
  }
};
static_assert(std::is_trivial_v<AsyncOp>);
static_assert(sizeof(AsyncOp) <= sizeof(zp_async_get::word));
static_assert(alignof(AsyncOp) <= alignof(std::uint64_t));

inline AsyncOp& op_of(zp_async_get* get) noexcept { return *reinterpret_cast<AsyncOp*>(get->word); }
inline zp_async_get* get_of(AsyncOp& op) noexcept {
  return reinterpret_cast<zp_async_get*>(reinterpret_cast<std::byte*>(&op) -
                                         offsetof(zp_async_get, word));
}

}  // namespace zeropool::client
