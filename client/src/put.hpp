#pragma once
// Puts that the loaded magazine did not take.
//
// Thread safety: any thread.

#include <cstdint>

#include "attachment.hpp"

namespace zeropool::client {

// 0, or not_held (put twice, or another's) or wrong_process (inherited by fork: nothing is touched).
int put_one(Attachment& attachment, std::uint64_t buffer_word, std::uint32_t slot) noexcept;

// wrong_process without a trace, unless the buffer belongs to this attachment of this process.
int check_incarnation(Attachment& attachment, std::uint64_t buffer_word) noexcept;

// For a thread that can have no cache at all: the slot is left to the daemon's sweep.
int put_orphaned(Attachment& attachment, std::uint32_t ring, std::uint32_t slot,
                 lib::Mark wanted) noexcept;

// The mark that a buffer of this client must have.
lib::Mark mark_of(const Attachment& attachment, std::uint64_t buffer_word) noexcept;

// Counts and words what is wrong with a buffer whose mark is not that.
int refuse_not_held(Attachment& attachment, ClientCache& cache, lib::Mark wanted,
                    lib::Mark found) noexcept;

}  // namespace zeropool::client
