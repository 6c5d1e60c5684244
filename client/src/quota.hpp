#pragma once
// This client's charge against its quota, and the words for who has all of it.
//
// Thread safety: any thread. Invariants: Q1, Q2 (client_charge.hpp).

#include <cstdint>

#include <zeropool/lib/client_charge.hpp>

#include "attachment.hpp"

namespace zeropool::client {

inline lib::SharedClientCharge charge_of(const Attachment& attachment) noexcept {
  return {attachment.view.client(attachment.client_number).charged_bytes,
          attachment.header().client_quota_bytes};
}

// What all threads of this client cache, as far as their records say now. Takes guard->lock: not within an Access.
std::uint64_t cached_bytes(Attachment& attachment) noexcept;

// quota_exceeded, with a sentence: the quota, what is held, what is cached, what to do. Not within an Access.
int refuse_over_quota(Attachment& attachment) noexcept;

// Asks zeropoold to have this client's caches make room for a slot of that ring, and waits a moment for it.
void ask_caches_for_room(Attachment& attachment, std::uint32_t ring) noexcept;

}  // namespace zeropool::client
