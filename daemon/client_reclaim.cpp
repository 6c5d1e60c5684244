#include "daemon/client_reclaim.hpp"

#include <algorithm>
#include <atomic>

#include "daemon/event_loop.hpp"
#include "daemon/share_ends.hpp"
#include "daemon/thread_counters.hpp"

namespace zeropool::daemon {
namespace {

using lib::OwnerWord;

constexpr auto kRelaxed = std::memory_order_relaxed;

bool names(std::uint64_t owner_word, std::uint32_t client) {
  const OwnerWord owner{owner_word};
  return !owner.in_ring() && owner.client() == client;
}

void free_thread(lib::SharedThreadRecord& thread, std::uint32_t ring_count) {
  lib::SharedRingRecord* rings = lib::ControlView::rings_of(thread);
  for (std::uint32_t r = 0; r < ring_count; ++r) {
    rings[r].previous.store(0, kRelaxed);
    for (auto& spare : rings[r].spares) spare.store(0, kRelaxed);
    rings[r].spare_count.store(0, kRelaxed);
  }
  thread.busy.store(0, kRelaxed);
  thread.steal.store(lib::kStealNone, kRelaxed);
  thread.tid.store(0, kRelaxed);
  thread.owner.store(0, std::memory_order_release);  // COMMIT: the next thread may take it
}

// What the dead have counted is in magazines that go back to the ring next (thread_tally.hpp Y4). Again: the same.
void settle_threads(const PoolMemory& memory, std::uint32_t client) {
  const std::uint32_t published = memory.published().threads;
  for (std::uint32_t n = 0; n < published; ++n) {
    lib::SharedThreadRecord& thread = memory.view().thread(n);
    if (!names(thread.owner.load(std::memory_order_acquire), client)) continue;
    lib::SharedRingRecord* rings = lib::ControlView::rings_of(thread);
    for (std::uint32_t r = 0; r < memory.ring_count(); ++r) {
      const lib::Tally own = tally_of(memory.view(), memory.plan().rings[r],
                                      memory.ring(r).cell_bound(), thread, rings[r]);
      lib::settle<std::atomic>(rings[r], own, 0, nullptr);
    }
  }
}

std::uint64_t free_threads(const PoolMemory& memory, std::uint32_t client) {
  const std::uint32_t published = memory.published().threads;
  std::uint64_t freed = 0;
  for (std::uint32_t n = 0; n < published; ++n) {
    lib::SharedThreadRecord& thread = memory.view().thread(n);
    if (!names(thread.owner.load(std::memory_order_acquire), client)) continue;
    free_thread(thread, memory.ring_count());
    ++freed;
  }
  return freed;
}

std::uint64_t free_orders(Pool& pool, std::uint32_t client) {
  const PoolMemory& memory = *pool.memory;
  const std::uint32_t published = memory.published().orders;
  std::uint64_t freed = 0;
  for (std::uint32_t n = 0; n < published; ++n) {
    std::atomic<std::uint64_t>& cell = memory.view().order(n).word;
    lib::OrderWord word{cell.load(std::memory_order_acquire)};
    if (word.state() == lib::OrderState::kFree || word.client() != client) continue;
    if (cell.compare_exchange_strong(word.word, word.freed().word, std::memory_order_acq_rel)) {
      ++freed;
      if (word.state() == lib::OrderState::kPosted) ++pool.counters.orders_cancelled;
    }
  }
  return freed;
}

void free_pins(const PoolMemory& memory, std::uint32_t client) {
  const TableCounts published = memory.published();
  auto* pins = reinterpret_cast<lib::PinCell<std::atomic>*>(memory.view().base() +
                                                            memory.plan().pins_offset);
  for (std::uint32_t n = 0; n < published.pins; ++n) {
    if (names(pins[n].owner.load(std::memory_order_acquire), client)) {
      pins[n].owner.store(0, std::memory_order_release);
    }
  }
}

void free_record(const PoolMemory& memory, std::uint32_t record) {
  if (record >= memory.plan().shape.client_capacity) return;
  lib::SharedClientRecord& client = memory.view().client(record);
  client.pid.store(0, kRelaxed);
  client.uid.store(0, kRelaxed);
  client.charged_bytes.store(0, kRelaxed);
  client.owner.store(0, std::memory_order_release);
}

}  // namespace

ClientReclaim reclaim_client(Pool& pool, std::uint32_t client, std::uint32_t epoch,
                             std::uint32_t record, bool direct_io) {
  const std::uint64_t begun_ns = monotonic_ns();
  // The dead's stores are visible: its death was seen through the kernel, before this fence.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  PoolMemory& memory = *pool.memory;
  PoolCounters& counters = pool.counters;
  const std::uint32_t rings = memory.ring_count();
  counters.reclaimed_held.resize(rings);
  counters.reclaimed_in_transit.resize(rings);

  std::uint32_t users = lib::kManyUsers;
  for (const ClientInfo& info : pool.clients) {
    if (info.id == client) users = lib::user_stamp(info.uid);
  }

  settle_threads(memory, client);
  ClientReclaim report;
  report.begun_ns = begun_ns;
  for (std::uint32_t r = 0; r < rings; ++r) {
    lib::Reclaimer<std::atomic> reclaimer(memory.ring(r), client, epoch, users);
    const lib::ReclaimReport ring =
        direct_io
            ? reclaimer.run_with_quarantine([&](std::uint32_t slot) { memory.quarantine(r, slot); })
            : reclaimer.run();
    counters.reclaimed_held[r] += ring.held_slots + ring.quarantined_slots;
    counters.reclaimed_in_transit[r] += ring.expired_slots;
    report.slots += ring;
  }
  report.orders = free_orders(pool, client);
  report.shares = reclaim_shares(pool, client, direct_io);
  free_pins(memory, client);
  report.threads = free_threads(memory, client);
  free_record(memory, record);

  report.seconds = static_cast<double>(monotonic_ns() - begun_ns) * 1e-9;
  counters.quarantined_slots += report.slots.quarantined_slots;
  counters.repairs += report.slots.repairs + report.slots.without_room;
  return report;
}

}  // namespace zeropool::daemon
