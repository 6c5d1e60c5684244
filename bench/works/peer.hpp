#pragma once
// What a peer is to the works. A peer is a class with
//
//   explicit Peer(const Options&)      made once, before any fork: what all its processes share
//   static constexpr Traits kTraits
//   class Local                        a thread's or process's own end, made there:
//     using Item                       a buffer that is held; movable, default-made empty
//     explicit Local(Peer&, Ends = {})
//     bool get(std::size_t bytes, Item&)
//     void put(Item&)
//     std::byte* data(Item&)
//     std::size_t get_batch(std::size_t bytes, std::span<Item>)   only with kTraits.batches
//     void put_batch(std::span<Item>)
//     Parcel give(Item&)               hands a buffer on through this end's outgoing channel
//     bool take(const Parcel&, Item&)  the other side of it; false: it has not come yet
//
// Nothing is virtual: a work is compiled for each peer, as its user's code would be.

#include <cstddef>
#include <cstdint>
#include <span>

namespace zeropool_bench {

struct Traits {
  bool processes = false;      // a buffer can be handed to another process
  bool moves = true;           // a held buffer can be put by another thread as it is
  bool batches = false;        // has calls for several at once
  bool only_pipeline = false;  // one giver, one taker, one size, in that order
  bool only_batches = false;
};

// Numbers of the channels that an end gives into and takes from, the first of `channels`; -1: none.
struct Ends {
  int gives = -1;
  int takes = -1;
  int channels = 1;  // that it takes from
};

// What travels beside a buffer.
struct alignas(32) Parcel {
  std::uint64_t words[3] = {};
};

}  // namespace zeropool_bench
