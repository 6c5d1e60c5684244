#pragma once
// One slot for one get, by all the ways there are.
//
// Thread safety: any thread; nothing is held while an order waits.

#include <cstddef>
#include <cstdint>

#include <zeropool.h>
#include <zeropool/lib/hot_path.hpp>
#include <zeropool/lib/slot_mark.hpp>

#include "access.hpp"
#include "attachment.hpp"
#include "placement.hpp"

namespace zeropool::client {

struct Taken {
  std::uint32_t ring = 0;
  std::uint32_t slot = 0;
  lib::Mark mark;
};

// 0 or an error code. timeout_ns: detail::kWaitAsPool, detail::kNeverWait, or so long.
int get_one(Attachment& attachment, std::size_t bytes, std::int64_t timeout_ns, std::uint32_t node,
            Taken& taken) noexcept;
// By the calling thread's loaded magazine. False: nothing was done.
inline bool take_hit(Attachment& attachment, std::size_t bytes, zp_buffer* buffer) noexcept {
  namespace detail = zeropool::v1::detail;
  ThreadCache* cache = zp_v1_thread->caches[attachment.index].load(std::memory_order_relaxed);
  if (cache == nullptr || !attachment.lookup.serves(bytes)) return false;
  RingCache& ring = cache->home[attachment.lookup.class_of(bytes)];
  lib::Mark generation;
  std::uint32_t slot = 0;
  if (!lib::get_hit(*cache, ring, slot, generation)) return false;
  *buffer = zp_buffer{ring.base + slot * ring.class_bytes,
                      reinterpret_cast<zp_pool*>(static_cast<detail::PoolState*>(&attachment)),
                      generation.word | ring.tag, slot, static_cast<std::uint32_t>(bytes)};
  return true;
}

// What can be had without an order. kNothing: the order is for `wish`. kFailed: `code`; with `never_waits` also where there
// is nothing. kNoCache: await_cache() first; `code` if that is not possible.
enum class AtHand { kTaken, kNothing, kFailed, kNoCache };
AtHand take_at_hand(Attachment& attachment, std::uint32_t cls, std::uint32_t node, bool never_waits,
                    Wish& wish, Taken& taken, int& code) noexcept;
// After an order that failed with `code`: a last look. False: the failure is counted.
bool take_though_refused(Attachment& attachment, Access& access, std::uint32_t cls,
                         const Wish& wish, int code, Taken& taken) noexcept;
// Where the thread's next slots should come from, by the pool's placement.
void choose_home(Access& access) noexcept;
// From what the thread owns or can claim of that arena, without waiting. Counts the hit.
bool take_there(Attachment& attachment, Access& access, std::uint32_t cls, std::uint32_t arena,
                Taken& taken) noexcept;
// The same from the other arenas, nearest to that one first.
bool take_elsewhere(Attachment& attachment, Access& access, std::uint32_t cls, std::uint32_t arena,
                    Taken& taken) noexcept;
// What came by an order, counted as remote where it is.
void count_granted(const Attachment& attachment, Access& access, std::uint32_t ring,
                   std::uint32_t wished_arena) noexcept;

std::uint32_t home_ring(const Attachment& attachment, const ClientCache& cache,
                        std::uint32_t cls) noexcept;
void count_failure(Access& access, std::uint32_t ring, ErrorCode code) noexcept;
// Counts and words the failures that need no pool.
int refuse_size(Attachment& attachment, std::size_t bytes) noexcept;
int would_wait(Attachment& attachment) noexcept;
std::int64_t deadline_of(Attachment& attachment, std::int64_t timeout_ns) noexcept;

}  // namespace zeropool::client
