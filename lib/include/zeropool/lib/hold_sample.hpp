#pragma once
// HoldSample: one sampled get: which slot, when, and from where in the program; of clients that ask for it.
//
// Thread safety: a cell has one writer, the thread whose block it lies in (hold_sample_block.hpp); anybody reads.
// Invariants:
//   L1  A sample counts only while its slot's mark is, bit by bit, the mark that the get has made: held, by that client,
//       in that generation (M2). A put, a hand-off, a share or a reclaim ends it; nobody has to tell the sample.
//   L2  `tag` has an odd version while a sample is being written: a reader that sees one, or another one afterwards, has
//       read nothing.
//   L3  Nothing is decided on a sample. One that is stale, torn, left by the dead or forged names at worst a wrong age and a
//       wrong place for a slot that is really held.
// Crash safety: a kill before the last store leaves an odd version: no sample. The next owner of the block writes over it.
// There is nothing to repair.

#include <atomic>
#include <cstdint>

#include <zeropool/lib/layout_constants.hpp>
#include <zeropool/lib/slot_mark.hpp>

namespace zeropool::inline v1::lib {

inline constexpr std::uint32_t kSampleFrames = 28;

template <template <typename> class Atom>
struct alignas(256) HoldSample {
  Atom<std::uint64_t> mark;    // L1; 0: none
  Atom<std::uint64_t> got_ns;  // CLOCK_MONOTONIC
  Atom<std::uint32_t> tag;     // [ version 16 | ring 16 ]
  Atom<std::uint32_t> slot;
  Atom<std::uint32_t> weight;                 // gets that it stands for
  Atom<std::uint32_t> depth;                  // frames, the innermost first
  Atom<std::uint64_t> frames[kSampleFrames];  // addresses of calls, in the client
};
static_assert(sizeof(HoldSample<std::atomic>) == 256);

// Its plain value.
struct SampledGet {
  Mark mark;
  std::uint64_t got_ns = 0;
  std::uint32_t ring = 0;
  std::uint32_t slot = 0;
  std::uint32_t weight = 0;
  std::uint32_t depth = 0;
  std::uint64_t frames[kSampleFrames] = {};
};

inline constexpr std::uint32_t kSampleVersionOne = 1U << 16;

// The block's owner.
template <template <typename> class Atom>
void write_sample(HoldSample<Atom>& cell, const SampledGet& get) noexcept {
  constexpr auto kPlain = std::memory_order_relaxed;
  const std::uint32_t writing = cell.tag.load(kPlain) | kSampleVersionOne;
  cell.tag.store(writing, kPlain);
  std::atomic_thread_fence(
      std::memory_order_release);  // W1: the odd version before what follows; pairs with R1
  cell.mark.store(get.mark.word, kPlain);
  cell.got_ns.store(get.got_ns, kPlain);
  cell.slot.store(get.slot, kPlain);
  cell.weight.store(get.weight, kPlain);
  cell.depth.store(get.depth, kPlain);
  for (std::uint32_t i = 0; i < get.depth && i < kSampleFrames; ++i) {
    cell.frames[i].store(get.frames[i], kPlain);
  }
  // COMMIT; W2: pairs with R2
  cell.tag.store((((writing >> 16) + 1) << 16) | (get.ring & 0xffffU), std::memory_order_release);
}

template <template <typename> class Atom>
void drop_sample(HoldSample<Atom>& cell) noexcept {
  cell.mark.store(
      0, std::memory_order_relaxed);  // whoever has read the old one: it was so a moment ago
}

// False: none, or one that is being written.
template <template <typename> class Atom>
bool read_sample(const HoldSample<Atom>& cell, SampledGet& get) noexcept {
  constexpr auto kPlain = std::memory_order_relaxed;
  const std::uint32_t tag = cell.tag.load(std::memory_order_acquire);  // R2: pairs with W2
  if ((tag & kSampleVersionOne) != 0) return false;
  get.mark = Mark{cell.mark.load(kPlain)};
  get.got_ns = cell.got_ns.load(kPlain);
  get.ring = tag & 0xffffU;
  get.slot = cell.slot.load(kPlain);
  get.weight = cell.weight.load(kPlain);
  const std::uint32_t depth = cell.depth.load(kPlain);
  get.depth = depth < kSampleFrames ? depth : kSampleFrames;
  for (std::uint32_t i = 0; i < get.depth; ++i) get.frames[i] = cell.frames[i].load(kPlain);
  std::atomic_thread_fence(std::memory_order_acquire);  // R1: pairs with W1
  return cell.tag.load(kPlain) == tag && get.mark.state() == SlotState::kHeld;
}

// L1
inline bool still_held(const SampledGet& get, Mark now) noexcept {
  return get.mark == now && now.state() == SlotState::kHeld;
}

}  // namespace zeropool::v1::lib
