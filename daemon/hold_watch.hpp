#pragma once
// HoldWatch: since when slots are held, by looking at their marks again and again. It needs nothing of clients, and costs
// them nothing: a mark that is the same at two looks has been the same in between (M2: its generation grows with every put
// and release), so its slot has been held, by one holder, at least since the first of them.
//
// Of a ring with more than kMostWatched slots every second, fourth, ... one is watched, chosen by a hash of its number, so
// that no pattern of a program's hides from it: what is found stands for as many.
//
// Thread safety: the loop thread's; clients go on.
// Invariants:
//   H1  What is said is a lower bound: no slot was held for less than since_ns says, whoever writes what into marks at
//       least says so himself.
//   H2  A tick ends at its deadline (and the 256 marks or 4,096 new slot numbers in hand, and once in a while a halving of
//       kMostWatched), and looks at no mark twice. So the slots of a pool that begins with very many are taken up in the
//       course of some ticks.
//   H3  12 bytes for each watched slot, kMostWatched of them a ring at most; the daemon's own memory.
// Crash safety: a daemon that starts again begins anew: its lower bounds are those of its own life, and it says how long
// that is. Sampled gets (hold_sample.hpp) lie in shared memory and outlive it.

#include <cstdint>
#include <vector>

#include "daemon/pool_memory.hpp"

namespace zeropool::daemon {

class HoldWatch {
 public:
  static constexpr std::uint32_t kMostWatched = 65'536;
  static constexpr std::uint64_t kTickNs = 500'000;  // of a second, where slots are many

  explicit HoldWatch(const PoolMemory& memory, std::uint32_t most_watched = kMostWatched);

  // Goes on looking, until the deadline or a whole pass later.
  void tick(std::uint64_t deadline_ns);

  struct Watched {
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;  // low bits of it, of the mark first seen
    std::uint32_t since = 0;       // kUnitNs after started_ns(), and 1; 0: it was not held
  };
  const std::vector<Watched>& watched(std::uint32_t ring) const { return rings_[ring].slots; }
  // How many slots a watched one stands for.
  std::uint64_t stands_for(std::uint32_t ring) const {
    return std::uint64_t{1} << rings_[ring].shift;
  }
  // So many slots of the ring were considered.
  std::uint32_t considered(std::uint32_t ring) const { return rings_[ring].bound; }
  // Since when the slot has been held with this mark, as far as is known: now, if never seen so.
  std::uint64_t since_ns(const Watched& watched, lib::Mark mark, std::uint64_t now_ns) const;
  // The first look.
  std::uint64_t started_ns() const { return started_ns_; }

 private:
  static constexpr std::uint64_t kUnitNs = 10'000'000;  // 2^32 of them: more than a year
  struct Ring {
    std::vector<Watched> slots;
    std::uint32_t bound = 0;  // slots considered
    std::uint32_t shift = 0;
  };

  bool consider_more();
  void look_at(Watched& watched, const lib::SharedRingView& view, std::uint32_t now) const;

  const PoolMemory& memory_;
  std::uint32_t most_watched_;
  std::vector<Ring> rings_;
  std::uint32_t ring_ = 0;
  std::size_t next_ = 0;     // of the ring's watched slots
  std::uint32_t steps_ = 0;  // of consider_more() at this visit of the ring
  std::uint64_t started_ns_ = 0;
};

}  // namespace zeropool::daemon
