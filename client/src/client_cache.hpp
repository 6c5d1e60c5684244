#pragma once
// A thread's cache in one pool: the hot part, and what the slow path needs beside it.
//
// Thread safety: one thread's (the overflow cache: whoever holds the attachment's lock).

#include <cstdint>
#include <vector>

#include <zeropool/detail/pool_state.hpp>
#include <zeropool/lib/control_view.hpp>
#include <zeropool/lib/hold_sample_block.hpp>
#include <zeropool/lib/owner_word.hpp>

#include "cache_size.hpp"
#include "thread_state.hpp"

namespace zeropool::client {

struct Attachment;

// Sums of the counters of thread records, for stats and for "is anything held?".
struct CounterSums {
  std::uint64_t tls_hits = 0;
  std::uint64_t shared_hits = 0;
  std::uint64_t allocations = 0;
  std::uint64_t failures = 0;
  std::uint64_t puts = 0;
  std::uint64_t contention = 0;
  std::uint64_t ring_claims = 0;
  std::uint64_t remote_gets = 0;
  std::uint64_t released = 0;
  std::uint64_t adopted = 0;
  std::uint64_t double_puts = 0;
  std::uint64_t stale_handles = 0;

  void add(const CounterSums& other) noexcept;
  void subtract(const CounterSums& other) noexcept;
  // Slots that came in less slots that went out.
  std::int64_t held() const noexcept {
    return static_cast<std::int64_t>(tls_hits + shared_hits + allocations + adopted - puts -
                                     released);
  }
};

// Of a thread record of the attachment, whoever's it is.
CounterSums read_counters(const Attachment& attachment, lib::SharedThreadRecord& record) noexcept;

// In memory that fork wipes; RingCache rings[] and CacheSize sizes[] follow.
struct ClientCache {
  ThreadCache hot;  // first: ThreadState::caches points here
  Attachment* attachment;
  OwnThread* thread;  // null: the overflow cache
  std::uint32_t record_number;
  std::uint32_t arena;
  std::uint32_t domain;
  std::uint32_t bytes;  // of this memory
  CacheSize* sizes;     // by ring
  bool loaded_shyly;    // a magazine of a ring of which nothing is kept, in this operation
  lib::OwnerWord me;
  CounterSums taken_over;            // what the record's earlier owners had counted
  lib::SampleChance chance{0};       // hold_sampling.hpp
  std::uint32_t gets_to_sample = 1;  // until the next one that is looked at
};

inline ClientCache* client_cache_of(ThreadCache* hot) noexcept {
  return reinterpret_cast<ClientCache*>(hot);
}

// What a thread's limit of a ring is to be: 0 while the attachment closes, or the daemon wants everything back. The last
// word is right whoever is quicker (cache_pressure.hpp L1). Caller holds the attachment's lock.
void set_put_limit(const Attachment& attachment, std::uint32_t ring,
                   lib::SharedRingRecord& record) noexcept;
// Makes a cache with a thread record of its own. Null: no record is free, and `code` is as it was; or no memory, and
// `code` says so. Caller holds the attachment's lock.
ClientCache* make_cache(Attachment& attachment, OwnThread* thread, int& code) noexcept;
// Gives back magazines and record, and frees the memory. Caller holds the attachment's lock.
void end_cache(ClientCache& cache) noexcept;

}  // namespace zeropool::client
