#pragma once
// One slot for one get, by all the ways there are.
//
// Thread safety: any thread; nothing is held while an order waits.

#include <cstddef>
#include <cstdint>

#include <zeropool/lib/slot_mark.hpp>

#include "access.hpp"
#include "attachment.hpp"

namespace zeropool::client {

inline constexpr std::uint32_t kAnyNode = UINT32_MAX;

struct Taken {
  std::uint32_t ring = 0;
  std::uint32_t slot = 0;
  lib::Mark mark;
};

// 0 or an error code. timeout_ns: detail::kWaitAsPool, detail::kNeverWait, or so long.
int get_one(Attachment& attachment, std::size_t bytes, std::int64_t timeout_ns, std::uint32_t node,
            Taken& taken) noexcept;
// From what the thread owns or can claim, nearest node first. Counts the hit.
bool take_near(Attachment& attachment, Access& access, std::uint32_t cls, std::uint32_t node,
               Taken& taken) noexcept;

std::uint32_t home_ring(const Attachment& attachment, const ClientCache& cache,
                        std::uint32_t cls) noexcept;
void count_failure(Access& access, std::uint32_t ring, ErrorCode code) noexcept;
// Counts and words the failures that need no pool.
int refuse_size(Attachment& attachment, std::size_t bytes) noexcept;
int would_wait(Attachment& attachment) noexcept;
std::int64_t deadline_of(Attachment& attachment, std::int64_t timeout_ns) noexcept;

}  // namespace zeropool::client
