#pragma once
// The calling thread's own memory: its caches by pool, its last error. Wiped by fork.
//
// Thread safety: a thread's own, but for `caches`, which the closer of a pool clears (attachment.hpp).

#include <cstdint>

#include <zeropool/detail/pool_state.hpp>

namespace zeropool::client {

using zeropool::v1::detail::kMaxPools;
using zeropool::v1::detail::RingCache;
using zeropool::v1::detail::ThreadCache;
using zeropool::v1::detail::ThreadState;

struct OwnThread {
  ThreadState hot;       // first: zp_v1_thread points here
  std::uint32_t set_up;  // 0: new, or wiped by fork
  std::uint32_t error_code;
  char sentence[1024];
};

// The calling thread's state, made if need be. Null: no memory, or the thread is past its exit hook.
OwnThread* own_thread() noexcept;
// The same, but never made.
OwnThread* own_thread_if_any() noexcept;

// What to do with a thread's caches when it exits; set once by the attachments.
void on_thread_exit(void (*hook)(OwnThread& thread) noexcept) noexcept;

}  // namespace zeropool::client
