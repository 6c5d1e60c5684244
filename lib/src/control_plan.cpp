#include <algorithm>
#include <bit>
#include <cstring>

#include <zeropool/lib/class_lookup.hpp>
#include <zeropool/lib/control_plan.hpp>
#include <zeropool/lib/control_view.hpp>
#include <zeropool/lib/ring_hints.hpp>

namespace zeropool::inline v1::lib {
namespace {

constexpr std::uint64_t kMagazineBytes = std::uint64_t{1} << 20;  // a magazine holds about so much
constexpr std::uint32_t kMinHotEntries = 4;
constexpr std::uint32_t kMaxHotEntries = 1024;
constexpr std::uint64_t kDaemonCells = 16;
constexpr std::uint64_t kMaxAddressBytes = std::uint64_t{1} << 46;  // of one arena

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Hands out aligned places one after the other.
class Cursor {
 public:
  explicit Cursor(std::uint64_t start) : at_(start) {}
  std::uint64_t take(std::uint64_t bytes, std::uint64_t alignment) {
    const std::uint64_t place = round_up(at_, alignment);
    at_ = place + bytes;
    return place;
  }
  std::uint64_t at() const { return at_; }

 private:
  std::uint64_t at_;
};

RingPlan plan_ring(const PoolShape& shape, std::uint32_t arena, std::uint32_t cls) {
  RingPlan ring;
  ring.arena = arena;
  ring.cls = cls;
  ring.class_bytes = shape.class_bytes[cls];
  const std::uint64_t unit =
      std::max<std::uint64_t>(page_bytes(shape.arenas[arena].page_kind), kHugePage);
  ring.extent_bytes = round_up(ring.class_bytes, unit);
  // Room for the slots of `region_bytes`, and never less than one extent.
  ring.region_bytes = round_up(std::max(shape.region_bytes, ring.extent_bytes), ring.extent_bytes);
  ring.extent_count = static_cast<std::uint32_t>(ring.region_bytes / ring.extent_bytes);
  ring.slot_capacity = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(ring.region_bytes / ring.class_bytes, kNone - 1));
  ring.magazine_slots = static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(kMagazineBytes / ring.class_bytes, 1, kMaxMagazineSlots));
  const std::uint64_t magazine_bytes = ring.magazine_slots * ring.class_bytes;
  const std::uint64_t magazines = shape.thread_cache_bytes / magazine_bytes;
  ring.spare_limit =
      magazines <= 2
          ? 0
          : static_cast<std::uint32_t>(std::min<std::uint64_t>(magazines - 2, kMaxSpares));
  ring.hot_entries = std::bit_floor(static_cast<std::uint32_t>(std::clamp<std::uint64_t>(
      shape.hot_set_bytes / magazine_bytes, kMinHotEntries, kMaxHotEntries)));
  ring.cell_capacity = ControlPlan::cells_needed(ring, ring.slot_capacity, shape.thread_capacity);
  ring.bitmap_words = static_cast<std::uint32_t>((std::uint64_t{ring.cell_capacity} + 63) / 64);
  return ring;
}

void fill_arenas(const ControlPlan& plan, ArenaEntry* arenas) {
  for (std::size_t a = 0; a < plan.shape.arenas.size(); ++a) {
    ArenaEntry& entry = arenas[a];
    entry.node = plan.shape.arenas[a].node;
    entry.page_kind = plan.shape.arenas[a].page_kind;
    entry.page_bytes = page_bytes(entry.page_kind);
    entry.segment_bytes = plan.arena_bytes[a];
    for (std::size_t i = 0; i < plan.shape.arenas.size(); ++i) {
      entry.order[i] = static_cast<std::uint8_t>((a + i) % plan.shape.arenas.size());
    }
  }
}

void fill_rings(const ControlPlan& plan, RingDescriptor* rings) {
  for (std::size_t r = 0; r < plan.rings.size(); ++r) {
    const RingPlan& from = plan.rings[r];
    RingDescriptor& to = rings[r];
    to.arena = from.arena;
    to.cls = from.cls;
    to.class_bytes = from.class_bytes;
    to.region_offset = from.region_offset;
    to.first_slot = from.first_slot;
    to.slot_capacity = from.slot_capacity;
    to.first_cell = from.first_cell;
    to.cell_capacity = from.cell_capacity;
    to.magazine_slots = from.magazine_slots;
    to.hot_entries = from.hot_entries;
    to.bitmap_words = from.bitmap_words;
    to.hints_offset = from.hints_offset;
    to.put_limit.store(from.magazine_slots, std::memory_order_relaxed);
    to.spare_limit.store(from.spare_limit, std::memory_order_relaxed);
  }
}

}  // namespace

std::uint64_t page_bytes(PageKind kind) {
  switch (kind) {
    case PageKind::kGiant1GiB: return kGiantPage;
    case PageKind::kHuge2MiB:
    case PageKind::kTransparent: return kHugePage;
    case PageKind::kSmall4KiB: return kSmallPage;
  }
  return kSmallPage;
}

std::uint64_t ControlPlan::page_bytes_of(std::uint32_t arena) const {
  return page_bytes(shape.arenas[arena].page_kind);
}

std::uint32_t ControlPlan::cells_needed(const RingPlan& ring, std::uint64_t slots,
                                        std::uint64_t threads) {
  const std::uint64_t per_thread = 2 + ring.spare_limit + 1;
  const std::uint64_t cells = slots / ring.magazine_slots + threads * per_thread + kDaemonCells + 1;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(cells, kNone - 1));
}

std::string plan_control_segment(const PoolShape& shape, ControlPlan& plan) {
  plan = ControlPlan{};
  plan.shape = shape;
  const std::size_t ring_count = shape.arenas.size() * shape.class_bytes.size();
  if (shape.class_bytes.empty() || shape.class_bytes.size() > kMaxClasses) {
    return "a pool has 1 to " + std::to_string(kMaxClasses) + " classes";
  }
  if (shape.arenas.empty() || shape.arenas.size() > kMaxArenas || ring_count > kMaxRings) {
    return "a pool has 1 to " + std::to_string(kMaxArenas) + " arenas and at most " +
           std::to_string(kMaxRings) + " rings (nodes x classes)";
  }
  if (shape.domain_count == 0 || shape.domain_count > kMaxDomains) {
    return "a machine has 1 to " + std::to_string(kMaxDomains) + " cache domains";
  }
  if (shape.region_bytes > kMaxAddressBytes)
    return "a class would need more than 64 TiB of addresses";
  for (const std::uint64_t bytes : shape.class_bytes) {
    if (bytes == 0 || bytes % kClassGranule != 0 || bytes > kMaxClassBytes) {
      return "a class is a multiple of 64 bytes up to 1 GiB, not " + std::to_string(bytes);
    }
  }
  plan.thread_record_bytes = static_cast<std::uint32_t>(sizeof(SharedThreadRecord) +
                                                        ring_count * sizeof(SharedRingRecord));

  std::uint64_t cells = 0;
  std::uint64_t slots = 0;
  for (std::uint32_t a = 0; a < shape.arenas.size(); ++a) {
    const std::uint64_t unit =
        std::max<std::uint64_t>(page_bytes(shape.arenas[a].page_kind), kHugePage);
    Cursor arena(0);
    for (std::uint32_t c = 0; c < shape.class_bytes.size(); ++c) {
      RingPlan ring = plan_ring(shape, a, c);
      ring.region_offset = arena.take(ring.region_bytes, unit);
      ring.first_slot = slots;
      slots += round_up(ring.slot_capacity, kSmallPage / sizeof(SharedSlotWords));
      ring.first_cell = static_cast<std::uint32_t>(cells);
      cells += round_up(ring.cell_capacity, kSmallPage / sizeof(SharedMagazine));
      if (cells >= kNone)
        return "the pool's limit is too large for its smallest class: more than 2^32 magazines";
      plan.rings.push_back(ring);
    }
    const std::uint64_t bytes = round_up(arena.at(), kGiantPage);
    if (bytes > kMaxAddressBytes) return "an arena would need more than 64 TiB of addresses";
    plan.arena_bytes.push_back(bytes);
  }

  Cursor at(sizeof(ControlHeader));
  plan.class_bytes_offset = at.take(shape.class_bytes.size() * 8, kCacheLine);
  plan.arenas_offset = at.take(shape.arenas.size() * sizeof(ArenaEntry), kCacheLine);
  plan.rings_offset = at.take(ring_count * sizeof(RingDescriptor), kCacheLine);
  plan.cpus_offset = at.take(std::uint64_t{shape.cpu_count} * sizeof(CpuEntry), kCacheLine);
  plan.clients_offset =
      at.take(std::uint64_t{shape.client_capacity} * sizeof(SharedClientRecord), kCacheLine * 2);
  plan.order_hints_offset =
      at.take((std::uint64_t{shape.order_capacity} + 63) / 64 * 8, kCacheLine);
  plan.fixed_bytes = round_up(at.at(), kSmallPage);
  // Hints: per ring on pages of its own, committed as the ring's cells are published.
  plan.hints_offset = plan.fixed_bytes;
  Cursor hints(plan.hints_offset);
  for (RingPlan& ring : plan.rings) {
    ring.hints_bytes =
        RingHintsLayout::make(shape.domain_count, ring.hot_entries, ring.bitmap_words).bytes;
    ring.hints_offset = hints.take(ring.hints_bytes, kSmallPage);
  }
  Cursor rest(hints.at());
  plan.threads_offset =
      rest.take(std::uint64_t{shape.thread_capacity} * plan.thread_record_bytes, kSmallPage);
  plan.orders_offset =
      rest.take(std::uint64_t{shape.order_capacity} * sizeof(SharedOrderCell), kSmallPage);
  plan.shares_offset =
      rest.take(std::uint64_t{shape.share_capacity} * sizeof(ShareCell<std::atomic>), kSmallPage);
  plan.pins_offset =
      rest.take(std::uint64_t{shape.pin_capacity} * sizeof(PinCell<std::atomic>), kSmallPage);
  plan.magazines_offset = rest.take(cells * sizeof(SharedMagazine), kSmallPage);
  plan.slots_offset = rest.take(slots * sizeof(SharedSlotWords), kSmallPage);
  plan.samples_offset =
      rest.take(std::uint64_t{shape.thread_capacity} * sizeof(SharedSampleBlock), kSmallPage);
  plan.segment_bytes = round_up(rest.at(), kHugePage);
  return {};
}

ControlHeader* ControlPlan::describe(void* segment, std::uint32_t pool_tag) const {
  auto* base = static_cast<std::byte*>(segment);
  auto* header = reinterpret_cast<ControlHeader*>(base);
  std::memcpy(header->pool_name, shape.name.c_str(),
              std::min(shape.name.size(), kPoolNameBytes - 1));
  header->pool_tag = pool_tag;
  header->layout_version = kLayoutVersion;
  header->header_bytes = sizeof(ControlHeader);
  header->layout_hash = lib::layout_hash();
  header->segment_bytes = segment_bytes;
  header->class_count = static_cast<std::uint32_t>(shape.class_bytes.size());
  header->arena_count = static_cast<std::uint32_t>(shape.arenas.size());
  header->ring_count = static_cast<std::uint32_t>(rings.size());
  header->domain_count = shape.domain_count;
  header->cpu_count = shape.cpu_count;
  header->client_capacity = shape.client_capacity;
  header->thread_capacity = shape.thread_capacity;
  header->thread_record_bytes = thread_record_bytes;
  header->order_capacity = shape.order_capacity;
  header->share_capacity = shape.share_capacity;
  header->pin_capacity = shape.pin_capacity;
  header->class_bytes_offset = class_bytes_offset;
  header->arenas_offset = arenas_offset;
  header->rings_offset = rings_offset;
  header->cpus_offset = cpus_offset;
  header->hints_offset = hints_offset;
  header->clients_offset = clients_offset;
  header->threads_offset = threads_offset;
  header->orders_offset = orders_offset;
  header->order_hints_offset = order_hints_offset;
  header->shares_offset = shares_offset;
  header->pins_offset = pins_offset;
  header->magazines_offset = magazines_offset;
  header->slots_offset = slots_offset;
  header->samples_offset = samples_offset;
  auto* classes = reinterpret_cast<std::uint64_t*>(base + class_bytes_offset);
  std::copy(shape.class_bytes.begin(), shape.class_bytes.end(), classes);
  fill_arenas(*this, reinterpret_cast<ArenaEntry*>(base + arenas_offset));
  fill_rings(*this, reinterpret_cast<RingDescriptor*>(base + rings_offset));
  std::atomic_thread_fence(std::memory_order_release);
  header->magic = kControlMagic;
  return header;
}

}  // namespace zeropool::v1::lib
