#pragma once
// The hot queue of a ring and cache domain: a lossy FIFO of magazine numbers, so that the oldest magazine of a
// bounded set is claimed first.
//
// Use it for order, never for truth: an entry may name a magazine that is owned, empty or named twice. The CAS
// of the owner word decides.
//
// Thread safety: any number of pushers and poppers, no waiting.
// Edge:
//   Q-hint: a number is pushed after its magazine was released (release), and popped before it is claimed (acquire): else
//   a claimer on a weakly ordered machine may meet the hint before the owner word, take the magazine for owned, and lose
//   the hint. Harmless, as any lost hint, but order is throughput.
// Invariants:
//   Q1  A push loses no number without returning it: what it displaces is its caller's to set aside.
//   Q2  A pop that fails leaves the queue usable: an entry passed over is displaced by a later push.
// Crash safety: a kill between the two steps of push or pop loses one hint. The magazine is still found by a
// scan of the owner words, and the daemon hints it again.

#include <atomic>
#include <cstdint>

#include <zeropool/lib/layout_constants.hpp>

namespace zeropool::inline v1::lib {

// As it lies in the control segment; `entries` (1 + magazine number, 0: none) follow it.
template <template <typename> class Atom>
struct HotQueueHead {
  alignas(kCacheLine) Atom<std::uint64_t> head;
  alignas(kCacheLine) Atom<std::uint64_t> tail;
};

template <template <typename> class Atom>
class HotQueue {
 public:
  HotQueue() = default;
  // `entry_count` is a power of two.
  HotQueue(HotQueueHead<Atom>* head, Atom<std::uint32_t>* entries,
           std::uint32_t entry_count) noexcept
      : queue_(head), entries_(entries), mask_(entry_count - 1) {}

  // Puts `cell` last. Returns the number that had to leave, or kNone.
  std::uint32_t push(std::uint32_t cell) noexcept {
    const std::uint64_t at = queue_->tail.fetch_add(1, std::memory_order_relaxed);
    const std::uint32_t displaced = entries_[at & mask_].exchange(
        cell + 1, std::memory_order_acq_rel);  // Q-hint; and the displaced one's
    return displaced - 1;                      // 0 - 1 = kNone
  }

  // The oldest number, or kNone. Gives up after `tries` lost races or holes, each counted in `lost`.
  std::uint32_t pop(std::uint32_t tries, std::uint32_t& lost) noexcept {
    for (std::uint32_t i = 0; i < tries; ++i) {
      std::uint64_t head = queue_->head.load(std::memory_order_relaxed);
      const std::uint64_t tail = queue_->tail.load(std::memory_order_relaxed);
      if (static_cast<std::int64_t>(tail - head) <= 0) return kNone;
      const std::uint64_t size = std::uint64_t{mask_} + 1;
      const std::uint64_t oldest = tail - head > size ? tail - size : head;
      if (!queue_->head.compare_exchange_strong(head, oldest + 1, std::memory_order_relaxed)) {
        ++lost;
        continue;
      }
      const std::uint32_t entry =
          entries_[oldest & mask_].exchange(0, std::memory_order_acquire);  // Q-hint
      if (entry != 0) return entry - 1;
      ++lost;
    }
    return kNone;
  }

  // About how many entries wait; for watermarks and metrics.
  std::uint32_t size_estimate() const noexcept {
    const std::uint64_t head = queue_->head.load(std::memory_order_relaxed);
    const std::uint64_t tail = queue_->tail.load(std::memory_order_relaxed);
    const auto waiting = static_cast<std::int64_t>(tail - head);
    if (waiting <= 0) return 0;
    const std::uint64_t size = std::uint64_t{mask_} + 1;
    return static_cast<std::uint32_t>(
        static_cast<std::uint64_t>(waiting) < size ? static_cast<std::uint64_t>(waiting) : size);
  }

  static_assert(sizeof(HotQueueHead<Atom>) == 2 * kCacheLine);

 private:
  HotQueueHead<Atom>* queue_ = nullptr;
  Atom<std::uint32_t>* entries_ = nullptr;
  std::uint32_t mask_ = 0;
};

}  // namespace zeropool::v1::lib
