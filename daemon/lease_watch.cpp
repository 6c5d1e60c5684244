#include "daemon/lease_watch.hpp"

#include <algorithm>
#include <utility>

#include "daemon/checked_put.hpp"
#include "zeropool/lib/batch_ring.hpp"

namespace zeropool::daemon {
namespace {

using namespace std::chrono_literals;
using lib::Mark;
using lib::SlotState;

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr lib::OwnerWord kDaemon = lib::OwnerWord::daemon();

}  // namespace

struct LeaseWatch::Work {
  std::uint64_t now_ns = 0;
  std::uint64_t lease_ns = 0;
  std::unordered_map<std::uint64_t, Seen> seen;
  std::unordered_set<std::uint32_t> named;
  LeaseSweep report;
};

std::uint64_t LeaseWatch::activity() const {
  const PoolMemory& memory = *pool_.memory;
  const std::uint32_t threads = memory.published().threads;
  std::uint64_t sum = memory.header().orphans.load(kRelaxed);
  for (std::uint32_t n = 0; n < threads; ++n) {
    lib::SharedThreadRecord& thread = memory.view().thread(n);
    sum += thread.orphaned_puts.load(kRelaxed);
    const lib::SharedRingRecord* rings = lib::ControlView::rings_of(thread);
    for (std::uint32_t r = 0; r < memory.ring_count(); ++r) sum += rings[r].released.load(kRelaxed);
  }
  return sum;
}

LeaseSweep LeaseWatch::look(std::uint64_t now_ns) {
  if (seen_.empty() && activity() == last_activity_) {
    LeaseSweep report;
    report.shares = shares_.sweep(now_ns);
    return report;
  }
  return sweep(now_ns);
}

LeaseSweep LeaseWatch::sweep(std::uint64_t now_ns) {
  last_activity_ =
      activity();  // before the marks are read: what begins meanwhile is seen next time
  Work work;
  work.now_ns = now_ns;
  work.lease_ns = static_cast<std::uint64_t>(pool_.config.handoff_lease.count());
  pool_.counters.reclaimed_in_transit.resize(pool_.memory->ring_count());
  for (std::uint32_t r = 0; r < pool_.memory->ring_count(); ++r) sweep_ring(r, work);
  seen_ = std::move(work.seen);
  named_clients_ = std::move(work.named);
  work.report.in_transit = seen_.size();
  pool_.counters.handoffs_expired += work.report.expired;
  work.report.shares = shares_.sweep(now_ns);
  return work.report;
}

std::vector<std::uint64_t> LeaseWatch::in_transit() const {
  std::vector<std::uint64_t> slots(pool_.memory->ring_count());
  for (const auto& [key, seen] : seen_) ++slots[key >> 32];
  return slots;
}

void LeaseWatch::sweep_ring(std::uint32_t ring_number, Work& work) {
  lib::SharedBatchRing batch(pool_.memory->ring(ring_number));
  const lib::SharedRingView& ring = batch.view();
  std::uint32_t room = lib::kNone;  // a magazine of ours with room
  // W2, W1: into a magazine of ours, by the steps of a put.
  const auto take = [&](std::uint32_t slot, Mark found) {
    if (room != lib::kNone && batch.count_of(room) >= ring.magazine_slots) {
      batch.release_cold(room, kDaemon);
      room = lib::kNone;
    }
    lib::ClaimStats stats;
    if (room == lib::kNone) room = batch.claim_with_room(kDaemon, stats);
    if (room == lib::kNone) return false;
    const Mark absent = found.with_holder(SlotState::kAbsent, 0);
    std::uint64_t expected = found.word;
    if (!ring.slots[slot].mark.compare_exchange_strong(expected, absent.word,
                                                       std::memory_order_acq_rel)) {
      return false;
    }
    if (put_checked(ring, room, slot, absent)) return true;
    // Somebody writes into a magazine of ours: back as it was, for another try.
    expected = absent.word;
    ring.slots[slot].mark.compare_exchange_strong(expected, found.word);
    ++pool_.counters.repairs;
    return false;
  };

  const std::uint32_t slots = ring.slot_bound();
  for (std::uint32_t slot = 0; slot < slots; ++slot) {
    const Mark mark{ring.slots[slot].mark.load(kRelaxed)};
    if (mark.state() == SlotState::kOrphaned) {
      if (take(slot, mark)) ++work.report.orphans;
      continue;
    }
    if (mark.state() != SlotState::kInTransit) continue;
    const std::uint64_t key = (std::uint64_t{ring_number} << 32) | slot;
    const auto known = seen_.find(key);
    const bool same = known != seen_.end() && known->second.mark == mark.word;
    const std::uint64_t since = same ? known->second.since_ns : work.now_ns;
    if (same && work.now_ns - since >= work.lease_ns && take(slot, mark)) {
      ++work.report.expired;
      ++pool_.counters.reclaimed_in_transit[ring_number];
      continue;
    }
    work.seen[key] = Seen{mark.word, since};
    work.named.insert(mark.client());
  }
  if (room != lib::kNone) batch.release_cold(room, kDaemon);
}

std::chrono::nanoseconds LeaseWatch::next_look() const {
  const std::chrono::nanoseconds quarter = pool_.config.handoff_lease / 4;
  if (!seen_.empty() || shares_.waits())
    return std::clamp<std::chrono::nanoseconds>(quarter, 250ms, 15s);
  if (!pool_.clients.empty()) return std::clamp<std::chrono::nanoseconds>(quarter, 1s, 15s);
  return 0ns;
}

}  // namespace zeropool::daemon
