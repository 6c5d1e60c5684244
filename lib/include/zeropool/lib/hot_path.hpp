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

// The generation of a mark if its holder is as given; else something that has more than a generation. (One operation and
// one test: what is left of a mark or of a Buffer's word is the new one but for an `or`.)
constexpr Mark generation_if(std::uint64_t word, std::uint64_t holder_bits) noexcept {
  return Mark{word ^ holder_bits};
}
constexpr bool is_generation(Mark mark) noexcept { return (mark.word & Mark::kHolderMask) == 0; }

// The slot put last by this thread. False: the slow path decides. On success `generation` is the slot's, alone.
template <template <typename> class Atom>
[[gnu::always_inline]] inline bool get_hit(ThreadCache<Atom>& cache, RingCache<Atom>& ring,
                                           std::uint32_t& slot, Mark& generation) noexcept {
  ThreadRecord<Atom>& record = *cache.record;
  bool hit = false;
  if (enter(record)) [[likely]] {
    Magazine<Atom>& magazine = *ring.loaded;
    const std::uint32_t top = magazine.count.load(std::memory_order_relaxed) - 1;
    if (top < kMaxMagazineSlots) [[likely]] {
      slot = magazine.slots[top].load(std::memory_order_relaxed);
      if (slot < ring.slot_bound) [[likely]] {
        generation = generation_if(ring.slots[slot].mark.load(std::memory_order_relaxed),
                                   Mark::holder_bits(SlotState::kFree, 0));
        if (is_generation(generation)) [[likely]] {
          ring.slots[slot].mark.store(generation.word | cache.held_bits,
                                      std::memory_order_relaxed);  // get 1
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

// Gives back a slot whose mark must be `generation` (alone) held by this client. False: the slow path decides.
template <template <typename> class Atom>
[[gnu::always_inline]] inline bool put_hit(ThreadCache<Atom>& cache, RingCache<Atom>& ring,
                                           std::uint32_t slot, Mark generation) noexcept {
  ThreadRecord<Atom>& record = *cache.record;
  bool hit = false;
  if (enter(record)) [[likely]] {
    const std::uint64_t held = generation.word | cache.held_bits;
    Magazine<Atom>& magazine = *ring.loaded;
    const std::uint32_t count = magazine.count.load(std::memory_order_relaxed);
    if (count < ring.record->limit.load(std::memory_order_relaxed) && slot < ring.slot_bound &&
        ring.slots[slot].mark.load(std::memory_order_relaxed) == held) [[likely]] {
      magazine.slots[count].store(slot, std::memory_order_relaxed);  // put 1
      program_order();
      magazine.count.store(count + 1, std::memory_order_relaxed);  // put 2: COMMIT
      program_order();
      // The next generation, free. (The last one is followed by the first.)
      ring.slots[slot].mark.store(generation.word + (std::uint64_t{1} << Mark::kGenerationShift) +
                                      Mark::holder_bits(SlotState::kFree, 0),
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
