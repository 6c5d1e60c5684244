#pragma once
// What the inline hot path sees of an open pool and of the calling thread. Part of the C++ ABI of layout
// version 1; not for users.

#include <atomic>
#include <cstddef>
#include <cstdint>

#include <zeropool.h>
#include <zeropool/lib/class_lookup.hpp>
#include <zeropool/lib/hot_path.hpp>

namespace zeropool {
inline namespace v1 {
namespace detail {

inline constexpr std::uint32_t kMaxPools = 64;  // open at once in one process

using ThreadCache = lib::ThreadCache<std::atomic>;
using RingCache = lib::RingCache<std::atomic>;

// The calling thread's caches, by pool index. In memory that fork wipes: then all are null.
struct ThreadState {
  std::atomic<ThreadCache*> caches[kMaxPools];
};

// The head of what a zp_pool points at.
struct PoolState {
  std::uint32_t index = 0;  // into ThreadState::caches
  std::uint32_t reserved = 0;
  lib::ClassLookup lookup;  // private copy
};

// Buffer::word_: {generation: 40, ring: 16, incarnation: 8}: the generation stands where a mark has it.
inline constexpr std::uint64_t kGenerationBits = ~lib::Mark::kHolderMask;
constexpr std::uint64_t make_buffer_word(lib::Mark mark, std::uint32_t ring,
                                         std::uint64_t incarnation) noexcept {
  return (mark.word & kGenerationBits) | (std::uint64_t{ring} << 8) | incarnation;
}
constexpr std::uint32_t ring_of(std::uint64_t buffer_word) noexcept {
  return static_cast<std::uint32_t>((buffer_word >> 8) & 0xffff);
}
constexpr std::uint64_t generation_of(std::uint64_t buffer_word) noexcept {
  return buffer_word >> lib::Mark::kGenerationShift;
}
constexpr std::uint64_t incarnation_of(std::uint64_t buffer_word) noexcept {
  return buffer_word & 0xff;
}

inline PoolState* state_of(zp_pool* pool) noexcept { return reinterpret_cast<PoolState*>(pool); }

// How long a get may wait.
inline constexpr std::int64_t kWaitAsPool = -1;  // the pool's wait.timeout
inline constexpr std::int64_t kNeverWait = -2;   // cache and ring only

}  // namespace detail
}  // namespace v1
}  // namespace zeropool

extern "C" {
#pragma GCC visibility push(default)
// Never null: a thread without caches points at a state that has none.
extern __thread zeropool::v1::detail::ThreadState* zp_v1_thread
    __attribute__((tls_model("initial-exec")));

// A get that the loaded magazine did not serve. What it returns travels in two registers, so that a Buffer
// being made stays in registers too: address (null: failed) and {slot: 32, size class ring: 16 | error: 16}.
typedef struct zp_v1_slot {
  std::uint64_t word;  // of the Buffer; 0 and an error code in `slot` when it failed
  std::uint64_t slot;
} zp_v1_slot;

zp_v1_slot zp_v1_get_slow(zp_pool* pool, std::size_t bytes, std::int64_t timeout_ns,
                          std::uint32_t node, std::uint32_t flags) noexcept;
void zp_v1_put_slow(zp_pool* pool, std::uint64_t word, std::uint32_t slot) noexcept;
void* zp_v1_address(zp_pool* pool, std::uint64_t word, std::uint32_t slot) noexcept;
void zp_v1_pool_retain(zp_pool* pool) noexcept;
// A word with this process's number: never 0 after the call, 0 in a forked child until its first call, and then another
// number than those of the processes before. Never null, the same for the life of the process.
const std::atomic<std::uint32_t>* zp_v1_process_word() noexcept;
#pragma GCC visibility pop
}
