#include "slot_watch.hpp"

#include <cstring>
#include <new>
#include <string>

#include <zeropool/detail/pool_state.hpp>
#include <zeropool/lib/ordering.hpp>

#include "attachment.hpp"
#include "debug_words.hpp"
#include "standard_error.hpp"

namespace zeropool::client {
namespace {

namespace detail = zeropool::v1::detail;

// What debug allocators fill with: odd as an address, as a length and as text.
constexpr int kFilledAfterPut = 0xdd;
constexpr int kFilledBeyondSize = 0xfd;

// What lies beside the mark of a free slot whose memory a put has filled, so that the next get can tell whether
// somebody wrote into it since: the generation that this put made. While a slot is in transit its note is there.
//
//   63                      24 23          0
//   [ generation (40 bits)    ][ 0xf00d5e   ]
constexpr std::uint64_t poison_stamp(std::uint64_t generation) noexcept {
  return (generation << lib::Mark::kGenerationShift) | 0xf00d5e;
}

// Where the first byte is that is not `filling`; `count`: nowhere.
std::size_t first_other(const std::byte* bytes, std::size_t count, int filling) noexcept {
  const auto wanted = static_cast<std::byte>(filling);
  if (count == 0) return 0;
  // Each byte is its neighbour's equal, and the first is right.
  if (bytes[0] == wanted && std::memcmp(bytes, bytes + 1, count - 1) == 0) return count;
  std::size_t at = 0;
  while (at < count && bytes[at] == wanted) ++at;
  return at;
}

}  // namespace

void SlotWatch::choose() noexcept {
  const DebugWords words = debug_words();
  checkers_ = words.off ? MemoryCheckers{} : memory_checkers();
  poison_ = words.poison && !words.off;
  guard_ = words.guard && !words.off;
  on_ = poison_ || guard_ || checkers_.any();
  writes_after_put_.store(0, std::memory_order_relaxed);
  writes_beyond_size_.store(0, std::memory_order_relaxed);
}

void SlotWatch::set_up(const Attachment& attachment) noexcept {
  if (!on_) return;
  const auto count = static_cast<std::uint32_t>(attachment.rings.size());
  rings_.reset(new (std::nothrow) Ring[count]);
  ring_count_ = rings_ == nullptr ? 0 : count;
  std::uint64_t slots = 0;
  for (std::uint32_t r = 0; r < ring_count_; ++r) {
    const RingSetup& setup = attachment.rings[r];
    rings_[r].base = setup.base;
    rings_[r].slots = setup.view.slots;
    rings_[r].class_bytes = setup.class_bytes;
    rings_[r].first_border = slots;
    slots += setup.view.slot_capacity;
  }
  borders_ = lib::Mapping();
  if (guard_ && slots > 0) {
    std::string why;
    borders_ = lib::map_wiped_on_fork(slots * sizeof(std::uint32_t), why);
    if (!borders_) standard_error_line("guard is off: %s", why.c_str());
  }
}

void SlotWatch::open_all() noexcept {
  for (std::uint32_t r = 0; r < ring_count_; ++r) {
    Ring& ring = rings_[r];
    checkers_.open(ring.base, ring.closed_bound.exchange(0) * ring.class_bytes);
  }
}

void SlotWatch::close(Ring& ring, std::uint32_t slot, std::uint64_t from) noexcept {
  if (!checkers_.any()) return;
  std::uint32_t bound = ring.closed_bound.load(std::memory_order_relaxed);
  while (bound <= slot && !ring.closed_bound.compare_exchange_weak(bound, slot + 1)) {
  }
  checkers_.close(address(ring, slot) + from, ring.class_bytes - from);
}

void SlotWatch::begin_hold(Ring& ring, std::uint32_t slot, std::uint64_t bytes) noexcept {
  if (borders_ && bytes < ring.class_bytes) {
    std::memset(address(ring, slot) + bytes, kFilledBeyondSize, ring.class_bytes - bytes);
    border(ring, slot).store(static_cast<std::uint32_t>(bytes), std::memory_order_relaxed);
  }
  close(ring, slot, bytes);
}

void SlotWatch::end_hold(const Attachment& attachment, Ring& ring, std::uint32_t slot) noexcept {
  std::byte* data = address(ring, slot);
  checkers_.open(data, ring.class_bytes);
  if (!borders_) return;
  const std::uint32_t size = border(ring, slot).exchange(0, std::memory_order_relaxed);
  if (size == 0) return;
  const std::size_t at =
      size + first_other(data + size, ring.class_bytes - size, kFilledBeyondSize);
  if (at == ring.class_bytes) return;
  writes_beyond_size_.fetch_add(1, std::memory_order_relaxed);
  standard_error_line(
      "written beyond its size: buffer at %p of pool %s, size %u of %zu bytes, byte %zu",
      static_cast<void*>(data), attachment.header().pool_name, size,
      static_cast<std::size_t>(ring.class_bytes), at);
}

void SlotWatch::check_filled(const Attachment& attachment, Ring& ring,
                             const zp_buffer& buffer) noexcept {
  const std::uint64_t stamp = ring.slots[buffer.slot].note.load(std::memory_order_relaxed);
  if (stamp != poison_stamp(detail::generation_of(buffer.word))) return;  // W2
  const auto* data = static_cast<const std::byte*>(buffer.data);
  const std::size_t at = first_other(data, ring.class_bytes, kFilledAfterPut);
  if (at == ring.class_bytes) return;
  writes_after_put_.fetch_add(1, std::memory_order_relaxed);
  standard_error_line("written after its put: buffer at %p of pool %s, %zu bytes, byte %zu",
                      buffer.data, attachment.header().pool_name,
                      static_cast<std::size_t>(ring.class_bytes), at);
}

void SlotWatch::got(const Attachment& attachment, const zp_buffer& buffer, bool clear) noexcept {
  const std::uint32_t number = detail::ring_of(buffer.word);
  if (number >= ring_count_) return;
  Ring& ring = rings_[number];
  checkers_.open(buffer.data, ring.class_bytes);
  if (poison_) check_filled(attachment, ring, buffer);
  if (clear) std::memset(buffer.data, 0, ring.class_bytes);
  begin_hold(ring, buffer.slot, buffer.size);
}

void SlotWatch::adopted(const Attachment&, const zp_buffer& buffer) noexcept {
  const std::uint32_t number = detail::ring_of(buffer.word);
  if (number >= ring_count_) return;
  Ring& ring = rings_[number];
  checkers_.open(buffer.data, ring.class_bytes);
  begin_hold(ring, buffer.slot, buffer.size);
}

void SlotWatch::before_put(const Attachment& attachment, std::uint32_t number, std::uint32_t slot,
                           lib::Mark held) noexcept {
  if (number >= ring_count_) return;
  Ring& ring = rings_[number];
  end_hold(attachment, ring, slot);
  if (poison_) {
    std::memset(address(ring, slot), kFilledAfterPut, ring.class_bytes);
    lib::program_order();  // the stamp comes last (Crash safety)
    ring.slots[slot].note.store(poison_stamp(held.next(lib::SlotState::kFree, 0).generation()),
                                std::memory_order_relaxed);
  }
  close(ring, slot, 0);
}

void SlotWatch::before_release(const Attachment& attachment, std::uint32_t number,
                               std::uint32_t slot) noexcept {
  if (number >= ring_count_) return;
  Ring& ring = rings_[number];
  end_hold(attachment, ring, slot);
  close(ring, slot, 0);
}

void SlotWatch::before_share(const Attachment& attachment, std::uint32_t number,
                             std::uint32_t slot) noexcept {
  if (number < ring_count_) end_hold(attachment, rings_[number], slot);
}

void SlotWatch::shared(std::uint32_t number, std::uint32_t slot, std::uint64_t bytes) noexcept {
  if (number < ring_count_) checkers_.open(address(rings_[number], slot), bytes);
}

void SlotWatch::before_clearing(std::uint32_t number, std::uint32_t slot) noexcept {
  if (number >= ring_count_) return;
  Ring& ring = rings_[number];
  checkers_.open(address(ring, slot), ring.class_bytes);
  // A stamp that stays would have the zeros taken for a write after the put.
  ring.slots[slot].note.store(0, std::memory_order_relaxed);
  lib::program_order();
}

void SlotWatch::after_clearing(std::uint32_t number, std::uint32_t slot) noexcept {
  if (number < ring_count_) close(rings_[number], slot, 0);
}

void SlotWatch::resized(std::uint32_t number, std::uint32_t slot, std::uint64_t bytes) noexcept {
  if (number >= ring_count_) return;
  Ring& ring = rings_[number];
  checkers_.open(address(ring, slot), bytes);
  if (!borders_) return;
  const std::uint32_t size = border(ring, slot).load(std::memory_order_relaxed);
  if (size == 0 || bytes <= size) return;
  // What lies below the new border is the program's.
  border(ring, slot)
      .store(bytes < ring.class_bytes ? static_cast<std::uint32_t>(bytes) : 0,
             std::memory_order_relaxed);
}

}  // namespace zeropool::client
