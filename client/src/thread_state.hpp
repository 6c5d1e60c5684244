#pragma once
// The calling thread's own memory: its caches by pool, its last error. Wiped by fork.
//
// Thread safety: a thread's own, but for the caches, which the closer of a pool clears (attachment.hpp).

#include <atomic>
#include <cstdint>

#include <zeropool/detail/pool_state.hpp>

namespace zeropool::client {

using zeropool::v1::detail::kMaxPools;
using zeropool::v1::detail::RingCache;
using zeropool::v1::detail::ThreadCache;
using zeropool::v1::detail::ThreadState;

struct OwnThread {
  ThreadState hot;                           // first: zp_v1_thread points here
  std::atomic<ThreadCache*> all[kMaxPools];  // by pool index; `hot` has those that hits may use
  std::uint32_t set_up;                      // 0: new, or wiped by fork
  std::uint32_t error_code;
  char sentence[1024];

  ThreadCache* cache(std::uint32_t pool) const noexcept {
    return all[pool].load(std::memory_order_relaxed);
  }
  // `hits`: whether gets and puts may use it without the slow path.
  void set_cache(std::uint32_t pool, ThreadCache* cache, bool hits) noexcept {
    all[pool].store(cache, std::memory_order_relaxed);
    hot.caches[pool].store(hits ? cache : nullptr, std::memory_order_relaxed);
  }
  void forget_cache(std::uint32_t pool) noexcept { set_cache(pool, nullptr, false); }
};

// The calling thread's state, made if need be. Null: no memory, or the thread is past its exit hook.
OwnThread* own_thread() noexcept;
// The same, but never made.
OwnThread* own_thread_if_any() noexcept;

// What to do with a thread's caches when it exits; set once by the attachments.
void on_thread_exit(void (*hook)(OwnThread& thread) noexcept) noexcept;

}  // namespace zeropool::client
