#include "quota.hpp"

#include <algorithm>

#include "last_error.hpp"
#include "order.hpp"
#include "size_text.hpp"

namespace zeropool::client {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
// Longer than zeropoold gives the caches (OrderDesk), so that it is the one who answers.
constexpr std::int64_t kRoomWaitNs = 250'000'000;

// A number in a record is 1 + the pool-wide one. Other threads' magazines: what is read is an estimate.
std::uint64_t slots_in(const RingSetup& ring, std::uint32_t stored) noexcept {
  const std::uint32_t number = stored - 1 - ring.first_cell;
  if (stored == 0 || number >= ring.view.cell_bound()) return 0;
  return std::min(ring.view.cells[number].count.load(kRelaxed), ring.view.magazine_slots);
}

std::uint64_t slots_cached(const RingSetup& ring, const lib::SharedRingRecord& record) noexcept {
  std::uint64_t slots = slots_in(ring, lib::loaded_number(record.loaded.load(kRelaxed))) +
                        slots_in(ring, record.previous.load(kRelaxed));
  const std::uint32_t spares = std::min(record.spare_count.load(kRelaxed), lib::kMaxSpares);
  for (std::uint32_t i = 0; i < spares; ++i) {
    slots += slots_in(ring, record.spares[i].load(kRelaxed));
  }
  return slots;
}

}  // namespace

std::uint64_t cached_bytes(Attachment& attachment) noexcept {
  Locked lock(attachment.guard->lock);
  std::uint64_t bytes = 0;
  for (ClientCache* cache : attachment.caches) {
    const lib::SharedRingRecord* records = lib::ControlView::rings_of(*cache->hot.record);
    for (std::size_t r = 0; r < attachment.rings.size(); ++r) {
      bytes += slots_cached(attachment.rings[r], records[r]) * attachment.rings[r].class_bytes;
    }
  }
  return bytes;
}

int refuse_over_quota(Attachment& attachment) noexcept {
  const lib::SharedClientCharge charge = charge_of(attachment);
  const std::uint64_t charged = charge.bytes();
  const std::uint64_t cached = std::min(cached_bytes(attachment), charged);
  return fail(ErrorCode::quota_exceeded,
              std::string("pool ") + attachment.header().pool_name +
                  ": this would pass the client's quota of " + size_text(charge.quota()) + " (" +
                  size_text(charged - cached) + " held, " + size_text(cached) +
                  " cached by its threads). Give buffers back, or raise client_quota in "
                  "zeropoold.yaml and reload");
}

void ask_caches_for_room(Attachment& attachment, std::uint32_t ring) noexcept {
  OrderWants wants;
  wants.count[ring % attachment.class_count] = 1;
  Order order(attachment);
  order.place(wants, attachment.rings[ring].arena, lib::kOrderRoom, monotonic_ns() + kRoomWaitNs);
}

}  // namespace zeropool::client
