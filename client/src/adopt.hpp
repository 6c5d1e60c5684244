#pragma once
// The adopter's end of a hand-off: the charge first, then the mark.
//
// Thread safety: any thread. Edges and crash safety: zeropool/lib/hand_off.hpp. A charge without its adopt is taken off
// again; of a client killed in between it goes with its record.

#include <cstdint>

#include <zeropool.h>

#include "attachment.hpp"

namespace zeropool::client {

// A handle's parts: word[0] = {generation: 40, ring: 16, kind: 8}, word[1] = {pool tag: 32, slot: 32}. kind: {type tag: 7,
// 1: 1} of a buffer, 2 of a share. The type tag's other 14 bits are in the slot's note; plain bytes have tag 0, and no type
// has 0 in the note.
enum class HandleKind : std::uint32_t { kNone = 0, kBuffer = 1, kShare = 2 };
struct HandleParts {
  std::uint64_t generation = 0;
  std::uint32_t ring = 0;
  std::uint32_t slot = 0;
  std::uint32_t pool_tag = 0;
  HandleKind kind = HandleKind::kNone;
  std::uint32_t type_high = 0;  // bits 14 to 20 of a buffer's type tag
};
zp_handle make_handle(const HandleParts& parts) noexcept;
HandleParts read_handle(zp_handle handle) noexcept;

// 0 or an error code. quota_exceeded, wrong_type: the handle is as it was, for whoever adopts it. A type of tag 0 is plain
// bytes of any size.
int adopt(Attachment& attachment, zp_handle handle, const zp_type& type,
          zp_buffer* buffer) noexcept;

}  // namespace zeropool::client
