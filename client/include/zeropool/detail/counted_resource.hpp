#pragma once
// CountedResource: a MemoryResource that knows how many bytes are out, and has a cap of its own.
//
// Thread safety: any thread. One shared line is written at each allocation and deallocation, none at a get or put of an
// object that has what it needs.

#include <atomic>
#include <cstddef>
#include <memory_resource>
#include <utility>

#include <zeropool/detail/object_queue.hpp>
#include <zeropool/memory_resource.hpp>

namespace zeropool {
inline namespace v1 {
namespace detail {

class CountedResource final : public std::pmr::memory_resource {
 public:
  // most_bytes 0: no cap.
  CountedResource(Pool pool, const MemoryResourceOptions& options, std::size_t most_bytes,
                  ObjectQueue& queue) noexcept
      : below_(std::move(pool), options), most_bytes_(most_bytes), queue_(queue) {}

  std::size_t bytes() const noexcept { return bytes_.load(std::memory_order_relaxed); }
  // Room for so many was set aside. False: the cap.
  bool reserve(std::size_t bytes) noexcept {
    if (most_bytes_ == 0) {
      bytes_.fetch_add(bytes, std::memory_order_relaxed);
      return true;
    }
    std::size_t now = bytes_.load(std::memory_order_relaxed);
    do {
      if (bytes > most_bytes_ || now > most_bytes_ - bytes) return false;
    } while (!bytes_.compare_exchange_weak(now, now + bytes, std::memory_order_relaxed));
    return true;
  }
  void unreserve(std::size_t bytes) noexcept {
    bytes_.fetch_sub(bytes, std::memory_order_seq_cst);  // before the look at who waits
    queue_.room_made();
  }
  // For bytes that were reserved. What is thrown leaves them reserved.
  void* allocate_reserved(std::size_t bytes, std::size_t alignment) {
    return below_.allocate(bytes, alignment);
  }

 protected:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    if (!reserve(bytes)) return std::pmr::null_memory_resource()->allocate(bytes, alignment);
    Reservation reservation{this, bytes};
    void* data = below_.allocate(bytes, alignment);
    reservation.from = nullptr;
    return data;
  }
  void do_deallocate(void* data, std::size_t bytes, std::size_t alignment) override {
    below_.deallocate(data, bytes, alignment);
    unreserve(bytes);
  }
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

 private:
  // Given up again when the memory cannot be had.
  struct Reservation {
    CountedResource* from;
    std::size_t bytes;
    ~Reservation() {
      if (from != nullptr) from->unreserve(bytes);
    }
  };

  MemoryResource below_;
  const std::size_t most_bytes_;
  ObjectQueue& queue_;
  std::atomic<std::size_t> bytes_{0};
};

}  // namespace detail
}  // namespace v1
}  // namespace zeropool
