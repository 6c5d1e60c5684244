#pragma once
// Shared buffers, as their holders see them: zeropool/lib/share_cell.hpp with the charge, the counters and the errors.
//
// Thread safety: any thread. A zp_shared belongs to one thread at a time.
// Invariants:
//   H1  Attachment::share_holds goes up before the first word of a hold can be forgotten, and down after the last access to
//       shared memory that the hold's end leads to: the attachment does not end in between (A3).
//   H2  A shared slot is charged to nobody: the charge goes down after commit_share, and up before take_shared (Q1).
// Crash safety: share_cell.hpp.

#include <cstdint>

#include <zeropool.h>

#include "attachment.hpp"

namespace zeropool::client {

// Each: 0 or an error code, and then nothing has changed.
int share(Attachment& attachment, zp_buffer* buffer, zp_shared* shared) noexcept;
int share_handle(Attachment& attachment, const zp_shared& shared, std::uint32_t adoptions,
                 zp_handle* handle) noexcept;
int adopt_shared(Attachment& attachment, zp_handle handle, zp_shared* shared) noexcept;
int copy_shared(Attachment& attachment, const zp_shared& shared, zp_shared* copy) noexcept;
int unshare(Attachment& attachment, const zp_shared& shared, zp_buffer* buffer) noexcept;
int put_shared(Attachment& attachment, const zp_shared& shared) noexcept;

}  // namespace zeropool::client
