#include "daemon/statistics.hpp"

#include <cstring>
#include <limits>
#include <random>
#include <sys/mman.h>

#include <doctest/doctest.h>

#include "daemon/thread_counters.hpp"

namespace zeropool::daemon {
namespace {

// A control segment in private memory: one arena, two classes, four thread records, two clients.
class Segment {
 public:
  Segment() {
    lib::PoolShape shape;
    shape.name = "frames";
    shape.class_bytes = {4096, 65536};
    shape.arenas = {{0, lib::PageKind::kSmall4KiB}};
    shape.region_bytes = 8 << 20;
    shape.thread_cache_bytes = 1 << 20;
    shape.hot_set_bytes = 1 << 20;
    shape.client_capacity = 2;
    shape.thread_capacity = 4;
    shape.order_capacity = 4;
    shape.share_capacity = 1;
    shape.pin_capacity = 1;
    REQUIRE(lib::plan_control_segment(shape, plan) == "");
    memory_ = ::mmap(nullptr, plan.segment_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(memory_ != MAP_FAILED);
    plan.describe(memory_, 1);
    view = lib::ControlView(memory_, plan);
    view.header().threads_published.store(2);
    for (std::uint32_t ring = 0; ring < plan.rings.size(); ++ring) {
      view.descriptor(ring).cells_published.store(plan.rings[ring].cell_capacity);
    }
  }
  ~Segment() { ::munmap(memory_, plan.segment_bytes); }
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  lib::SharedRingRecord& record(std::uint32_t thread, std::uint32_t ring) {
    return lib::ControlView::rings_of(view.thread(thread))[ring];
  }
  // Makes `cell` of `ring` the loaded magazine of a thread, with `count` slots.
  void load(std::uint32_t thread, std::uint32_t ring, std::uint32_t cell, std::uint32_t count) {
    const lib::OwnerWord owner = lib::OwnerWord::thread(thread + 1, 0, thread);
    view.thread(thread).owner.store(owner.word);
    const std::uint32_t number = plan.rings[ring].first_cell + cell;
    view.magazine(number).owner.store(owner.word);
    view.magazine(number).count.store(count);
    lib::settle(record(thread, ring), lib::Tally{}, number + 1, &view.magazine(number));
  }
  PoolStatistics collect() {
    PoolStatistics pool;
    pool.rings.resize(plan.rings.size());
    PublishedRecords published{2, {}};
    for (const lib::RingPlan& ring : plan.rings) published.cells.push_back(ring.cell_capacity);
    add_thread_counters(view, plan, published, pool);
    return pool;
  }

  lib::ControlPlan plan;
  lib::ControlView view;

 private:
  void* memory_ = nullptr;
};

std::uint64_t sum_of_states(const RingStatistics& ring) {
  return ring.free + ring.cold + ring.cached + ring.held + ring.in_transit + ring.shared +
         ring.quarantined;
}

}  // namespace

TEST_CASE("counters of all thread records are added up, of threads that ended too") {
  Segment segment;
  segment.load(0, 0, 0, 3);
  // A pair and a get of the magazine that is loaded, 7 counted before.
  const std::uint32_t number = segment.plan.rings[0].first_cell;
  lib::settle(segment.record(0, 0), {7, 1}, number + 1, &segment.view.magazine(number));
  segment.view.magazine(number).count.word += 2 * lib::kTake<std::atomic> + 1;
  segment.record(1, 0).tallies[0].hits.store(5);  // its record is free
  segment.record(1, 0).failures[2].store(4);
  segment.record(1, 1).tallies[0].puts.store(7);
  segment.view.thread(1).double_puts.store(2);
  segment.record(2, 0).tallies[0].hits.store(1000);  // not published
  const PoolStatistics pool = segment.collect();
  CHECK(pool.rings[0].tls_hits == 14);
  CHECK(pool.rings[0].gets() == 18);
  CHECK(pool.rings[0].puts == 2);
  CHECK(pool.rings[1].puts == 7);
  CHECK(pool.double_puts == 2);
  CHECK(pool.threads == 1);
}

TEST_CASE("cached slots are those of the magazines that live threads own") {
  Segment segment;
  segment.load(0, 0, 0, 3);
  segment.load(1, 0, 1, 2);
  CHECK(segment.collect().rings[0].cached == 5);

  SUBCASE("previous and spares count") {
    const std::uint32_t number = segment.plan.rings[0].first_cell + 2;
    segment.view.magazine(number).owner.store(lib::OwnerWord::thread(1, 0, 0).word);
    segment.view.magazine(number).count.store(1);
    segment.record(0, 0).previous.store(number + 1);
    CHECK(segment.collect().rings[0].cached == 6);
    segment.record(0, 0).previous.store(0);
    segment.record(0, 0).spares[0].store(number + 1);
    CHECK(segment.collect().rings[0].cached == 5);
    segment.record(0, 0).spare_count.store(1);
    CHECK(segment.collect().rings[0].cached == 6);
  }
  SUBCASE("a count above a magazine's size is cut") {
    segment.load(0, 0, 0, 0xffffffffU);
    CHECK(segment.collect().rings[0].cached == segment.plan.rings[0].magazine_slots + 2);
  }
  SUBCASE("a magazine that is somebody else's, in the ring, of another ring or nowhere does not") {
    segment.view.magazine(segment.plan.rings[0].first_cell).owner.store(0);
    segment.record(1, 0).loaded.store(segment.plan.rings[1].first_cell + 1);
    CHECK(segment.collect().rings[0].cached == 0);
    segment.record(1, 0).loaded.store(0xffffffffU);
    segment.record(0, 0).loaded.store(segment.plan.rings[0].first_cell + 2);  // thread 1's
    CHECK(segment.collect().rings[0].cached == 0);
  }
}

TEST_CASE("garbage in shared memory harms nobody but its own figures") {
  Segment segment;
  std::mt19937_64 random(20240607);
  auto* words = reinterpret_cast<std::uint64_t*>(segment.view.base() + segment.plan.threads_offset);
  const std::size_t count =
      segment.plan.shape.thread_capacity * std::size_t{segment.plan.thread_record_bytes} / 8;
  for (int round = 0; round < 200; ++round) {
    for (std::size_t i = 0; i < count; ++i) words[i] = round % 2 == 0 ? random() : random() % 64;
    segment.view.header().threads_published.store(0xffffffffU);
    segment.view.descriptor(0).cells_published.store(0xffffffffU);
    PoolStatistics pool = segment.collect();
    CHECK(pool.threads <= segment.plan.shape.thread_capacity);
    for (RingStatistics& ring : pool.rings) {
      settle_states(ring, {.published = 1000, .cold = random(), .reclaimed_held = random() % 4});
      CHECK(sum_of_states(ring) == 1000);
    }
  }
}

TEST_CASE("states follow from the counters") {
  RingStatistics ring;
  ring.tls_hits = 60;
  ring.shared_hits = 30;
  ring.allocations = 10;
  ring.failures[1] = 50;
  ring.puts = 70;
  ring.released = 12;
  ring.adopted = 9;
  ring.cached = 20;
  settle_states(ring, {.published = 204,
                       .quarantined = 3,
                       .shared = 1,
                       .cold = 40,
                       .reclaimed_held = 5,
                       .reclaimed_in_transit = 1});
  CHECK(ring.quarantined == 3);
  CHECK(ring.held == 100 + 9 - 70 - 12 - 5);
  CHECK(ring.shared == 1);
  CHECK(ring.in_transit == 1);
  CHECK(ring.cached == 20);
  CHECK(ring.cold == 40);
  CHECK(ring.free == 200 - 22 - 1 - 20 - 40);
}

TEST_CASE("states sum to what is published, whatever the counters say") {
  RingStatistics ring;
  ring.puts = 5;  // a put was counted before its get
  ring.adopted = 3;
  ring.cached = std::numeric_limits<std::uint64_t>::max();
  settle_states(ring, {.published = 10, .cold = 4});
  CHECK(ring.held == 0);
  CHECK(ring.in_transit == 0);
  CHECK(ring.cached == 10);
  CHECK(sum_of_states(ring) == 10);
}

}  // namespace zeropool::daemon
