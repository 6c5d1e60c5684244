#pragma once
// get and put where the thread's loaded magazine serves them: no read-modify-write, no call, no lock.
//
// Thread safety: the thread of the cache.
// Invariants: T3 (busy before, steal looked at after), S1, S2 (the order of mark and count).
// Crash safety: as in slot_transfer.hpp; the counter is written last, so a kill may leave one operation uncounted.

#include <atomic>
#include <cstdint>

#include <zeropool/lib/ordering.hpp>
#include <zeropool/lib/thread_cache.hpp>

namespace zeropool::inline v1::lib {

// Adds one to a counter that only this thread writes.
template <template <typename> class Atom>
inline void count_one(Atom<std::uint64_t>& counter) noexcept {
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

// T3: an operation has begun; false when the daemon wants or has this thread's magazines.
template <template <typename> class Atom>
inline bool enter(ThreadRecord<Atom>& record) noexcept {
  record.busy.store(1, std::memory_order_relaxed);
  program_order();  // the daemon's membarrier stands for the fence that is missing here
  return record.steal.load(std::memory_order_relaxed) == kStealNone;
}
template <template <typename> class Atom>
inline void leave(ThreadRecord<Atom>& record) noexcept {
  program_order();
  record.busy.store(0,
                    std::memory_order_release);  // pairs with the acquire load of a stealing daemon
}

// The slot put last by this thread. False: the slow path decides. On success `mark` is the slot's new mark.
template <template <typename> class Atom>
[[gnu::always_inline]] inline bool get_hit(ThreadCache<Atom>& cache, RingCache<Atom>& ring,
                                           std::uint32_t& slot, Mark& mark) noexcept {
  ThreadRecord<Atom>& record = *cache.record;
  bool hit = false;
  if (enter(record)) [[likely]] {
    Magazine<Atom>& magazine = *ring.loaded;
    const std::uint32_t top = magazine.count.load(std::memory_order_relaxed) - 1;
    if (top < kMaxMagazineSlots) [[likely]] {
      slot = magazine.slots[top].load(std::memory_order_relaxed);
      if (slot < ring.slot_bound) [[likely]] {
        const Mark found{ring.slots[slot].mark.load(std::memory_order_relaxed)};
        if (found.is_free()) [[likely]] {
          mark = Mark{(found.word & ~Mark::kHolderMask) | cache.held_bits};
          ring.slots[slot].mark.store(mark.word, std::memory_order_relaxed);  // get 1
          program_order();
          magazine.count.store(top, std::memory_order_relaxed);  // get 2: COMMIT
          program_order();
          count_one(ring.record->tls_hits);
          hit = true;
        }
      }
    }
  }
  leave(record);
  return hit;
}

// Gives back a slot whose mark must be `generation` held by this client. False: the slow path decides.
template <template <typename> class Atom>
[[gnu::always_inline]] inline bool put_hit(ThreadCache<Atom>& cache, RingCache<Atom>& ring,
                                           std::uint32_t slot, std::uint64_t generation) noexcept {
  ThreadRecord<Atom>& record = *cache.record;
  bool hit = false;
  if (enter(record)) [[likely]] {
    const std::uint64_t held = (generation << Mark::kGenerationShift) | cache.held_bits;
    Magazine<Atom>& magazine = *ring.loaded;
    const std::uint32_t count = magazine.count.load(std::memory_order_relaxed);
    if (count < ring.record->limit.load(std::memory_order_relaxed) && slot < ring.slot_bound &&
        ring.slots[slot].mark.load(std::memory_order_relaxed) == held) [[likely]] {
      magazine.slots[count].store(slot, std::memory_order_relaxed);  // put 1
      program_order();
      magazine.count.store(count + 1, std::memory_order_relaxed);  // put 2: COMMIT
      program_order();
      ring.slots[slot].mark.store(Mark{held}.next(SlotState::kFree, 0).word,
                                  std::memory_order_relaxed);  // put 3
      program_order();
      count_one(ring.record->puts);
      hit = true;
    }
  }
  leave(record);
  return hit;
}

}  // namespace zeropool::v1::lib
