#include "daemon/thread_counters.hpp"

#include <algorithm>
#include <atomic>

namespace zeropool::daemon {
namespace {

// Relaxed everywhere: a figure that is one operation old is as true as a fresh one.
template <typename T>
T copy(const std::atomic<T>& word) {
  return word.load(std::memory_order_relaxed);
}

// Slots in the magazine that a record names, if it is one of this ring and the thread's.
std::uint64_t slots_in(const lib::ControlView& view, const lib::RingPlan& plan, std::uint32_t cells,
                       std::uint32_t named, lib::OwnerWord thread) {
  if (named == 0) return 0;
  const std::uint32_t number = named - 1;
  if (number < plan.first_cell || number - plan.first_cell >= cells) return 0;
  const lib::SharedMagazine& magazine = view.magazine(number);
  // The record lags behind, or names what was taken from the thread (T1).
  if (copy(magazine.owner) != thread.word) return 0;
  return std::min(magazine.count.load(std::memory_order_relaxed), plan.magazine_slots);
}

std::uint64_t cached_slots(const lib::ControlView& view, const lib::RingPlan& plan,
                           std::uint32_t cells, const lib::SharedRingRecord& record,
                           lib::OwnerWord thread) {
  std::uint64_t slots =
      slots_in(view, plan, cells, lib::loaded_number(copy(record.loaded)), thread) +
      slots_in(view, plan, cells, copy(record.previous), thread);
  const std::uint32_t spares = std::min(copy(record.spare_count), lib::kMaxSpares);
  for (std::uint32_t i = 0; i < spares; ++i) {
    slots += slots_in(view, plan, cells, copy(record.spares[i]), thread);
  }
  return slots;
}

void add_counters(const lib::SharedRingRecord& record, lib::Tally own, RingStatistics& ring) {
  ring.tls_hits += own.hits;
  ring.shared_hits += copy(record.shared_hits);
  ring.allocations += copy(record.allocations);
  ring.puts += own.puts;
  ring.ring_claims += copy(record.ring_claims);
  ring.contention += copy(record.contention);
  ring.released += copy(record.released);
  ring.adopted += copy(record.adopted);
  ring.remote_gets += copy(record.remote_gets);
  ring.dropped += copy(record.dropped);
  for (std::uint32_t i = 0; i < lib::kFailureReasons; ++i) {
    ring.failures[i] += copy(record.failures[i]);
  }
}

// A difference of counters that were read one after the other: below zero is zero.
std::uint64_t not_negative(std::uint64_t difference) {
  return static_cast<std::int64_t>(difference) < 0 ? 0 : difference;
}

}  // namespace

lib::Tally tally_of(const lib::ControlView& view, const lib::RingPlan& plan, std::uint32_t cells,
                    const lib::SharedThreadRecord& thread, const lib::SharedRingRecord& record) {
  return lib::read_tally(thread, record, [&](std::uint32_t number) -> const lib::SharedMagazine* {
    const std::uint32_t cell = number - 1 - plan.first_cell;
    return number > plan.first_cell && cell < cells ? &view.magazine(number - 1) : nullptr;
  });
}

std::uint64_t RingStatistics::gets() const {
  std::uint64_t sum = tls_hits + shared_hits + allocations;
  for (const std::uint64_t failed : failures) sum += failed;
  return sum;
}

PublishedRecords published_records(const PoolMemory& memory) {
  PublishedRecords published{memory.published().threads, {}};
  for (std::uint32_t ring = 0; ring < memory.ring_count(); ++ring) {
    published.cells.push_back(memory.ring(ring).cell_bound());
  }
  return published;
}

void add_thread_counters(const lib::ControlView& view, const lib::ControlPlan& plan,
                         const PublishedRecords& published, PoolStatistics& pool) {
  const auto rings = static_cast<std::uint32_t>(
      std::min({pool.rings.size(), plan.rings.size(), published.cells.size()}));
  for (std::uint32_t number = 0; number < published.threads; ++number) {
    lib::SharedThreadRecord& thread = view.thread(number);
    const lib::OwnerWord owner{copy(thread.owner)};
    if (!owner.in_ring()) ++pool.threads;
    pool.stale_handles += copy(thread.stale_handles);
    pool.double_puts += copy(thread.double_puts);
    pool.foreign_puts += copy(thread.foreign_puts);
    pool.orphaned_puts += copy(thread.orphaned_puts);
    const lib::SharedRingRecord* records = lib::ControlView::rings_of(thread);
    for (std::uint32_t ring = 0; ring < rings; ++ring) {
      add_counters(records[ring],
                   tally_of(view, plan.rings[ring], published.cells[ring], thread, records[ring]),
                   pool.rings[ring]);
      if (owner.in_ring()) continue;
      pool.rings[ring].cached +=
          cached_slots(view, plan.rings[ring], published.cells[ring], records[ring], owner);
    }
  }
}

void settle_states(RingStatistics& ring, const RingSupply& supply) {
  ring.published = supply.published;
  std::uint64_t rest = supply.published;
  const auto cut = [&rest](std::uint64_t wanted) {
    const std::uint64_t taken = std::min(wanted, rest);
    rest -= taken;
    return taken;
  };
  const std::uint64_t served = ring.tls_hits + ring.shared_hits + ring.allocations;
  ring.quarantined = cut(supply.quarantined);
  ring.shared = cut(supply.shared);
  ring.held =
      cut(not_negative(served + ring.adopted - ring.puts - ring.released - supply.reclaimed_held));
  ring.in_transit =
      cut(not_negative(ring.released - ring.adopted - supply.reclaimed_in_transit - supply.shared));
  ring.cached = cut(ring.cached);
  ring.cold = cut(supply.cold);
  ring.free = rest;
}

}  // namespace zeropool::daemon
