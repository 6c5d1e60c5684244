#pragma once
// The adopter's end of a hand-off: the charge first, then the mark.
//
// Thread safety: any thread. Edges and crash safety: zeropool/lib/hand_off.hpp. A charge without its adopt is taken off
// again; of a client killed in between it goes with its record.

#include <cstdint>

#include <zeropool.h>

#include "attachment.hpp"

namespace zeropool::client {

// A handle's parts: word[0] = {generation: 40, ring: 16, kind: 8}, word[1] = {pool tag: 32, slot: 32}.
enum class HandleKind : std::uint32_t { kBuffer = 1, kShare = 2 };
struct HandleParts {
  std::uint64_t generation = 0;
  std::uint32_t ring = 0;
  std::uint32_t slot = 0;
  std::uint32_t pool_tag = 0;
  HandleKind kind = HandleKind::kBuffer;
};
zp_handle make_handle(const HandleParts& parts) noexcept;
HandleParts read_handle(zp_handle handle) noexcept;

// 0 or an error code. quota_exceeded: the handle is as it was, for whoever adopts it.
int adopt(Attachment& attachment, zp_handle handle, zp_buffer* buffer) noexcept;

}  // namespace zeropool::client
