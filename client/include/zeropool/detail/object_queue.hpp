#pragma once
// ObjectQueue: who waits for an object of an ObjectPool, first come first served, and the word by which others see it.
//
// Thread safety: any thread; what takes a lock says so. The lock is never held while a user's function runs.
// Invariants:
//   Q1  Who makes something available does it seq_cst and looks at `attention` after; who waits raises `attention`
//       before it looks for something: one of them sees the other.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace zeropool {
inline namespace v1 {
namespace detail {

class ObjectQueue {
 public:
  using Lock = std::unique_lock<std::mutex>;
  using Clock = std::chrono::steady_clock;

  Lock lock() noexcept { return Lock(mutex_); }
  // Nobody waits and the pool is not closed: what is put may stay in a thread's shard.
  bool calm() const noexcept { return attention_.load(std::memory_order_seq_cst) == 0; }
  bool closed() const noexcept {
    return (attention_.load(std::memory_order_seq_cst) & kClosed) != 0;
  }
  bool anyone_waits() const noexcept {
    return (attention_.load(std::memory_order_seq_cst) & ~kClosed) != 0;
  }
  // Caller holds the lock.
  void close() noexcept { attention_.fetch_or(kClosed, std::memory_order_seq_cst); }
  void wake() noexcept { changed_.notify_all(); }
  // Takes the lock, if somebody waits.
  void room_made() noexcept {
    if (!anyone_waits()) return;
    const Lock held = lock();
    changed_.notify_all();
  }

  // One who waits, for as long as it lives; made and ended under the lock.
  class Place {
   public:
    explicit Place(ObjectQueue& queue) noexcept : queue_(queue) {
      Place** end = &queue_.first_;
      while (*end != nullptr) end = &(*end)->next_;
      *end = this;
      queue_.attention_.fetch_add(1, std::memory_order_seq_cst);  // Q1
    }
    ~Place() {
      Place** at = &queue_.first_;
      while (*at != this) at = &(*at)->next_;
      *at = next_;
      queue_.attention_.fetch_sub(1, std::memory_order_seq_cst);
      queue_.changed_.notify_all();  // the next one's turn
    }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

    bool first() const noexcept { return queue_.first_ == this; }
    // False: `until` has come.
    bool wait(Lock& held, Clock::time_point until) noexcept {
      if (until != Clock::time_point::max())
        return queue_.changed_.wait_until(held, until) == std::cv_status::no_timeout;
      queue_.changed_.wait(held);
      return true;
    }

   private:
    ObjectQueue& queue_;
    Place* next_ = nullptr;
  };

 private:
  static constexpr std::uint32_t kClosed = 1U << 31;

  std::atomic<std::uint32_t> attention_{0};  // kClosed, and how many wait
  std::mutex mutex_;
  std::condition_variable changed_;
  Place* first_ = nullptr;
};

}  // namespace detail
}  // namespace v1
}  // namespace zeropool
