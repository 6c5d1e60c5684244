#pragma once
// The way of held buffers from one thread or process to the next: a bounded queue of what is told about each, the same for
// all peers.
//
// Thread safety: one end sends, one receives.
// Edges: S1 (release) the store of `sent` pairs with the load in receive(); T1 (release) that of `taken` with the one in
// send(); K1 (release) that of `closed` with the one in ended().

#include <array>
#include <atomic>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "peer.hpp"
#include "processes.hpp"

namespace zeropool_bench {

inline constexpr std::uint32_t kLaneRoom = 128;

// In memory that both ends see. Items: held buffers as they are, between threads; else Parcels.
template <typename Entry>
struct Lane {
  alignas(64) std::atomic<std::uint64_t> sent{0};
  alignas(64) std::atomic<std::uint64_t> taken{0};
  alignas(64) std::atomic<std::uint32_t> closed{0};
  std::array<Entry, kLaneRoom> entries{};
};

template <typename Local, typename Entry>
class Sender {
 public:
  Sender(Lane<Entry>& lane, Local& local) : lane_(lane), local_(local) {}
  // Waits until at most `room` - 1 are on the way.
  void wait_for_room(std::uint64_t room) {
    Spin spin;
    while (sent_ - lane_.taken.load(std::memory_order_acquire) >= room) spin();  // T1
  }
  void put_on_the_way(typename Local::Item& item) {
    Entry& entry = lane_.entries[sent_++ % kLaneRoom];
    if constexpr (std::is_same_v<Entry, Parcel>) {
      entry = local_.give(item);
    } else {
      entry = std::move(item);
    }
  }
  void tell() { lane_.sent.store(sent_, std::memory_order_release); }  // S1
  void wait_until_taken() { wait_for_room(1); }
  void close() { lane_.closed.store(1, std::memory_order_release); }  // K1

 private:
  Lane<Entry>& lane_;
  Local& local_;
  std::uint64_t sent_ = 0;
};

template <typename Local, typename Entry>
class Receiver {
 public:
  Receiver(Lane<Entry>& lane, Local& local) : lane_(lane), local_(local) {}
  std::uint64_t waiting() const {
    return lane_.sent.load(std::memory_order_acquire) - taken_;  // S1
  }
  // What comes next; waiting() is not 0.
  void take(typename Local::Item& item) {
    Entry& entry = lane_.entries[taken_++ % kLaneRoom];
    if constexpr (std::is_same_v<Entry, Parcel>) {
      Spin spin;
      while (!local_.take(entry, item)) spin();
    } else {
      item = std::move(entry);
    }
  }
  void tell() { lane_.taken.store(taken_, std::memory_order_release); }  // T1
  // Nothing more will come.
  bool ended() const {
    return lane_.closed.load(std::memory_order_acquire) != 0 && waiting() == 0;  // K1
  }

 private:
  Lane<Entry>& lane_;
  Local& local_;
  std::uint64_t taken_ = 0;
};

}  // namespace zeropool_bench
