#pragma once
// What a buffer shows of those who had it before: the pool's `scrub`.
//
//   never            whatever its last holder wrote
//   on_user_change   a magazine that is claimed and holds slots of another user (magazine.hpp, C4) is cleared before its
//                    first slot is taken; between processes of one user nothing is done. A hit has no instruction for it.
//   always           each get clears what it serves, all of the capacity. Such an attachment shows its caches to nobody
//                    but the slow path (thread_state.hpp).
//
// A hand-off passes bytes on, whoever adopts them. Within a pool this is hygiene, not a border: all of its clients map all
// of its memory.
//
// Thread safety: clear_foreign is for the owner of the magazine, hand_out for the holder of the buffer.
// Crash safety: cleared first, then stamped: a kill in between leaves the old stamp, and what is clean is cleared again.

#include <cstdint>

#include <zeropool.h>

namespace zeropool::client {

struct Attachment;

// The thread has just come to own this magazine: from now on its slots are clean, or were put by this process's user.
void clear_foreign(Attachment& attachment, std::uint32_t ring, std::uint32_t cell) noexcept;

// A get of the slow path has served it: cleared if the pool always does, and shown to who looks for bugs.
void hand_out(Attachment& attachment, const zp_buffer& buffer) noexcept;

}  // namespace zeropool::client
