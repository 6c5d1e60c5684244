#include "scrub.hpp"

#include <cstring>

#include <zeropool/detail/pool_state.hpp>
#include <zeropool/lib/ordering.hpp>

#include "attachment.hpp"

namespace zeropool::client {
namespace {

namespace detail = zeropool::v1::detail;

void clear_slots(Attachment& attachment, std::uint32_t number,
                 const lib::SharedMagazine& magazine) {
  const RingSetup& ring = attachment.rings[number];
  const std::uint32_t bound = ring.view.slot_bound();
  const std::uint32_t count = magazine.count.load(std::memory_order_relaxed);
  for (std::uint32_t i = 0; i < count && i < lib::kMaxMagazineSlots; ++i) {
    const std::uint32_t slot = magazine.slots[i].load(std::memory_order_relaxed);
    // What is not free is damage, and dropped at its get: it may be somebody's.
    if (slot >= bound) continue;
    const lib::Mark mark{ring.view.slots[slot].mark.load(std::memory_order_relaxed)};
    if (!mark.is_free()) continue;
    if (attachment.watch.on()) attachment.watch.before_clearing(number, slot);
    std::memset(ring.base + slot * ring.class_bytes, 0, ring.class_bytes);
    if (attachment.watch.on()) attachment.watch.after_clearing(number, slot);
  }
}

}  // namespace

void clear_foreign(Attachment& attachment, std::uint32_t ring, std::uint32_t cell) noexcept {
  lib::SharedMagazine& magazine = attachment.rings[ring].view.cells[cell];
  const std::uint32_t users = magazine.users.load(std::memory_order_relaxed);
  if (users == attachment.users && users != lib::kManyUsers) return;
  std::uint32_t now = attachment.users;
  if (users != lib::kNoUser && magazine.count.load(std::memory_order_relaxed) != 0) {
    if (attachment.header().scrub.load(std::memory_order_relaxed) == lib::Scrub::kNever) {
      now = lib::kManyUsers;
    } else {
      clear_slots(attachment, ring, magazine);
    }
  }
  lib::program_order();  // cleared, then stamped
  magazine.users.store(now, std::memory_order_relaxed);
  lib::program_order();  // before any put of ours
}

void hand_out(Attachment& attachment, const zp_buffer& buffer) noexcept {
  if (buffer.data == nullptr) return;
  if (attachment.watch.on()) {
    attachment.watch.got(attachment, buffer, attachment.clears_always);
  } else if (attachment.clears_always) {
    std::memset(buffer.data, 0, attachment.rings[detail::ring_of(buffer.word)].class_bytes);
  }
  if (attachment.sampling.on()) attachment.sampling.got(attachment, buffer);
}

}  // namespace zeropool::client
