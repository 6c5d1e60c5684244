#include "cache_ops.hpp"

#include <algorithm>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <zeropool/lib/cache_steal.hpp>
#include <zeropool/lib/hot_path.hpp>
#include <zeropool/lib/slot_transfer.hpp>
#include <zeropool/lib/tracepoint.hpp>

#include "order.hpp"
#include "quota.hpp"
#include "scrub.hpp"

namespace zeropool::client {

namespace {

// A tick old is young enough.
std::int64_t coarse_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

lib::SharedMagazine* dummy_magazine() noexcept {
  static lib::SharedMagazine dummy{0, {lib::kDummyCount}, {}, 0};
  return &dummy;
}

void CacheOps::begin() noexcept {
  while (!lib::enter(*cache_.hot.record)) {
    lib::leave(*cache_.hot.record);
    lib::answer_steal(*cache_.hot.record, [this] { forget_magazines(); });
  }
}

void CacheOps::end() noexcept {
  if (cache_.loaded_shyly) flush_shy();
  lib::leave(*cache_.hot.record);
}

void CacheOps::flush_shy() noexcept {
  cache_.loaded_shyly = false;
  for (std::uint32_t r = 0; r < attachment_.rings.size(); ++r) {
    if (cache_.sizes[r].keeps_nothing && loaded(r) != kNoCell) flush(r);
  }
}

void CacheOps::forget_magazines() noexcept {
  for (std::uint32_t r = 0; r < attachment_.rings.size(); ++r) {
    const lib::SharedRingRecord& rec = record(r);
    set_loaded(r, kNoCell,
               {rec.taken_hits.load(std::memory_order_relaxed),
                rec.taken_puts.load(std::memory_order_relaxed)});  // Y3
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
  return local_number(ring,
                      lib::loaded_number(record(ring).loaded.load(std::memory_order_relaxed)));
}
std::uint32_t CacheOps::previous(std::uint32_t ring) noexcept {
  return local_number(ring, record(ring).previous.load(std::memory_order_relaxed));
}

// What was counted so far in this ring.
lib::Tally CacheOps::tally(std::uint32_t ring) noexcept {
  return lib::own_tally(record(ring), this->ring(ring).loaded);
}

// After the loaded magazine's count changed by what was neither a hit nor a put.
void CacheOps::settle(std::uint32_t ring, lib::Tally tally) noexcept {
  const RingCache& cache = this->ring(ring);
  lib::settle(*cache.record, tally,
              lib::loaded_number(cache.record->loaded.load(std::memory_order_relaxed)),
              cache.loaded);
}

// Before the magazine that was loaded is released (Y1).
void CacheOps::set_loaded(std::uint32_t ring, std::uint32_t number) noexcept {
  set_loaded(ring, number, tally(ring));
}

void CacheOps::set_loaded(std::uint32_t ring, std::uint32_t number, lib::Tally tally) noexcept {
  RingCache& cache = this->ring(ring);
  if (number == kNoCell) {
    cache.loaded = dummy_magazine();
    lib::settle<std::atomic>(*cache.record, tally, 0, nullptr);
    return;
  }
  cache.loaded = &cell(ring, number);
  lib::settle(*cache.record, tally, number + setup(ring).first_cell + 1, cache.loaded);
  cache.slot_bound = setup(ring).view.slot_bound();
  if (cache_.sizes[ring].keeps_nothing) cache_.loaded_shyly = true;
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
  cache_.sizes[ring].took_spare(spares - 1);
  return local_number(ring, rec.spares[spares - 1].load(std::memory_order_relaxed));
}

// Before a claim: how many spares the thread may keep from now on (cache_size.hpp).
void CacheOps::visit(std::uint32_t ring) noexcept {
  lib::SharedRingRecord& rec = record(ring);
  const auto own = [](const std::atomic<std::uint64_t>& counter) {
    return counter.load(std::memory_order_relaxed);
  };
  const lib::Tally counted = tally(ring);
  const std::uint64_t operations =
      counted.hits + counted.puts + own(rec.shared_hits) + own(rec.allocations);
  const std::uint32_t most = std::min(
      setup(ring).descriptor->spare_limit.load(std::memory_order_relaxed), lib::kMaxSpares);
  const std::uint32_t spares =
      std::min(rec.spare_count.load(std::memory_order_relaxed), lib::kMaxSpares);
  std::uint32_t limit = rec.spare_limit.load(std::memory_order_relaxed);
  const std::uint32_t unused =
      cache_.sizes[ring].visit(coarse_ns(), operations, spares, most, limit);
  rec.spare_limit.store(limit, std::memory_order_relaxed);
  if (unused > 0) drop_spares(ring, unused);
}

// Those at the bottom: they would be used last.
void CacheOps::drop_spares(std::uint32_t ring, std::uint32_t count) noexcept {
  lib::SharedRingRecord& rec = record(ring);
  const std::uint32_t spares =
      std::min(rec.spare_count.load(std::memory_order_relaxed), lib::kMaxSpares);
  std::uint32_t dropped[lib::kMaxSpares];
  count = std::min(count, spares);
  for (std::uint32_t i = 0; i < spares; ++i) {
    const std::uint32_t stored = rec.spares[i].load(std::memory_order_relaxed);
    if (i < count) {
      dropped[i] = local_number(ring, stored);
    } else {
      rec.spares[i - count].store(stored, std::memory_order_relaxed);
    }
  }
  rec.spare_count.store(spares - count, std::memory_order_relaxed);
  for (std::uint32_t i = 0; i < count; ++i) {
    if (dropped[i] != kNoCell) release(ring, dropped[i]);
  }
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
  const std::uint64_t bytes = bytes_in(ring, number);
  if (lib::SharedBatchRing(setup(ring).view).release(number, cache_.me, cache_.domain)) {
    charge_of(attachment_).remove(bytes);  // Q1
  }
}

// What a magazine of this thread is charged with.
std::uint64_t CacheOps::bytes_in(std::uint32_t ring, std::uint32_t number) noexcept {
  return lib::SharedBatchRing(setup(ring).view).count_of(number) * setup(ring).class_bytes;
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

// Whether orders wait for what a claim would take: then a get stands behind them. A claim would go before them each
// time that the daemon is slower than the next get, for ever.
bool CacheOps::others_wait(std::uint32_t ring) noexcept {
  const std::uint64_t until =
      setup(ring).descriptor->queue_until_ns.load(std::memory_order_relaxed);
  if (until == 0) return false;
  const auto now = static_cast<std::uint64_t>(monotonic_ns());
  return until > now && until - now <= lib::kQueueAheadNs;
}

std::uint32_t CacheOps::claim_filled(std::uint32_t ring) noexcept {
  near_quota_ = false;
  if (others_wait(ring)) return kNoCell;
  lib::SharedClientCharge charge = charge_of(attachment_);
  const std::uint64_t most = setup(ring).view.magazine_slots * setup(ring).class_bytes;
  if (!charge.reserve(most)) {  // Q1
    near_quota_ = true;
    return kNoCell;
  }
  lib::ClaimStats stats;
  const std::uint32_t cell =
      lib::SharedBatchRing(setup(ring).view).claim_filled(cache_.domain, cache_.me, stats);
  lib::tracepoint::claim(pool_name(), setup(ring).class_bytes, cell, stats.contention);
  charge.remove(cell == kNoCell ? most : most - bytes_in(ring, cell));
  count_claim(ring, stats, cell != kNoCell);
  return cell;
}

// Where the quota has no room for a magazine: one slot, straight out of the ring.
bool CacheOps::take_single(std::uint32_t ring, std::uint32_t& slot, lib::Mark& mark) noexcept {
  lib::SharedClientCharge charge = charge_of(attachment_);
  const std::uint64_t bytes = setup(ring).class_bytes;
  if (!charge.reserve(bytes)) {  // Q1
    over_quota_ = true;
    return false;
  }
  lib::SharedBatchRing batch(setup(ring).view);
  lib::ClaimStats stats;
  const std::uint32_t number = batch.claim_filled(cache_.domain, cache_.me, stats);
  lib::tracepoint::claim(pool_name(), bytes, number, stats.contention);
  count_claim(ring, stats, number != kNoCell);
  bool taken = false;
  if (number != kNoCell) {
    clear_foreign(attachment_, ring, number);
    RingCache& cache = this->ring(ring);
    lib::TakeOutcome outcome = lib::TakeOutcome::kDropped;
    while (outcome == lib::TakeOutcome::kDropped) {
      outcome = lib::take_slot(cell(ring, number), cache.slots, cache.slot_bound,
                               cache_.hot.held_bits, slot, mark);
      if (outcome == lib::TakeOutcome::kDropped) count_up(cache.record->dropped);
    }
    taken = outcome == lib::TakeOutcome::kTaken;
    batch.release(number, cache_.me, cache_.domain);
  }
  if (!taken) charge.remove(bytes);
  return taken;
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
    visit(ring);
    next = claim_filled(ring);
    if (next == kNoCell) return Source::kNone;
    clear_foreign(attachment_, ring, next);
  }
  set_loaded(ring, next);
  if (old_previous == kNoCell) {
    set_previous(ring, old_loaded);
  } else if (old_loaded != kNoCell) {
    release(ring, old_loaded);
  }
  return own ? Source::kOwn : Source::kClaimed;
}

bool CacheOps::take(std::uint32_t ring, std::uint32_t& slot, lib::Mark& mark,
                    Source& source) noexcept {
  RingCache& cache = this->ring(ring);
  renew_bound(ring);
  source = Source::kOwn;
  over_quota_ = false;
  for (;;) {
    lib::Tally counted = tally(ring);
    switch (lib::take_slot(*cache.loaded, cache.slots, cache.slot_bound, cache_.hot.held_bits, slot,
                           mark)) {
      case lib::TakeOutcome::kTaken:
        counted.hits += source == Source::kOwn ? 1 : 0;
        settle(ring, counted);
        if (source == Source::kClaimed) count_up(cache.record->shared_hits);
        return true;
      case lib::TakeOutcome::kDropped:
        settle(ring, counted);
        count_up(cache.record->dropped);
        continue;
      case lib::TakeOutcome::kEmpty: break;
    }
    source = refill(ring);
    if (source != Source::kNone) continue;
    if (!near_quota_ || !take_single(ring, slot, mark)) return false;
    source = Source::kClaimed;
    count_up(cache.record->shared_hits);
    return true;
  }
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
  visit(ring);
  // A pass over the ring is no snapshot: others that move from one magazine to the next may hide what has room.
  lib::ClaimStats stats;
  std::uint32_t next = kNoCell;
  for (std::uint32_t pass = 0; pass < kRoomPasses && next == kNoCell; ++pass) {
    lib::SharedBatchRing batch(setup(ring).view);
    // What lies in a partial one would be charged, too: not where a quota may have no room for it.
    next = charge_of(attachment_).quota() == 0 ? batch.claim_with_room(cache_.me, stats)
                                               : batch.claim_empty(cache_.me, stats);
  }
  stats.low = false;
  lib::tracepoint::claim(pool_name(), setup(ring).class_bytes, next, stats.contention);
  count_claim(ring, stats, next != kNoCell);
  if (next == kNoCell) return false;
  charge_of(attachment_).add(bytes_in(ring, next));
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
    charge_of(attachment_).remove(setup(ring).class_bytes);
    lib::Tally counted = tally(ring);
    ++counted.puts;
    settle(ring, counted);
    count_up(cache_.hot.record->orphaned_puts);
    ring_doorbell();
  }
}

// Numbers and one count for all, then the marks: a kill in between leaves them all in the magazine (S1).
std::uint32_t CacheOps::put_many(std::uint32_t ring, std::uint32_t count,
                                 const std::uint32_t* slots, const std::uint64_t* held) noexcept {
  if (!make_room(ring)) return 0;
  lib::SharedMagazine& magazine = *this->ring(ring).loaded;
  lib::SharedSlotWords* const words = this->ring(ring).slots;
  const std::uint32_t there = magazine.count.load(std::memory_order_relaxed);
  if (there >= setup(ring).view.magazine_slots) return 0;
  const std::uint32_t room = setup(ring).view.magazine_slots - there;
  const std::uint32_t puts = count < room ? count : room;
  for (std::uint32_t i = 0; i < puts; ++i) {
    magazine.slots[there + i].store(slots[i], std::memory_order_relaxed);
  }
  lib::program_order();
  magazine.count.store(there + puts, std::memory_order_relaxed);  // COMMIT
  lib::program_order();
  for (std::uint32_t i = 0; i < puts; ++i) {
    words[slots[i]].mark.store(lib::Mark{held[i]}.with_holder(lib::SlotState::kFree, 0).word,
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
    set_loaded(ring, number);
    release(ring, old_loaded);
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

void CacheOps::give_way_if_asked(std::uint32_t ring) noexcept {
  const bool asked = record(ring).limit.load(std::memory_order_relaxed) == 0;
  if (!asked && !charge_of(attachment_).over()) return;
  flush(ring);
  if (asked) ring_doorbell();
}

}  // namespace zeropool::client
