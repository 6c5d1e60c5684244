#include <cstddef>

#include <zeropool/lib/control_plan.hpp>
#include <zeropool/lib/control_view.hpp>
#include <zeropool/lib/ring_hints.hpp>

namespace zeropool::inline v1::lib {
namespace {

// `count` things of `size` bytes at `offset` lie inside `bytes`.
bool fits(std::uint64_t offset, std::uint64_t count, std::uint64_t size, std::uint64_t bytes,
          std::uint64_t alignment = 8) {
  return offset % alignment == 0 && offset <= bytes &&
         (size == 0 || count <= (bytes - offset) / size);
}

bool tables_fit(const ControlHeader& h) {
  const std::uint64_t bytes = h.segment_bytes;
  return fits(h.class_bytes_offset, h.class_count, 8, bytes) &&
         fits(h.arenas_offset, h.arena_count, sizeof(ArenaEntry), bytes) &&
         fits(h.rings_offset, h.ring_count, sizeof(RingDescriptor), bytes,
              alignof(RingDescriptor)) &&
         fits(h.cpus_offset, h.cpu_count, sizeof(CpuEntry), bytes) &&
         fits(h.clients_offset, h.client_capacity, sizeof(SharedClientRecord), bytes,
              alignof(SharedClientRecord)) &&
         fits(h.threads_offset, h.thread_capacity, h.thread_record_bytes, bytes,
              alignof(SharedThreadRecord)) &&
         fits(h.orders_offset, h.order_capacity, sizeof(SharedOrderCell), bytes,
              alignof(SharedOrderCell)) &&
         fits(h.order_hints_offset, (std::uint64_t{h.order_capacity} + 63) / 64, 8, bytes) &&
         fits(h.shares_offset, h.share_capacity, sizeof(ShareCell<std::atomic>), bytes) &&
         fits(h.pins_offset, h.pin_capacity, sizeof(PinCell<std::atomic>), bytes) &&
         fits(h.samples_offset, h.thread_capacity, sizeof(SharedSampleBlock), bytes,
              alignof(SharedSampleBlock));
}

bool ring_fits(const ControlHeader& h, const RingDescriptor& ring, const ArenaEntry& arena) {
  const std::uint64_t bytes = h.segment_bytes;
  return ring.class_bytes != 0 && ring.slot_capacity != 0 && ring.cell_capacity != 0 &&
         ring.first_slot <= bytes &&  // so that the sum below does not wrap
         ring.magazine_slots >= 1 && ring.magazine_slots <= kMaxMagazineSlots &&
         fits(ring.region_offset, ring.slot_capacity, ring.class_bytes, arena.segment_bytes) &&
         fits(h.slots_offset, ring.first_slot + ring.slot_capacity, sizeof(SharedSlotWords),
              bytes) &&
         fits(h.magazines_offset, std::uint64_t{ring.first_cell} + ring.cell_capacity,
              sizeof(SharedMagazine), bytes, alignof(SharedMagazine)) &&
         ring.hot_entries != 0 && (ring.hot_entries & (ring.hot_entries - 1)) == 0 &&
         ring.bitmap_words == (std::uint64_t{ring.cell_capacity} + 63) / 64 &&
         fits(ring.hints_offset,
              RingHintsLayout::make(h.domain_count, ring.hot_entries, ring.bitmap_words).bytes, 1,
              bytes, kCacheLine);
}

}  // namespace

std::string check_control_segment(const void* segment, std::uint64_t bytes) {
  if (bytes < sizeof(ControlHeader)) return "the control segment is shorter than its header";
  const auto& header = *static_cast<const ControlHeader*>(segment);
  if (header.magic != kControlMagic) return "the segment is not a zeropool control segment";
  if (header.layout_version != kLayoutVersion || header.layout_hash != layout_hash()) {
    return "the segment has layout version " + std::to_string(header.layout_version) +
           ", this library has " + std::to_string(kLayoutVersion) +
           " (or another build of it): install zeropoold and libzeropool of the same version";
  }
  const bool sane = header.segment_bytes <= bytes && header.class_count >= 1 &&
                    header.class_count <= kMaxClasses && header.arena_count >= 1 &&
                    header.arena_count <= kMaxArenas &&
                    header.ring_count == header.arena_count * header.class_count &&
                    header.domain_count >= 1 && header.domain_count <= kMaxDomains &&
                    header.cpu_count >= 1 && header.pool_name[kPoolNameBytes - 1] == 0 &&
                    header.thread_record_bytes ==
                        sizeof(SharedThreadRecord) + header.ring_count * sizeof(SharedRingRecord) &&
                    tables_fit(header);
  if (!sane) return "the control segment's tables do not lie inside it";
  const auto* base = static_cast<const std::byte*>(segment);
  const auto* rings = reinterpret_cast<const RingDescriptor*>(base + header.rings_offset);
  const auto* arenas = reinterpret_cast<const ArenaEntry*>(base + header.arenas_offset);
  for (std::uint32_t r = 0; r < header.ring_count; ++r) {
    if (rings[r].arena != r / header.class_count || rings[r].cls != r % header.class_count ||
        !ring_fits(header, rings[r], arenas[rings[r].arena])) {
      return "ring " + std::to_string(r) + " does not lie inside its segments";
    }
  }
  return {};
}

ControlView::ControlView(void* segment) : base_(static_cast<std::byte*>(segment)) {
  const ControlHeader& h = header();
  domain_count_ = h.domain_count;
  thread_record_bytes_ = h.thread_record_bytes;
  rings_offset_ = h.rings_offset;
  threads_offset_ = h.threads_offset;
  orders_offset_ = h.orders_offset;
  order_hints_offset_ = h.order_hints_offset;
  clients_offset_ = h.clients_offset;
  shares_offset_ = h.shares_offset;
  magazines_offset_ = h.magazines_offset;
  slots_offset_ = h.slots_offset;
  samples_offset_ = h.samples_offset;
}

ControlView::ControlView(void* segment, const ControlPlan& plan)
    : base_(static_cast<std::byte*>(segment)),
      domain_count_(plan.shape.domain_count),
      thread_record_bytes_(plan.thread_record_bytes),
      rings_offset_(plan.rings_offset),
      threads_offset_(plan.threads_offset),
      orders_offset_(plan.orders_offset),
      order_hints_offset_(plan.order_hints_offset),
      clients_offset_(plan.clients_offset),
      shares_offset_(plan.shares_offset),
      magazines_offset_(plan.magazines_offset),
      slots_offset_(plan.slots_offset),
      samples_offset_(plan.samples_offset) {}

SharedRingView ControlView::ring_from(RingDescriptor& published,
                                      const RingDescriptor& constants) const noexcept {
  SharedRingView view;
  view.cells = reinterpret_cast<SharedMagazine*>(base_ + magazines_offset_) + constants.first_cell;
  view.slots = reinterpret_cast<SharedSlotWords*>(base_ + slots_offset_) + constants.first_slot;
  view.cells_published = &published.cells_published;
  view.slots_published = &published.slots_published;
  view.drain_begin = &published.drain_begin;
  view.drain_end = &published.drain_end;
  view.low_words = &published.low_words;
  view.cell_capacity = constants.cell_capacity;
  view.slot_capacity = constants.slot_capacity;
  view.magazine_slots = constants.magazine_slots;
  view.domain_count = domain_count_;
  view.hot_size = constants.hot_entries;
  const RingHintsLayout hints =
      RingHintsLayout::make(domain_count_, constants.hot_entries, constants.bitmap_words);
  std::byte* at = base_ + constants.hints_offset;
  view.hot_heads = reinterpret_cast<HotQueueHead<std::atomic>*>(at);
  view.hot_entries = reinterpret_cast<std::atomic<std::uint32_t>*>(at + hints.hot_entries_offset);
  const auto bitmap = [&](std::uint64_t offset) {
    std::byte* head = at + offset;
    std::byte* summary = head + sizeof(HintBitmapHead<std::atomic>);
    std::byte* words = summary + RingHintsLayout::summary_bytes(constants.bitmap_words);
    return HintBitmap<std::atomic>(reinterpret_cast<HintBitmapHead<std::atomic>*>(head),
                                   reinterpret_cast<std::atomic<std::uint64_t>*>(summary),
                                   reinterpret_cast<std::atomic<std::uint64_t>*>(words),
                                   constants.bitmap_words);
  };
  view.cold = bitmap(hints.bitmap_offset[0]);
  view.partial = bitmap(hints.bitmap_offset[1]);
  view.empty = bitmap(hints.bitmap_offset[2]);
  return view;
}

SharedRingView ControlView::ring(const RingDescriptor& descriptor) const noexcept {
  return ring_from(const_cast<RingDescriptor&>(descriptor), descriptor);
}

SharedRingView ControlView::ring(std::uint32_t number, const RingPlan& plan) const noexcept {
  RingDescriptor constants{};
  constants.first_slot = plan.first_slot;
  constants.slot_capacity = plan.slot_capacity;
  constants.first_cell = plan.first_cell;
  constants.cell_capacity = plan.cell_capacity;
  constants.magazine_slots = plan.magazine_slots;
  constants.hot_entries = plan.hot_entries;
  constants.bitmap_words = plan.bitmap_words;
  constants.hints_offset = plan.hints_offset;
  return ring_from(descriptor(number), constants);
}

}  // namespace zeropool::v1::lib
