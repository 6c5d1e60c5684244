#pragma once
// get and put where the thread's loaded magazine serves them: no read-modify-write, no call, no lock.
//
// Thread safety: the thread of the cache.
// Invariants: T3 (busy before, steal looked at after), S1, S2 (the order of mark and count).
// Crash safety: as in slot_transfer.hpp. The store that commits an operation counts it, too (thread_tally.hpp).

#include <atomic>
#include <cstdint>

#include <zeropool/lib/ordering.hpp>
#include <zeropool/lib/thread_cache.hpp>

namespace zeropool::inline v1::lib {

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
    const std::uint64_t after = magazine.count.word.load(std::memory_order_relaxed) + kTake<Atom>;
    const auto top = static_cast<std::uint32_t>(after & CountWord<Atom>::kCountMask);
    if (top < kMaxMagazineSlots) [[likely]] {
      slot = magazine.slots[top].load(std::memory_order_relaxed);
      if (slot < ring.slot_bound) [[likely]] {
        generation = generation_if(ring.slots[slot].mark.load(std::memory_order_relaxed),
                                   Mark::holder_bits(SlotState::kFree, 0));
        if (is_generation(generation)) [[likely]] {
          ring.slots[slot].mark.store(generation.word | cache.held_bits,
                                      std::memory_order_relaxed);  // get 1
          program_order();
          magazine.count.word.store(after, std::memory_order_relaxed);  // get 2: COMMIT
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
    const std::uint64_t before = magazine.count.word.load(std::memory_order_relaxed);
    const auto count = static_cast<std::uint32_t>(before & CountWord<Atom>::kCountMask);
    if (count < ring.record->limit.load(std::memory_order_relaxed) && slot < ring.slot_bound &&
        ring.slots[slot].mark.load(std::memory_order_relaxed) == held) [[likely]] {
      magazine.slots[count].store(slot, std::memory_order_relaxed);  // put 1
      program_order();
      magazine.count.word.store(before + kPut<Atom>,
                                std::memory_order_relaxed);  // put 2: COMMIT
      program_order();
      // The next generation, free. (The last one is followed by the first.)
      ring.slots[slot].mark.store(generation.word + (std::uint64_t{1} << Mark::kGenerationShift) +
                                      Mark::holder_bits(SlotState::kFree, 0),
                                  std::memory_order_relaxed);  // put 3
      hit = true;
    }
  }
  leave(record);
  return hit;
}

}  // namespace zeropool::v1::lib
