#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/lib/control_plan.hpp>
#include <zeropool/lib/control_view.hpp>
#include <zeropool/lib/ring_hints.hpp>
#include <zeropool/lib/segment.hpp>

using namespace zeropool::lib;

namespace {

PoolShape small_shape(std::uint32_t arenas = 2) {
  PoolShape shape;
  shape.name = "test";
  shape.class_bytes = {4096, 65536, std::uint64_t{3} << 20};
  for (std::uint32_t a = 0; a < arenas; ++a) shape.arenas.push_back({a, PageKind::kSmall4KiB});
  shape.region_bytes = std::uint64_t{64} << 20;
  shape.thread_cache_bytes = std::uint64_t{8} << 20;
  shape.hot_set_bytes = std::uint64_t{16} << 20;
  shape.domain_count = 2;
  shape.cpu_count = 8;
  shape.client_capacity = 16;
  shape.thread_capacity = 32;
  shape.order_capacity = 70;
  shape.share_capacity = 16;
  shape.pin_capacity = 16;
  return shape;
}

// A described segment, mapped.
struct Segment {
  explicit Segment(const PoolShape& shape) {
    why = plan_control_segment(shape, plan);
    REQUIRE(why == "");
    const UniqueFd fd =
        create_segment("zeropool-test", plan.segment_bytes, SegmentPages::kSmall, why);
    REQUIRE_MESSAGE(fd, why);
    mapping = map_segment(fd.get(), plan.segment_bytes, kSmallPage, why);
    REQUIRE_MESSAGE(mapping, why);
    header = plan.describe(mapping.data(), 9);
    rings = reinterpret_cast<RingDescriptor*>(mapping.data() + header->rings_offset);
  }
  std::string check() const { return check_control_segment(mapping.data(), mapping.size()); }
  std::string why;
  ControlPlan plan;
  Mapping mapping;
  ControlHeader* header = nullptr;
  RingDescriptor* rings = nullptr;
};

}  // namespace

TEST_CASE("no two tables of a planned segment overlap, and all lie inside it") {
  for (const std::uint32_t arenas : {1U, 2U, 64U}) {
    ControlPlan plan;
    REQUIRE(plan_control_segment(small_shape(arenas), plan) == "");
    std::vector<std::pair<std::uint64_t, std::uint64_t>> areas = {
        {0, sizeof(ControlHeader)},
        {plan.class_bytes_offset, plan.shape.class_bytes.size() * 8},
        {plan.arenas_offset, arenas * sizeof(ArenaEntry)},
        {plan.rings_offset, plan.rings.size() * sizeof(RingDescriptor)},
        {plan.cpus_offset, plan.shape.cpu_count * sizeof(CpuEntry)},
        {plan.clients_offset, plan.shape.client_capacity * sizeof(SharedClientRecord)},
        {plan.order_hints_offset, 2 * 8},
        {plan.threads_offset, std::uint64_t{plan.shape.thread_capacity} * plan.thread_record_bytes},
        {plan.orders_offset, plan.shape.order_capacity * sizeof(SharedOrderCell)},
        {plan.shares_offset, plan.shape.share_capacity * sizeof(ShareCell<std::atomic>)},
        {plan.pins_offset, plan.shape.pin_capacity * sizeof(PinCell<std::atomic>)},
        {plan.samples_offset, plan.shape.thread_capacity * sizeof(SharedSampleBlock)}};
    for (const RingPlan& ring : plan.rings) {
      areas.emplace_back(ring.hints_offset, ring.hints_bytes);
      areas.emplace_back(
          plan.magazines_offset + std::uint64_t{ring.first_cell} * sizeof(SharedMagazine),
          ring.cell_capacity * sizeof(SharedMagazine));
      areas.emplace_back(plan.slots_offset + ring.first_slot * sizeof(SharedSlotWords),
                         ring.slot_capacity * sizeof(SharedSlotWords));
    }
    std::sort(areas.begin(), areas.end());
    for (std::size_t i = 0; i + 1 < areas.size(); ++i) {
      CHECK(areas[i].first + areas[i].second <= areas[i + 1].first);
    }
    CHECK(areas.back().first + areas.back().second <= plan.segment_bytes);
  }
}

TEST_CASE("regions of an arena do not overlap, and a ring has room for every slot") {
  ControlPlan plan;
  REQUIRE(plan_control_segment(small_shape(), plan) == "");
  for (std::size_t r = 0; r < plan.rings.size(); ++r) {
    const RingPlan& ring = plan.rings[r];
    CHECK(ring.region_bytes >= ring.slot_capacity * ring.class_bytes);
    CHECK(ring.region_offset + ring.region_bytes <= plan.arena_bytes[ring.arena]);
    if (ring.cls > 0) {
      CHECK(plan.rings[r - 1].region_offset + plan.rings[r - 1].region_bytes <= ring.region_offset);
    }
    const std::uint64_t owned =
        std::uint64_t{plan.shape.thread_capacity} * (2 + ring.spare_limit + 1);
    CHECK(ring.cell_capacity >= ring.slot_capacity / ring.magazine_slots + owned + 1);
    CHECK(std::uint64_t{ring.bitmap_words} * 64 >= ring.cell_capacity);
    CHECK((ring.magazine_slots >= 1 && ring.magazine_slots <= kMaxMagazineSlots));
    CHECK((ring.hot_entries & (ring.hot_entries - 1)) == 0);
  }
}

TEST_CASE("a shape that cannot be laid out is refused with a sentence") {
  const std::pair<const char*, std::function<void(PoolShape&)>> cases[] = {
      {"classes", [](PoolShape& s) { s.class_bytes.clear(); }},
      {"classes", [](PoolShape& s) { s.class_bytes.resize(33, 4096); }},
      {"class", [](PoolShape& s) { s.class_bytes[0] = 0; }},
      {"class", [](PoolShape& s) { s.class_bytes[0] = 100; }},
      {"class", [](PoolShape& s) { s.class_bytes[2] = kMaxClassBytes + 64; }},
      {"arenas", [](PoolShape& s) { s.arenas.clear(); }},
      {"arenas", [](PoolShape& s) { s.arenas.resize(65); }},
      {"domains", [](PoolShape& s) { s.domain_count = 0; }},
      {"domains", [](PoolShape& s) { s.domain_count = 257; }},
      {"addresses", [](PoolShape& s) { s.region_bytes = ~std::uint64_t{0}; }},
      {"addresses", [](PoolShape& s) { s.region_bytes = std::uint64_t{1} << 46; }}};
  for (const auto& [word, damage] : cases) {
    PoolShape shape = small_shape();
    damage(shape);
    ControlPlan plan;
    const std::string why = plan_control_segment(shape, plan);
    CHECK_MESSAGE(why.find(word) != std::string::npos, why);
  }
}

TEST_CASE("a client's view and the daemon's own are the same places") {
  Segment segment(small_shape());
  REQUIRE(segment.check() == "");
  const ControlView client(segment.mapping.data());
  const ControlView daemon(segment.mapping.data(), segment.plan);
  for (std::uint32_t r = 0; r < segment.plan.rings.size(); ++r) {
    const SharedRingView a = client.ring(client.descriptor(r));
    const SharedRingView b = daemon.ring(r, segment.plan.rings[r]);
    CHECK(a.cells == b.cells);
    CHECK(a.slots == b.slots);
    CHECK(a.hot_heads == b.hot_heads);
    CHECK(a.cell_capacity == b.cell_capacity);
    CHECK(a.cells_published == b.cells_published);
    // The last cell's hint stays inside the ring's hints.
    SharedRingView writable = b;
    writable.empty.set(b.cell_capacity - 1);
    CHECK(a.empty.test(a.cell_capacity - 1));
  }
  CHECK(&client.thread(3) == &daemon.thread(3));
  CHECK(&client.order(69) == &daemon.order(69));
  CHECK(segment.header->pool_tag == 9);
}

TEST_CASE("a short, foreign or other version's segment is refused") {
  Segment segment(small_shape());
  CHECK(check_control_segment(segment.mapping.data(), 100) != "");
  CHECK(check_control_segment(segment.mapping.data(), segment.mapping.size() - 1) != "");
  segment.header->layout_hash ^= 1;
  CHECK(segment.check().find("version") != std::string::npos);
  segment.header->layout_hash ^= 1;
  segment.header->magic = 0;
  CHECK(segment.check() != "");
}

TEST_CASE("a header with any field out of bounds is refused") {
  Segment segment(small_shape());
  ControlHeader& h = *segment.header;
  REQUIRE(segment.check() == "");
  std::uint64_t* const offsets[] = {&h.class_bytes_offset, &h.arenas_offset,      &h.rings_offset,
                                    &h.cpus_offset,        &h.clients_offset,     &h.threads_offset,
                                    &h.orders_offset,      &h.order_hints_offset, &h.shares_offset,
                                    &h.pins_offset,        &h.magazines_offset,   &h.slots_offset,
                                    &h.samples_offset};
  for (std::uint64_t* offset : offsets) {
    const std::uint64_t good = *offset;
    for (const std::uint64_t bad :
         {good + 1, h.segment_bytes, h.segment_bytes + 4096, ~std::uint64_t{0} - 4095}) {
      *offset = bad;
      CHECK(segment.check() != "");
    }
    *offset = good;
  }
  std::uint32_t* const counts[] = {&h.class_count, &h.arena_count, &h.ring_count, &h.domain_count,
                                   &h.thread_record_bytes};
  for (std::uint32_t* count : counts) {
    const std::uint32_t good = *count;
    for (const std::uint32_t bad : {0U, good + 1000, 0xffffffffU}) {
      *count = bad;
      CHECK(segment.check() != "");
    }
    *count = good;
  }
  for (std::uint32_t* count : {&h.cpu_count, &h.client_capacity, &h.thread_capacity,
                               &h.order_capacity, &h.share_capacity, &h.pin_capacity}) {
    const std::uint32_t good = *count;
    *count = 0xffffffffU;
    CHECK(segment.check() != "");
    *count = good;
  }
  h.pool_name[kPoolNameBytes - 1] = 'x';
  CHECK(segment.check() != "");
  h.pool_name[kPoolNameBytes - 1] = 0;
  CHECK(segment.check() == "");
}

TEST_CASE("a ring descriptor with any field out of bounds is refused") {
  Segment segment(small_shape());
  for (const std::uint32_t number : {0U, 5U}) {
    RingDescriptor& ring = segment.rings[number];
    const auto refused = [&](auto& field, auto bad) {
      const auto good = field;
      field = static_cast<std::remove_reference_t<decltype(field)>>(bad);
      CHECK(segment.check() != "");
      field = good;
      CHECK(segment.check() == "");
    };
    refused(ring.arena, 63);
    refused(ring.cls, 31);
    refused(ring.class_bytes, 0);
    refused(ring.class_bytes, ~std::uint64_t{0});
    refused(ring.region_offset, ~std::uint64_t{0} - 7);
    refused(ring.first_slot, ~std::uint64_t{0} - 9);  // the sum would wrap
    refused(ring.first_slot, std::uint64_t{1} << 40);
    refused(ring.slot_capacity, 0);
    refused(ring.slot_capacity, 0xffffffffU);
    refused(ring.first_cell, 0xffffffffU);
    refused(ring.cell_capacity, 0);
    refused(ring.cell_capacity, 0xffffffffU);
    refused(ring.magazine_slots, 0);
    refused(ring.magazine_slots, 61);
    refused(ring.hot_entries, 0);
    refused(ring.hot_entries, 3);
    refused(ring.hot_entries, 0x80000000U);
    refused(ring.bitmap_words, 0);
    refused(ring.bitmap_words, 0xffffffffU);
    refused(ring.hints_offset, 1);
    refused(ring.hints_offset, segment.header->segment_bytes);
  }
}
