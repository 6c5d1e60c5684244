#pragma once
// Many slots at once: one commit for many, one order for all.
//
// Thread safety: any thread.

#include <cstddef>
#include <cstdint>

#include <zeropool.h>

#include "attachment.hpp"

namespace zeropool::client {

// One for each size: all or none. 0 or an error code.
int get_batch(Attachment& attachment, const std::size_t* bytes, std::size_t count,
              zp_buffer* buffers) noexcept;
// Up to `count` of one size.
std::size_t get_many(Attachment& attachment, std::size_t bytes, std::size_t count,
                     zp_buffer* buffers) noexcept;
// Buffers may be of several pools; each is empty afterwards.
void put_many(zp_buffer* buffers, std::size_t count) noexcept;

}  // namespace zeropool::client
