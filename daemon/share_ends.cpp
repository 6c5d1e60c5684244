#include "daemon/share_ends.hpp"

#include <atomic>
#include <utility>

#include "daemon/checked_put.hpp"
#include "zeropool/lib/batch_ring.hpp"

namespace zeropool::daemon {
namespace {

using lib::HoldWord;
using lib::Mark;
using lib::ShareState;
using lib::ShareWord;
using lib::SlotState;

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr std::uint32_t kMe = lib::kDaemonClient;

bool is_mine(HoldWord hold) { return hold.client() == kMe; }

bool has_my_hold(const lib::SharedShareCell& cell) {
  for (const auto& holder : cell.holders) {
    if (is_mine(HoldWord{holder.load(kRelaxed)})) return true;
  }
  return false;
}

// The slot with this mark: into the ring. False: no magazine has room now.
bool put_back(Pool& pool, lib::SharedSlot name, Mark shared, ShareCounts& counts) {
  lib::SharedBatchRing batch(pool.memory->ring(name.ring));
  const lib::SharedRingView& ring = batch.view();
  lib::ClaimStats stats;
  const std::uint32_t room = batch.claim_with_room(lib::OwnerWord::daemon(), stats);
  if (room == lib::kNone) return false;
  Mark absent;
  if (lib::take_shared(ring.slots[name.slot].mark, shared, SlotState::kAbsent, 0, absent)) {
    if (!put_checked(ring, room, name.slot, absent)) {
      // Somebody writes into a magazine of ours: the sweep of orphans collects it.
      ring.slots[name.slot].mark.store(absent.next(SlotState::kOrphaned, 0).word,
                                       std::memory_order_release);
      ++pool.counters.repairs;
    }
    ++counts.ended;
    ++pool.counters.reclaimed_in_transit[name.ring];
  }
  batch.release_cold(room, lib::OwnerWord::daemon());
  return true;
}

// E2. Its pages are replaced before anybody gets it.
void put_aside(Pool& pool, lib::SharedSlot name, Mark shared, ShareCounts& counts) {
  std::atomic<std::uint64_t>& mark = pool.memory->ring(name.ring).slots[name.slot].mark;
  Mark quarantined;
  if (!lib::take_shared(mark, shared, SlotState::kQuarantined, 0, quarantined)) return;
  pool.memory->quarantine(name.ring, name.slot);
  ++counts.quarantined;
  ++pool.counters.quarantined_slots;
  ++pool.counters.reclaimed_in_transit[name.ring];
}

// The cell is Dying by the daemon. What could not be put stays so: the next sweep.
void end(Pool& pool, std::uint32_t number, ShareCounts& counts) {
  lib::SharedShareCell& cell = pool.memory->view().share(number);
  const lib::SharedSlot name = lib::named_by(cell);
  const Mark shared = name.mark(number);
  if (is_shared_by(*pool.memory, name.ring, name.slot, shared) &&
      pool.memory->ring(name.ring).slots[name.slot].mark.load(std::memory_order_acquire) ==
          shared.word) {
    if (has_my_hold(cell)) {
      put_aside(pool, name, shared, counts);
    } else if (!put_back(pool, name, shared, counts)) {
      return;
    }
  }
  for (auto& holder : cell.holders) {
    std::uint64_t word = holder.load(kRelaxed);
    if (is_mine(HoldWord{word})) holder.compare_exchange_strong(word, 0, std::memory_order_acq_rel);
  }
  lib::free_share(cell, kMe);
}

}  // namespace

bool is_shared_by(const PoolMemory& memory, std::uint32_t ring, std::uint32_t slot,
                  lib::Mark mark) {
  std::atomic_thread_fence(
      std::memory_order_acquire);  // the mark was read before the cell (R-open)
  if (mark.state() != SlotState::kShared || mark.client() >= memory.published().shares ||
      ring >= memory.ring_count() || !memory.in_service(ring, slot)) {
    return false;
  }
  const lib::SharedShareCell& cell = memory.view().share(mark.client());
  if (ShareWord{cell.state.load(std::memory_order_acquire)}.state() == ShareState::kFree)
    return false;
  const lib::SharedSlot name = lib::named_by(cell);
  return name.ring == ring && name.slot == slot && name.mark(mark.client()) == mark;
}

void end_if_over(Pool& pool, std::uint32_t number, ShareCounts& counts) {
  if (lib::daemon_ends(pool.memory->view().share(number))) end(pool, number, counts);
}

ShareCounts reclaim_shares(Pool& pool, std::uint32_t client, bool direct_io) {
  ShareCounts counts;
  const PoolMemory& memory = *pool.memory;
  pool.counters.reclaimed_in_transit.resize(memory.ring_count());
  const std::uint32_t published = memory.published().shares;
  for (std::uint32_t number = 0; number < published; ++number) {
    counts.holds += lib::disown_share(memory.view().share(number), client, direct_io);
  }
  // All of them: the dead may have taken its hold away, and not looked (R4).
  for (std::uint32_t number = 0; number < published; ++number) end_if_over(pool, number, counts);
  return counts;
}

std::vector<std::uint64_t> shared_slots(const Pool& pool) {
  const PoolMemory& memory = *pool.memory;
  std::vector<std::uint64_t> slots(memory.ring_count(), 0);
  const std::uint32_t published = memory.published().shares;
  for (std::uint32_t number = 0; number < published; ++number) {
    const lib::SharedShareCell& cell = memory.view().share(number);
    if (ShareWord{cell.state.load(std::memory_order_acquire)}.state() == ShareState::kFree)
      continue;
    const lib::SharedSlot name = lib::named_by(cell);
    const Mark shared = name.mark(number);
    if (is_shared_by(memory, name.ring, name.slot, shared) &&
        memory.ring(name.ring).slots[name.slot].mark.load(kRelaxed) == shared.word) {
      ++slots[name.ring];
    }
  }
  return slots;
}

ShareCounts ShareWatch::sweep(std::uint64_t now_ns) {
  ShareCounts counts;
  const PoolMemory& memory = *pool_.memory;
  pool_.counters.reclaimed_in_transit.resize(memory.ring_count());
  const auto lease_ns = static_cast<std::uint64_t>(pool_.config.handoff_lease.count());
  std::unordered_map<std::uint32_t, Seen> seen;
  waits_ = false;
  const std::uint32_t published = memory.published().shares;
  for (std::uint32_t number = 0; number < published; ++number) {
    lib::SharedShareCell& cell = memory.view().share(number);
    ShareWord word{cell.state.load(std::memory_order_acquire)};
    if (word.state() == ShareState::kFree) continue;
    if (word.tickets() > 0) {
      const auto known = seen_.find(number);
      const bool same = known != seen_.end() && known->second.word == word.word;
      const std::uint64_t since = same ? known->second.since_ns : now_ns;
      std::uint64_t expected = word.word;
      if (!same || now_ns - since < lease_ns) {
        seen[number] = Seen{word.word, since};
      } else if (cell.state.compare_exchange_strong(expected, word.next(ShareState::kAlive, 0).word,
                                                    std::memory_order_acq_rel)) {  // E3, COMMIT
        std::atomic_thread_fence(
            std::memory_order_seq_cst);  // R-drop: then the holds are looked at
        counts.expired += word.tickets();
        ++pool_.counters.handoffs_expired;
      } else {
        seen[number] = Seen{expected, now_ns};  // it has just changed: a lease from now
      }
    }
    end_if_over(pool_, number, counts);
    waits_ = waits_ || has_my_hold(cell) || ShareWord{cell.state.load(kRelaxed)}.client() == kMe;
  }
  seen_ = std::move(seen);
  waits_ = waits_ || !seen_.empty();
  return counts;
}

}  // namespace zeropool::daemon
