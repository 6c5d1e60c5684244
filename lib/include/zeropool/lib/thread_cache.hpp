#pragma once
// What a thread keeps in its own memory for one pool: pointers to its magazines, ready to use.
//
// Thread safety: one thread's. The memory is wiped on fork: all zero means "no cache here".
// Invariants:
//   K1  `loaded` is never null in a set-up cache: with no magazine it points at a dummy whose count makes both
//       a get and a put take the slow path.

#include <atomic>
#include <cstddef>
#include <cstdint>

#include <zeropool/lib/magazine.hpp>
#include <zeropool/lib/slot_mark.hpp>
#include <zeropool/lib/thread_record.hpp>

namespace zeropool::inline v1::lib {

// Count of the dummy magazine: no get finds a slot in it, no put room.
inline constexpr std::uint32_t kDummyCount = 0xffU;

// One thread and one ring.
template <template <typename> class Atom>
struct alignas(kCacheLine) RingCache {
  Magazine<Atom>* loaded;
  RingRecord<Atom>* record;
  SlotWords<Atom>* slots;  // of the ring
  std::byte* base;         // of the ring's region
  std::uint64_t class_bytes;
  std::uint64_t tag;         // {ring: 16, incarnation: 8} of the Buffers made from it
  std::uint32_t slot_bound;  // slots known to be published; raised on the slow path
  std::uint32_t ring;
};

template <template <typename> class Atom>
struct alignas(kCacheLine) ThreadCache {
  ThreadRecord<Atom>* record;
  std::uint64_t held_bits;  // Mark::holder_bits(kHeld, this client)
  RingCache<Atom>* home;    // the rings of the thread's arena: home[class]
  RingCache<Atom>* rings;   // all rings
  std::uint64_t reserved[4];
};

static_assert(sizeof(RingCache<std::atomic>) == kCacheLine);
static_assert(sizeof(ThreadCache<std::atomic>) == kCacheLine);

}  // namespace zeropool::v1::lib
