#pragma once
// MemoryResource: a pool as a std::pmr::memory_resource, for containers and all that takes an allocator.
//
// A request is served by the smallest class that holds it. Too small to pay, or larger than the largest class: upstream.
//
// Thread safety: any thread, if the upstream allows it. What one thread allocates another may deallocate.
// Errors: what cannot be had throws std::bad_alloc, from std::pmr::null_memory_resource(), also out of programs compiled
// without exceptions (and so ends them).
// Lifetime: it keeps its pool open; it must outlive what was allocated from it. An object inherited by fork is inert as a
// Buffer is: deallocating what lay in a slot does nothing in the child, touching it is a segmentation fault.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory_resource>
#include <utility>

#include <zeropool/pool.hpp>

namespace zeropool {
inline namespace v1 {

// When the pool has no buffer in time: its budget or this client's quota is spent, or zeropoold is not there.
enum class WhenExhausted {
  kFail,      // std::bad_alloc: what is allocated stays within the budget
  kUpstream,  // go on with memory that nobody counts
};

// What a MemoryResource takes from the pool, and what it does when that has none.
struct MemoryResourceOptions {
  // Smaller requests go upstream. 0: half of the pool's smallest class and a byte, so that no slot of it is mostly waste.
  std::size_t least_bytes = 0;
  // What to do then.
  WhenExhausted when_exhausted = WhenExhausted::kFail;
  // How long an allocation may wait for a buffer. Negative: the pool's wait.timeout; 0: cache and ring only.
  std::chrono::nanoseconds timeout{-1};
  // Null: std::pmr::get_default_resource() as it is now.
  std::pmr::memory_resource* upstream = nullptr;
};

// A std::pmr::memory_resource over a pool.
class MemoryResource final : public std::pmr::memory_resource {
 public:
  // Of an empty Pool: everything comes from upstream.
  explicit MemoryResource(Pool pool, const MemoryResourceOptions& options = {}) noexcept
      : pool_(std::move(pool)), options_(options) {
    if (options_.upstream == nullptr) options_.upstream = std::pmr::get_default_resource();
    if (options_.least_bytes == 0 && pool_) {
      options_.least_bytes = static_cast<std::size_t>(lookup().class_bytes[0] / 2 + 1);
    }
  }
  MemoryResource(const MemoryResource&) = delete;
  MemoryResource& operator=(const MemoryResource&) = delete;
  ~MemoryResource() override = default;

  // The pool that it takes from.
  const Pool& pool() const noexcept { return pool_; }
  // As it was made, with the defaults filled in.
  const MemoryResourceOptions& options() const noexcept { return options_; }
  // Whether a request like this goes to the pool.
  bool pays(std::size_t bytes, std::size_t alignment = alignof(std::max_align_t)) const noexcept {
    return request_of(bytes, alignment) != 0;
  }

 protected:
  // From the pool or from upstream. Throws std::bad_alloc, or what upstream throws.
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    const std::size_t request = request_of(bytes, alignment);
    if (request == 0) return options_.upstream->allocate(bytes, alignment);
    Buffer buffer = get(request);
    if (buffer) [[likely]] {
      const auto at = reinterpret_cast<std::uintptr_t>(std::move(buffer).release_to_c().data);
      return reinterpret_cast<void*>((at + alignment - 1) & ~(std::uintptr_t{alignment} - 1));
    }
    return options_.when_exhausted == WhenExhausted::kUpstream
               ? options_.upstream->allocate(bytes, alignment)
               : std::pmr::null_memory_resource()->allocate(bytes, alignment);
  }

  // Where it is from is told by its address, not by its size: what fell to upstream goes back there.
  void do_deallocate(void* data, std::size_t bytes, std::size_t alignment) override {
    const std::size_t request = request_of(bytes, alignment);
    if (request != 0) [[likely]] {
      if (put_here(data, request)) [[likely]]
        return;
      if (pool_.owns(data)) {
        pool_.put(data);
        return;
      }
    }
    // A forked child's pool may serve other sizes than its parent's: the parent's buffers stay where they are.
    if (request == 0 && process_word_->load(std::memory_order_relaxed) != process_ &&
        pool_.owns(data)) {
      return;
    }
    options_.upstream->deallocate(data, bytes, alignment);
  }

  // Of one pool and one upstream: one may deallocate what the other has allocated, if both send the same sizes there.
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    if (this == &other) return true;
    if (vtable_of(*this) != vtable_of(other)) return false;
    const auto& same = static_cast<const MemoryResource&>(other);
    return pool_.c_pool() == same.pool_.c_pool() && options_.upstream == same.options_.upstream &&
           options_.least_bytes == same.options_.least_bytes;
  }

 private:
  // The least that every region's start is aligned to.
  static constexpr std::size_t kRegionAlignment = 4096;

  // A final class's objects have one vtable (two, at worst, in two libraries: then they are merely not equal). A
  // dynamic_cast would not do: programs may be compiled without RTTI.
  static const void* vtable_of(const std::pmr::memory_resource& resource) noexcept {
    const void* vtable = nullptr;
    std::memcpy(&vtable, static_cast<const void*>(&resource), sizeof(vtable));
    return vtable;
  }

  const lib::ClassLookup& lookup() const noexcept {
    return detail::state_of(pool_.c_pool())->lookup;
  }

  // What to ask the pool for; 0: nothing, it is upstream's. The same at the deallocation.
  std::size_t request_of(std::size_t bytes, std::size_t alignment) const noexcept {
    if (!pool_ || bytes < options_.least_bytes || !lookup().serves(bytes)) return 0;
    if (alignment <= lib::kClassGranule) [[likely]]
      return bytes;
    const std::uint64_t class_bytes = lookup().class_bytes[lookup().class_of(bytes)];
    if (alignment <= kRegionAlignment && class_bytes % alignment == 0) return bytes;
    // Aligned within the slot: each begins at a multiple of 64.
    const std::size_t room = alignment - lib::kClassGranule;
    return room <= lookup().largest_bytes && lookup().serves(bytes + room) ? bytes + room : 0;
  }

  Buffer get(std::size_t request) noexcept {
    if (options_.timeout.count() < 0) [[likely]]
      return pool_.get(request);
    return options_.timeout.count() == 0 ? pool_.try_get(request)
                                         : pool_.get(request, options_.timeout);
  }

  // Puts it without a call, if it is of the thread's own node and the loaded magazine takes it.
  bool put_here(void* data, std::size_t request) noexcept {
    detail::ThreadCache* cache = zp_v1_thread->caches[detail::state_of(pool_.c_pool())->index].load(
        std::memory_order_relaxed);
    if (cache == nullptr) return false;
    detail::RingCache& ring = cache->home[lookup().class_of(request)];
    const auto offset = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(data) -
                                                   reinterpret_cast<std::uintptr_t>(ring.base));
    if (offset >= std::uint64_t{ring.slot_bound} * ring.class_bytes) return false;
    const auto slot = static_cast<std::uint32_t>(offset / ring.class_bytes);
    const lib::Mark found{ring.slots[slot].mark.load(std::memory_order_relaxed)};
    return lib::put_hit(*cache, ring, slot, found.generation_alone());
  }

  Pool pool_;
  MemoryResourceOptions options_;
  const std::atomic<std::uint32_t>* const process_word_ = zp_v1_process_word();
  const std::uint32_t process_ = process_word_->load(std::memory_order_relaxed);
};

}  // namespace v1
}  // namespace zeropool
