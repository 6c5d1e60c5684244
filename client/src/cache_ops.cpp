#include "cache_ops.hpp"

#include <sched.h>
#include <unistd.h>

#include <zeropool/lib/hot_path.hpp>
#include <zeropool/lib/slot_transfer.hpp>

#include "scrub.hpp"

namespace zeropool::client {

lib::SharedMagazine* dummy_magazine() noexcept {
  static lib::SharedMagazine dummy{0, lib::kDummyCount, 0, {}, 0};
  return &dummy;
}

void CacheOps::begin() noexcept {
  while (!lib::enter(*cache_.hot.record)) {
    lib::leave(*cache_.hot.record);
    answer_steal();
  }
}

void CacheOps::end() noexcept { lib::leave(*cache_.hot.record); }

// steal.pml: REQ is answered with NONE ("I am awake"), TAKEN by forgetting the magazines.
void CacheOps::answer_steal() noexcept {
  std::atomic<std::uint32_t>& steal = cache_.hot.record->steal;
  std::uint32_t state = steal.load(std::memory_order_acquire);
  if (state == lib::kStealRequested) {
    steal.compare_exchange_strong(state, lib::kStealNone, std::memory_order_acq_rel);
    return;
  }
  if (state == lib::kStealTaken) {
    forget_magazines();
    steal.store(lib::kStealNone, std::memory_order_release);
  } else if (state != lib::kStealNone) {
    steal.store(lib::kStealNone, std::memory_order_release);  // damage
  }
}

void CacheOps::forget_magazines() noexcept {
  for (std::uint32_t r = 0; r < attachment_.rings.size(); ++r) {
    set_loaded(r, kNoCell);
    set_previous(r, kNoCell);
    record(r).spare_count.store(0, std::memory_order_relaxed);
  }
}

// A CPU that came online after the daemon had started: what the kernel says of its node, and the cache domain of a CPU
// that is known to be on it. A node without an arena changes nothing.
lib::CpuEntry CacheOps::late_cpu() const noexcept {
  unsigned node = 0;
  const bool told = ::getcpu(nullptr, &node) == 0;
  for (std::size_t a = 0; told && a < attachment_.arenas.size(); ++a) {
    if (attachment_.arenas[a].node != node) continue;
    const auto arena = static_cast<std::uint16_t>(a);
    for (const lib::CpuEntry& known : attachment_.cpus) {
      if (known.arena == arena) return known;
    }
    return {arena, 0};
  }
  return {static_cast<std::uint16_t>(cache_.arena), static_cast<std::uint16_t>(cache_.domain)};
}

void CacheOps::follow_thread() noexcept {
  const int cpu = ::sched_getcpu();
  if (cpu < 0) return;
  lib::CpuEntry here{lib::kUnknownArena, 0};
  if (static_cast<std::size_t>(cpu) < attachment_.cpus.size()) {
    here = attachment_.cpus[static_cast<std::size_t>(cpu)];
  }
  if (here.arena == lib::kUnknownArena) here = late_cpu();
  cache_.domain = here.domain < attachment_.header().domain_count ? here.domain : 0;
  if (here.arena == cache_.arena || here.arena >= attachment_.arenas.size() || interleaves()) {
    return;
  }
  for (std::uint32_t c = 0; c < attachment_.class_count; ++c)
    flush(cache_.arena * attachment_.class_count + c);
  make_home(here.arena);
}

void CacheOps::settle(std::uint32_t thread_number) noexcept {
  follow_thread();
  if (interleaves()) {
    make_home(thread_number % static_cast<std::uint32_t>(attachment_.arenas.size()));
  }
}

void CacheOps::next_home() noexcept {
  if (interleaves()) {
    make_home((cache_.arena + 1) % static_cast<std::uint32_t>(attachment_.arenas.size()));
  }
}

bool CacheOps::interleaves() const noexcept {
  return attachment_.placement == lib::Placement::kInterleave;
}

void CacheOps::make_home(std::uint32_t arena) noexcept {
  cache_.arena = arena;
  cache_.hot.record->home_arena.store(arena, std::memory_order_relaxed);
  cache_.hot.home = cache_.hot.rings + std::size_t{arena} * attachment_.class_count;
}

// A number in the record is 1 + the pool-wide one.
std::uint32_t CacheOps::local_number(std::uint32_t ring, std::uint32_t stored) noexcept {
  const std::uint32_t number = stored - 1 - setup(ring).first_cell;
  return stored != 0 && number < setup(ring).cell_capacity ? number : kNoCell;
}
std::uint32_t CacheOps::loaded(std::uint32_t ring) noexcept {
  return local_number(ring, record(ring).loaded.load(std::memory_order_relaxed));
}
std::uint32_t CacheOps::previous(std::uint32_t ring) noexcept {
  return local_number(ring, record(ring).previous.load(std::memory_order_relaxed));
}

void CacheOps::set_loaded(std::uint32_t ring, std::uint32_t number) noexcept {
  RingCache& cache = this->ring(ring);
  if (number == kNoCell) {
    cache.loaded = dummy_magazine();
    cache.record->loaded.store(0, std::memory_order_relaxed);
    return;
  }
  cache.loaded = &cell(ring, number);
  cache.record->loaded.store(number + setup(ring).first_cell + 1, std::memory_order_relaxed);
  cache.slot_bound = setup(ring).view.slot_bound();
}

void CacheOps::set_previous(std::uint32_t ring, std::uint32_t number) noexcept {
  record(ring).previous.store(number == kNoCell ? 0 : number + setup(ring).first_cell + 1,
                              std::memory_order_relaxed);
}

std::uint32_t CacheOps::pop_spare(std::uint32_t ring) noexcept {
  lib::SharedRingRecord& rec = record(ring);
  const std::uint32_t spares = rec.spare_count.load(std::memory_order_relaxed);
  if (spares == 0 || spares > lib::kMaxSpares) return kNoCell;
  rec.spare_count.store(spares - 1, std::memory_order_relaxed);
  return local_number(ring, rec.spares[spares - 1].load(std::memory_order_relaxed));
}

// A slot published since, adopted here and put, lies above a bound that is old: it would be taken for damage.
void CacheOps::renew_bound(std::uint32_t ring) noexcept {
  this->ring(ring).slot_bound = setup(ring).view.slot_bound();
}

bool CacheOps::push_spare(std::uint32_t ring, std::uint32_t number) noexcept {
  lib::SharedRingRecord& rec = record(ring);
  const std::uint32_t spares = rec.spare_count.load(std::memory_order_relaxed);
  const std::uint32_t limit = rec.spare_limit.load(std::memory_order_relaxed);
  if (spares >= limit || spares >= lib::kMaxSpares) return false;
  rec.spares[spares].store(number + setup(ring).first_cell + 1, std::memory_order_relaxed);
  rec.spare_count.store(spares + 1, std::memory_order_relaxed);
  return true;
}

void CacheOps::release(std::uint32_t ring, std::uint32_t number) noexcept {
  lib::SharedBatchRing(setup(ring).view).release(number, cache_.me, cache_.domain);
}

void CacheOps::count_claim(std::uint32_t ring, const lib::ClaimStats& stats,
                           bool claimed) noexcept {
  lib::SharedRingRecord& rec = record(ring);
  if (claimed) count_up(rec.ring_claims);
  if (stats.contention != 0) count_up(rec.contention, stats.contention);
  if (!stats.low) return;
  // Asked already, or the daemon can do nothing now.
  std::atomic<std::uint32_t>& low = setup(ring).descriptor->low;
  if (low.load(std::memory_order_relaxed) != 0) return;
  low.store(lib::kLowFillUp, std::memory_order_relaxed);
  attachment_.header().rings_low.store(1, std::memory_order_release);  // after `low`
  ring_doorbell();
}

void CacheOps::ring_doorbell() noexcept {
  // Pairs with the daemon's fence between `sleeping = 1` and its last scan.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (attachment_.header().sleeping.load(std::memory_order_relaxed) == 0) return;
  attachment_.descriptors.ring();
}

Source CacheOps::refill(std::uint32_t ring) noexcept {
  const std::uint32_t old_loaded = loaded(ring);
  const std::uint32_t old_previous = previous(ring);
  if (old_previous != kNoCell && count(ring, old_previous) > 0) {
    set_loaded(ring, old_previous);
    set_previous(ring, old_loaded);
    return Source::kOwn;
  }
  std::uint32_t next = pop_spare(ring);
  const bool own = next != kNoCell;
  if (!own) {
    lib::ClaimStats stats;
    next = lib::SharedBatchRing(setup(ring).view).claim_filled(cache_.domain, cache_.me, stats);
    count_claim(ring, stats, next != kNoCell);
    if (next == kNoCell) return Source::kNone;
    clear_foreign(attachment_, ring, next);
  }
  if (old_previous == kNoCell) {
    set_previous(ring, old_loaded);
  } else if (old_loaded != kNoCell) {
    release(ring, old_loaded);
  }
  set_loaded(ring, next);
  return own ? Source::kOwn : Source::kClaimed;
}

bool CacheOps::take(std::uint32_t ring, std::uint32_t& slot, lib::Mark& mark,
                    Source& source) noexcept {
  RingCache& cache = this->ring(ring);
  renew_bound(ring);
  source = Source::kOwn;
  for (;;) {
    switch (lib::take_slot(*cache.loaded, cache.slots, cache.slot_bound, cache_.hot.held_bits, slot,
                           mark)) {
      case lib::TakeOutcome::kTaken: return true;
      case lib::TakeOutcome::kDropped: count_up(cache.record->dropped); continue;
      case lib::TakeOutcome::kEmpty: break;
    }
    source = refill(ring);
    if (source == Source::kNone) return false;
  }
}

// Marks first, then one count for all: a kill in between leaves them all in the magazine (S1).
std::uint32_t CacheOps::take_many(std::uint32_t ring, std::uint32_t count, std::uint32_t* slots,
                                  lib::Mark* marks) noexcept {
  RingCache& cache = this->ring(ring);
  renew_bound(ring);
  const std::uint32_t there = cache.loaded->count.load(std::memory_order_relaxed);
  if (there - 1 >= lib::kMaxMagazineSlots) return 0;
  const std::uint32_t wanted = count < there ? count : there;
  std::uint32_t taken = 0;
  for (std::uint32_t i = 0; i < wanted; ++i) {
    const std::uint32_t slot = cache.loaded->slots[there - 1 - i].load(std::memory_order_relaxed);
    if (slot >= cache.slot_bound) break;
    const lib::Mark found{cache.slots[slot].mark.load(std::memory_order_relaxed)};
    if (!found.is_free()) break;
    const lib::Mark mark{(found.word & ~lib::Mark::kHolderMask) | cache_.hot.held_bits};
    cache.slots[slot].mark.store(mark.word, std::memory_order_relaxed);
    slots[taken] = slot;
    marks[taken] = mark;
    ++taken;
  }
  lib::program_order();
  cache.loaded->count.store(there - taken, std::memory_order_relaxed);  // COMMIT
  lib::program_order();
  return taken;
}

bool CacheOps::make_room(std::uint32_t ring) noexcept {
  const std::uint32_t capacity = setup(ring).view.magazine_slots;
  const std::uint32_t old_loaded = loaded(ring);
  if (old_loaded != kNoCell && count(ring, old_loaded) < capacity) return true;
  const std::uint32_t old_previous = previous(ring);
  if (old_previous != kNoCell && count(ring, old_previous) < capacity) {
    set_loaded(ring, old_previous);
    set_previous(ring, old_loaded);
    return true;
  }
  // A pass over the ring is no snapshot: others that move from one magazine to the next may hide what has room.
  lib::ClaimStats stats;
  std::uint32_t next = kNoCell;
  for (std::uint32_t pass = 0; pass < kRoomPasses && next == kNoCell; ++pass) {
    next = lib::SharedBatchRing(setup(ring).view).claim_with_room(cache_.me, stats);
  }
  stats.low = false;
  count_claim(ring, stats, next != kNoCell);
  if (next == kNoCell) return false;
  clear_foreign(attachment_, ring, next);
  if (old_loaded != kNoCell) {
    if (old_previous != kNoCell && !push_spare(ring, old_previous)) release(ring, old_previous);
    set_previous(ring, old_loaded);
  }
  set_loaded(ring, next);
  return true;
}

void CacheOps::put(std::uint32_t ring, std::uint32_t slot, lib::Mark held) noexcept {
  if (!make_room(ring) ||
      !lib::put_slot(*this->ring(ring).loaded, this->ring(ring).slots, slot, held)) {
    // Damage only (there is always room): the daemon collects it.
    this->ring(ring).slots[slot].mark.store(held.next(lib::SlotState::kOrphaned, 0).word,
                                            std::memory_order_release);
    count_up(cache_.hot.record->orphaned_puts);
    ring_doorbell();
  }
}

// Numbers and one count for all, then the marks: a kill in between leaves them all in the magazine (S1).
std::uint32_t CacheOps::put_many(std::uint32_t ring, std::uint32_t count,
                                 const std::uint32_t* slots, const lib::Mark* held) noexcept {
  if (!make_room(ring)) return 0;
  RingCache& cache = this->ring(ring);
  const std::uint32_t there = cache.loaded->count.load(std::memory_order_relaxed);
  if (there >= setup(ring).view.magazine_slots) return 0;
  const std::uint32_t room = setup(ring).view.magazine_slots - there;
  const std::uint32_t puts = count < room ? count : room;
  for (std::uint32_t i = 0; i < puts; ++i) {
    cache.loaded->slots[there + i].store(slots[i], std::memory_order_relaxed);
  }
  lib::program_order();
  cache.loaded->count.store(there + puts, std::memory_order_relaxed);  // COMMIT
  lib::program_order();
  for (std::uint32_t i = 0; i < puts; ++i) {
    cache.slots[slots[i]].mark.store(held[i].next(lib::SlotState::kFree, 0).word,
                                     std::memory_order_relaxed);
  }
  lib::program_order();
  return puts;
}

void CacheOps::stash(std::uint32_t ring, std::uint32_t number) noexcept {
  const std::uint32_t old_loaded = loaded(ring);
  const std::uint32_t old_previous = previous(ring);
  // NOLINTNEXTLINE(bugprone-branch-clone): each case is one row of what the thread has
  if (count(ring, number) == 0) {
    release(ring, number);
  } else if (old_loaded == kNoCell) {
    set_loaded(ring, number);
  } else if (count(ring, old_loaded) == 0 && old_previous == kNoCell) {
    set_previous(ring, old_loaded);
    set_loaded(ring, number);
  } else if (count(ring, old_loaded) == 0) {
    release(ring, old_loaded);
    set_loaded(ring, number);
  } else if (old_previous == kNoCell) {
    set_previous(ring, number);
  } else if (count(ring, old_previous) == 0) {
    release(ring, old_previous);
    set_previous(ring, number);
  } else if (!push_spare(ring, number)) {
    release(ring, number);
  }
}

void CacheOps::flush(std::uint32_t ring) noexcept {
  const std::uint32_t old_loaded = loaded(ring);
  const std::uint32_t old_previous = previous(ring);
  set_loaded(ring, kNoCell);
  set_previous(ring, kNoCell);
  if (old_loaded != kNoCell) release(ring, old_loaded);
  if (old_previous != kNoCell) release(ring, old_previous);
  for (;;) {
    if (record(ring).spare_count.load(std::memory_order_relaxed) == 0) break;
    const std::uint32_t spare = pop_spare(ring);
    if (spare == kNoCell) break;
    release(ring, spare);
  }
}

void CacheOps::flush_all() noexcept {
  for (std::uint32_t r = 0; r < attachment_.rings.size(); ++r) flush(r);
}

void CacheOps::give_way(std::uint32_t ring) noexcept {
  flush(ring);
  ring_doorbell();
}

}  // namespace zeropool::client
