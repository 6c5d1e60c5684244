#pragma once
// Which arena a get should be served from, and when another one will do.
//
// Thread safety: any thread, inside its Access.
// The order, for placement local and interleave: what the thread has of the wished arena, that arena's ring; then,
// while the daemon can still commit memory there, an order, which waits for that; else free slots of the other
// arenas, nearest first; then an order, which grows where it can. A get that may not wait skips the orders. With
// local_only, or a node asked for, other arenas are never looked at.

#include <cstdint>

#include "attachment.hpp"
#include "client_cache.hpp"

namespace zeropool::client {

inline constexpr std::uint32_t kAnyNode = UINT32_MAX;

struct Wish {
  std::uint32_t arena = 0;
  bool only = false;  // no other arena will do
};

// 0, or an error code: the pool has no memory on `node`. kAnyNode: by the pool's placement.
int wish_of(const Attachment& attachment, const ClientCache& cache, std::uint32_t node,
            Wish& wish) noexcept;

// Whether an order would not bring memory of this ring's arena: it cannot grow now, or no daemon is there.
bool nothing_to_come(Attachment& attachment, std::uint32_t ring, std::int64_t now_ns) noexcept;

}  // namespace zeropool::client
