#pragma once
// One slot for one get, by all the ways there are.
//
// Thread safety: any thread; nothing is held while an order waits.

#include <cstddef>
#include <cstdint>

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
