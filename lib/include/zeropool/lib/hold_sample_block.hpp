#pragma once
// HoldSampleBlock: the samples of one thread record, and which are kept when there are more than cells.
//
// Thread safety: the owner of the thread record. Samples of the record's earlier owners lie in it for as long as they count.
// Invariants:
//   K1  Whatever is held and was sampled is represented without bias: a get becomes a sample with a probability that is the
//       same for all gets of that moment, its weight is the inverse of it. When all cells count, each is dropped with
//       probability 1/2, and what stays weighs twice as much; so do those that come after.
//   K2  A sample of a slot that was put makes room: only what is still held takes cells.
// Crash safety: hold_sample.hpp. A kill while the block is thinned leaves some of it thinned: an estimate that is off by at
// most 2, of a client whose holds go at its reclaim.

#include <algorithm>
#include <atomic>
#include <cstdint>

#include <zeropool/lib/hold_sample.hpp>

namespace zeropool::inline v1::lib {

inline constexpr std::uint32_t kBlockSamples = 32;

template <template <typename> class Atom>
struct HoldSampleBlock {
  HoldSample<Atom> cells[kBlockSamples];
};
static_assert(sizeof(HoldSampleBlock<std::atomic>) == 8192);

// The owner's own memory: its place in the random sequence, and how far it was thinned.
class SampleChance {
 public:
  explicit SampleChance(std::uint64_t seed) noexcept : state_(seed * 0x9e3779b97f4a7c15ULL | 1U) {}

  // xorshift64*
  std::uint64_t next() noexcept {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1dULL;
  }
  bool coin() noexcept { return (next() >> 63) != 0; }
  // Gets until the next one that is looked at: 1 to 2 x mean - 1, so that no pattern of the program's hides from it.
  std::uint32_t gap(std::uint32_t mean) noexcept {
    const std::uint32_t span = 2 * std::min(mean, std::uint32_t{1} << 31) - 1;
    return mean <= 1 ? 1 : 1 + static_cast<std::uint32_t>((next() >> 32) % span);
  }
  // Whether one that is looked at may become a sample (K1).
  bool passes() noexcept { return thinned_ == 0 || next() >> (64 - thinned_) == 0; }
  std::uint32_t weight(std::uint32_t mean) const noexcept {
    const std::uint64_t weight = std::uint64_t{mean} << thinned_;
    return weight > UINT32_MAX ? UINT32_MAX : static_cast<std::uint32_t>(weight);
  }

  std::uint32_t thinned() const noexcept { return thinned_; }
  void thin() noexcept { thinned_ += thinned_ < kMostThinned ? 1 : 0; }
  void thicken() noexcept { thinned_ -= thinned_ > 0 ? 1 : 0; }

 private:
  static constexpr std::uint32_t kMostThinned = 24;
  std::uint64_t state_;
  std::uint32_t thinned_ = 0;
};

// Keeps a get that has passed. `counts(sample)`: L1, of the slot that it names.
template <template <typename> class Atom, typename Counts>
void keep_sample(HoldSampleBlock<Atom>& block, SampleChance& chance, SampledGet get,
                 Counts counts) noexcept {
  std::uint32_t live = 0;
  HoldSample<Atom>* room = nullptr;
  for (HoldSample<Atom>& cell : block.cells) {
    SampledGet there;
    if (read_sample(cell, there) && counts(there)) {
      ++live;
    } else if (room == nullptr) {
      room = &cell;
    }
  }
  if (live < kBlockSamples / 4)
    chance.thicken();  // those that come: this one's weight is said already
  if (room == nullptr) {
    for (HoldSample<Atom>& cell : block.cells) {
      if (chance.coin()) {
        drop_sample(cell);
        room = &cell;
        continue;
      }
      const std::uint32_t weight = cell.weight.load(std::memory_order_relaxed);
      if (weight <= UINT32_MAX / 2) cell.weight.store(2 * weight, std::memory_order_relaxed);
    }
    chance.thin();
    if (get.weight <= UINT32_MAX / 2) get.weight *= 2;
    if (chance.coin()) return;
  }
  if (room != nullptr) write_sample(*room, get);
}

}  // namespace zeropool::v1::lib
