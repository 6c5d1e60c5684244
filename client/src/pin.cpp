// Pins: cells in the control segment that keep zeropoold from releasing what lies under a slot.
//
// Thread safety: any thread's. A cell is its taker's from the CAS of its owner word to the store that frees it.
// Invariants:
//   N1  A pin is written while its slot is held, and so before any put of it: zeropoold, which must get a slot out of a
//       magazine before it releases its extent, sees the pin by then (the edges R1e -> A1 of batch_ring.hpp).
//   N2  Between the CAS and the stores a cell may show an earlier pin's slots: they stay a moment longer.
// Crash safety: a dead client's pins are found by their owner words, and end with its reclaim.

#include <time.h>

#include <zeropool.h>
#include <zeropool/detail/pool_state.hpp>

#include "access.hpp"
#include "order.hpp"
#include "put.hpp"

namespace zeropool::client {
namespace {

namespace detail = zeropool::v1::detail;

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr std::int64_t kWaitForCellsNs = 1'000'000'000;  // until zeropoold has published more
constexpr std::int64_t kRetryNs = 1'000'000;

using PinCell = lib::PinCell<std::atomic>;

PinCell& cell_at(const Attachment& attachment, std::uint32_t number) noexcept {
  return reinterpret_cast<PinCell*>(attachment.view.base() +
                                    attachment.header().pins_offset)[number];
}

std::uint32_t published_cells(const Attachment& attachment) noexcept {
  const lib::ControlHeader& header = attachment.header();
  return std::min(header.pins_published.load(std::memory_order_acquire), header.pin_capacity);
}

lib::OwnerWord pin_owner(const Attachment& attachment) noexcept {
  return lib::OwnerWord::thread(attachment.client_id, attachment.epoch,
                                lib::OwnerWord::kUncachedThread);
}

// lib::kNone: all are in use.
std::uint32_t take_free_cell(const Attachment& attachment, std::uint32_t start) noexcept {
  const std::uint32_t published = published_cells(attachment);
  for (std::uint32_t i = 0; i < published; ++i) {
    const std::uint32_t number = (start + i) % published;
    PinCell& cell = cell_at(attachment, number);
    std::uint64_t expected = 0;
    if (cell.owner.load(kRelaxed) == 0 &&
        cell.owner.compare_exchange_strong(expected, pin_owner(attachment).word,
                                           std::memory_order_acq_rel)) {
      return number;
    }
  }
  return lib::kNone;
}

std::uint32_t take_cell(Attachment& attachment, std::uint32_t start) noexcept {
  const std::int64_t until = monotonic_ns() + kWaitForCellsNs;
  for (;;) {
    const std::uint32_t number = take_free_cell(attachment, start);
    if (number != lib::kNone) return number;
    lib::ControlHeader& header = attachment.header();
    if (published_cells(attachment) == header.pin_capacity || monotonic_ns() >= until) {
      return lib::kNone;
    }
    header.pins_wanted.store(1, kRelaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);  // B1, as of an order
    if (header.sleeping.load(kRelaxed) != 0) attachment.descriptors.ring();
    const timespec pause{0, kRetryNs};
    ::nanosleep(&pause, nullptr);
  }
}

// What a zp_pin_token says: {cell + 1: 32, incarnation: 32}; 0: nothing.
std::uint64_t token_word(std::uint32_t cell, std::uint64_t incarnation) noexcept {
  return (std::uint64_t{cell} + 1) << 32 | incarnation;
}

int pin_slot(Attachment& attachment, std::uint64_t word, std::uint32_t slot,
             std::uint32_t& number) noexcept {
  const std::uint32_t ring = detail::ring_of(word);
  const lib::SharedRingView& view = attachment.rings[ring].view;
  const lib::Mark held = mark_of(attachment, word);
  const lib::Mark found{slot < view.slot_bound() ? view.slots[slot].mark.load(kRelaxed) : 0};
  if (found != held) {
    Access access(attachment);
    if (access.code() != 0) return access.code();
    return refuse_not_held(attachment, access.cache(), held, found);
  }
  number = take_cell(attachment, slot);
  if (number == lib::kNone) {
    return fail(ErrorCode::too_many_pins,
                "pool " + attachment.wish.pool_name + ": all " +
                    std::to_string(published_cells(attachment)) +
                    " pins that there can be now are in use: unpin what need not stay where it is");
  }
  PinCell& cell = cell_at(attachment, number);
  cell.ring.store(ring, kRelaxed);
  cell.first_slot.store(slot, kRelaxed);
  cell.slot_count.store(1, std::memory_order_release);
  return 0;
}

}  // namespace
}  // namespace zeropool::client

extern "C" {

int zp_pin(const zp_buffer* buffer, zp_pin_token* token) {
  using namespace zeropool::client;
  if (token == nullptr)
    return fail(ErrorCode::invalid_argument, "zp_pin needs a place for the pin");
  *token = zp_pin_token{};
  if (buffer == nullptr || buffer->data == nullptr)
    return fail(ErrorCode::invalid_argument, "zp_pin needs a held buffer");
  Attachment& attachment = attachment_of(buffer->pool);
  if (const int code = check_incarnation(attachment, buffer->word); code != 0) return code;
  std::uint32_t cell = 0;
  if (const int code = pin_slot(attachment, buffer->word, buffer->slot, cell); code != 0)
    return code;
  retain_attachment(attachment);
  token->pool = buffer->pool;
  token->word = token_word(cell, attachment.incarnation);
  return 0;
}

void zp_unpin(zp_pin_token* token) {
  using namespace zeropool::client;
  if (token == nullptr || token->pool == nullptr) return;
  Attachment& attachment = attachment_of(token->pool);
  const std::uint64_t word = token->word;
  *token = zp_pin_token{};
  const auto number = static_cast<std::uint32_t>((word >> 32) - 1);
  // One that was inherited by fork is the parent's.
  if (attachment.attached() && (word & 0xffffffff) == attachment.incarnation &&
      number < attachment.header().pin_capacity) {
    std::uint64_t mine = pin_owner(attachment).word;
    cell_at(attachment, number)
        .owner.compare_exchange_strong(mine, 0, std::memory_order_release);  // COMMIT
  }
  close_attachment(attachment);
}

}  // extern "C"
