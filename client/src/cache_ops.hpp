#pragma once
// The slow steps of a thread's cache: which magazines it keeps, claims, and releases.
//
// Thread safety: the cache's owner, between begin() and end() (the busy bracket, thread_record.hpp T3).
// Invariants: T1, K1.
// Crash safety: magazines are found by their owner words; the record's numbers may lag by one step while busy.

#include <cstdint>

#include <zeropool/lib/batch_ring.hpp>
#include <zeropool/lib/slot_transfer.hpp>
#include <zeropool/lib/thread_tally.hpp>

#include "attachment.hpp"
#include "client_cache.hpp"

namespace zeropool::client {

// Gives a single-writer counter `by` more.
inline void count_up(std::atomic<std::uint64_t>& counter, std::uint64_t by = 1) noexcept {
  counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

enum class Source { kOwn, kClaimed, kNone };

class CacheOps {
 public:
  CacheOps(Attachment& attachment, ClientCache& cache) noexcept
      : attachment_(attachment), cache_(cache) {}

  // Opens the busy bracket; answers a steal first.
  void begin() noexcept;
  // Also gives back the magazines of rings of which the thread keeps nothing (cache_size.hpp).
  void end() noexcept;
  // A new thread's home: where it runs, or, of a pool that interleaves, another arena than its neighbours'.
  void settle(std::uint32_t thread_number) noexcept;
  // Takes notice of where the thread runs now; caches of the node it left go home.
  void follow_thread() noexcept;
  // Of a pool that interleaves: the next arena's turn. A thread keeps what it cached of the others.
  void next_home() noexcept;

  RingCache& ring(std::uint32_t number) noexcept { return cache_.hot.rings[number]; }
  lib::SharedRingRecord& record(std::uint32_t number) noexcept { return *ring(number).record; }

  // One slot from what the thread owns or can claim, in this ring. `source` says which. Counted.
  bool take(std::uint32_t ring, std::uint32_t& slot, lib::Mark& mark, Source& source) noexcept;
  // Up to `count` slots from the loaded magazine, by one commit, each given to `taken(slot, generation)`, with
  // the generation where a mark has it. Counted, by the source of that magazine.
  template <typename Taken>
  std::uint32_t take_many(std::uint32_t ring, std::uint32_t count, Source source,
                          Taken taken) noexcept;
  // Up to `wanted` slots (counted down) from a magazine of this thread, each given to `taken`; counted as served
  // by an order.
  template <typename Taken>
  void take_from(std::uint32_t ring, std::uint32_t cell, std::uint32_t& wanted,
                 Taken taken) noexcept;
  // Makes the loaded magazine non-empty.
  Source refill(std::uint32_t ring) noexcept;
  // Makes room in the loaded magazine. False: the ring is damaged.
  bool make_room(std::uint32_t ring) noexcept;
  // Puts a slot whose mark is `held`. Counted.
  void put(std::uint32_t ring, std::uint32_t slot, lib::Mark held) noexcept;
  // Puts up to `count` slots whose put has begun into the loaded magazine, by one commit; returns how many had room.
  // Counted.
  std::uint32_t put_many(std::uint32_t ring, std::uint32_t count, const std::uint32_t* slots,
                         const std::uint64_t* held) noexcept;
  // Keeps a magazine that the thread owns (just accepted), or releases it.
  void stash(std::uint32_t ring, std::uint32_t cell) noexcept;
  // Gives back all magazines of a ring, of all rings.
  void flush(std::uint32_t ring) noexcept;
  void flush_all() noexcept;
  // After a put. While somebody waits, nothing is hoarded: the magazines go back at once, and the daemon is woken. So
  // they do where the client is over its quota.
  void give_way_if_asked(std::uint32_t ring) noexcept;
  // Whether the last take() found no room in the client's quota for even one slot.
  bool over_quota() const noexcept { return over_quota_; }

  void ring_doorbell() noexcept;
  lib::OwnerWord me() const noexcept { return cache_.me; }
  const char* pool_name() const noexcept { return attachment_.header().pool_name; }
  std::uint64_t class_bytes(std::uint32_t ring) const noexcept {
    return attachment_.rings[ring].class_bytes;
  }
  // Before slot numbers of others are used: slots may have been published meanwhile.
  void renew_bound(std::uint32_t ring) noexcept;

 private:
  static constexpr std::uint32_t kNoCell = lib::kNone;
  static constexpr std::uint32_t kRoomPasses = 64;

  RingSetup& setup(std::uint32_t ring) noexcept { return attachment_.rings[ring]; }
  lib::SharedMagazine& cell(std::uint32_t ring, std::uint32_t number) noexcept {
    return setup(ring).view.cells[number];
  }
  std::uint32_t count(std::uint32_t ring, std::uint32_t number) noexcept {
    return cell(ring, number).count.load(std::memory_order_relaxed);
  }
  std::uint32_t loaded(std::uint32_t ring) noexcept;
  std::uint32_t previous(std::uint32_t ring) noexcept;
  void set_loaded(std::uint32_t ring, std::uint32_t number) noexcept;
  void set_loaded(std::uint32_t ring, std::uint32_t number, lib::Tally tally) noexcept;
  lib::Tally tally(std::uint32_t ring) noexcept;
  void settle(std::uint32_t ring, lib::Tally tally) noexcept;
  void set_previous(std::uint32_t ring, std::uint32_t number) noexcept;
  std::uint32_t pop_spare(std::uint32_t ring) noexcept;
  void visit(std::uint32_t ring) noexcept;
  void drop_spares(std::uint32_t ring, std::uint32_t count) noexcept;
  void flush_shy() noexcept;
  bool push_spare(std::uint32_t ring, std::uint32_t number) noexcept;
  void release(std::uint32_t ring, std::uint32_t number) noexcept;
  void count_claim(std::uint32_t ring, const lib::ClaimStats& stats, bool claimed) noexcept;
  lib::CpuEntry late_cpu() const noexcept;
  std::uint64_t bytes_in(std::uint32_t ring, std::uint32_t number) noexcept;
  bool others_wait(std::uint32_t ring) noexcept;
  std::uint32_t claim_filled(std::uint32_t ring) noexcept;
  bool take_single(std::uint32_t ring, std::uint32_t& slot, lib::Mark& mark) noexcept;
  bool interleaves() const noexcept;
  void make_home(std::uint32_t arena) noexcept;
  std::uint32_t local_number(std::uint32_t ring, std::uint32_t stored) noexcept;
  void forget_magazines() noexcept;

  Attachment& attachment_;
  ClientCache& cache_;
  bool near_quota_ = false;  // the quota has no room for a magazine
  bool over_quota_ = false;
};

// Marks first, then one count for all: a kill in between leaves them all in the magazine (S1).
template <typename Taken>
std::uint32_t CacheOps::take_many(std::uint32_t ring, std::uint32_t count, Source source,
                                  Taken taken) noexcept {
  renew_bound(ring);
  const RingCache& cache = this->ring(ring);
  lib::SharedMagazine& magazine = *cache.loaded;
  lib::SharedSlotWords* const words = cache.slots;
  const std::uint32_t bound = cache.slot_bound;
  const std::uint64_t held_bits = cache_.hot.held_bits;
  constexpr std::uint64_t kFreeBits = lib::Mark::holder_bits(lib::SlotState::kFree, 0);
  const std::uint64_t before = magazine.count.word.load(std::memory_order_relaxed);
  const auto there = static_cast<std::uint32_t>(before & lib::SharedCountWord::kCountMask);
  if (there - 1 >= lib::kMaxMagazineSlots) return 0;
  const std::uint32_t end = there - (count < there ? count : there);
  std::uint32_t top = there;
  while (top > end) {
    const std::uint32_t slot = magazine.slots[top - 1].load(std::memory_order_relaxed);
    if (slot >= bound) break;
    // The generation alone, if it is free.
    const std::uint64_t generation = words[slot].mark.load(std::memory_order_relaxed) ^ kFreeBits;
    if ((generation & lib::Mark::kHolderMask) != 0) break;
    words[slot].mark.store(generation | held_bits, std::memory_order_relaxed);
    taken(slot, generation);
    --top;
  }
  lib::program_order();
  const std::uint32_t got = there - top;
  if (source == Source::kOwn) {  // as many hits
    magazine.count.word.store(before + got * lib::kTake<std::atomic>,
                              std::memory_order_relaxed);  // COMMIT
    lib::program_order();
    return got;
  }
  const lib::Tally counted = tally(ring);
  magazine.count.store(top, std::memory_order_relaxed);  // COMMIT
  lib::program_order();
  settle(ring, counted);
  count_up(cache.record->shared_hits, got);
  return got;
}

template <typename Taken>
void CacheOps::take_from(std::uint32_t ring, std::uint32_t cell, std::uint32_t& wanted,
                         Taken taken) noexcept {
  RingCache& cache = this->ring(ring);
  renew_bound(ring);
  while (wanted > 0) {
    std::uint32_t slot = 0;
    lib::Mark mark;
    const lib::TakeOutcome outcome = lib::take_slot(
        this->cell(ring, cell), cache.slots, cache.slot_bound, cache_.hot.held_bits, slot, mark);
    if (outcome == lib::TakeOutcome::kEmpty) return;
    if (outcome == lib::TakeOutcome::kDropped) {
      count_up(cache.record->dropped);
      continue;
    }
    count_up(cache.record->allocations);
    --wanted;
    taken(ring, slot, mark);
  }
}

// K1: what `loaded` points at when the thread has no magazine.
lib::SharedMagazine* dummy_magazine() noexcept;

}  // namespace zeropool::client
