#pragma once
// Many slots at once: one commit for many, one order for all.
//
// Thread safety: any thread.

#include <cstddef>
#include <cstdint>

#include <zeropool.h>

#include "access.hpp"
#include "attachment.hpp"
#include "get.hpp"
#include "order.hpp"

namespace zeropool::client {

// One buffer for each size, into places that are empty.
struct BatchWish {
  const std::size_t* bytes = nullptr;
  std::size_t count = 0;
  zp_buffer* buffers = nullptr;
};

// What an order for it asks for. 0 or an error code.
int count_wants(Attachment& attachment, const BatchWish& batch, OrderWants& wants) noexcept;
// All of it without an order, or nothing; then `missing_ring` is the ring that had none.
AtHand fill_at_hand(Attachment& attachment, const BatchWish& batch, std::uint32_t& missing_ring,
                    int& code) noexcept;
// From a granted order. False: entries of it were damaged; nothing is taken, and one may ask again.
bool accept_batch(Attachment& attachment, Access& access, Order& order, const OrderWants& wants,
                  std::uint32_t arena, const BatchWish& batch) noexcept;
// To be called for what a batch returns.
void hand_out_all(Attachment& attachment, const zp_buffer* buffers, std::size_t count) noexcept;

zp_buffer make_buffer(Attachment& attachment, std::uint32_t ring, std::uint32_t slot,
                      lib::Mark mark, std::size_t bytes) noexcept;

// One for each size: all or none. 0 or an error code.
int get_batch(Attachment& attachment, const std::size_t* bytes, std::size_t count,
              zp_buffer* buffers) noexcept;
// Up to `count` of one size.
std::size_t get_many(Attachment& attachment, std::size_t bytes, std::size_t count,
                     zp_buffer* buffers) noexcept;
// Buffers may be of several pools; each is empty afterwards.
void put_many(zp_buffer* buffers, std::size_t count) noexcept;

}  // namespace zeropool::client
