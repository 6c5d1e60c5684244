#pragma once
// A producer that writes whole buffers and a consumer, another process on another CPU, that reads them and gives them
// back: what a pool's order of reuse is worth. At most kOnTheWay buffers are between them.
//
// Thread safety: each object is one process's; Pipe lies in memory that both share.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace zeropool_reuse {

inline constexpr std::uint32_t kOnTheWay = 4;

// What goes from the producer to the consumer, and back.
struct alignas(64) Parcel {
  std::uint64_t words[2];
};

struct Pipe {
  static constexpr std::uint32_t kMost = 1 << 16;  // a power of two
  alignas(64) std::atomic<std::uint64_t> sent{0};
  alignas(64) std::atomic<std::uint64_t> taken{0};
  alignas(64) std::atomic<std::uint64_t> returned{0};
  alignas(64) std::atomic<std::uint32_t> ready{0};
  alignas(64) std::atomic<std::uint32_t> stop{0};
  alignas(64) std::atomic<std::uint64_t> sum{0};  // of what was read, so that it is
  Parcel parcels[64];                             // on the way
  std::uint32_t back[kMost];  // numbers of buffers that were given back, in that order
};

// Both ends of one way to recycle buffers. `get` gives the producer a buffer, or null while there is none; `give` says
// what the consumer must know of it; `take` turns that into its address there; `put` gives it back.
struct Recycler {
  std::function<std::byte*()> get;
  std::function<Parcel()> give;
  std::function<const std::byte*(const Parcel&)> take;
  std::function<void()> put;
  std::function<void()> begin_consumer = [] {};
};

struct Cpus {
  int producer = 0;
  int consumer = 1;
};

// Bytes a second that went through.
double run_pipeline(const Cpus& cpus, std::size_t bytes, double seconds, Pipe& pipe,
                    const Recycler& recycler);

// Nanoseconds that a cache line takes from one CPU to the other and back.
double ping_pong_ns(const Cpus& cpus);

}  // namespace zeropool_reuse
