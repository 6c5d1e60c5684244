#pragma once
// TypedPool<T>: objects that are constructed in the slots of a pool, and destroyed there.
//
// T fits a class and its alignment. One that is trivially copyable and says so (HandOff<T>) can be handed to another
// process; adopting it as another type, or as plain bytes, is refused with wrong_type, and the handle stays good.
//
// Thread safety: TypedPool as Pool; TypedBuffer as a unique_ptr.
// Errors: gets return an empty TypedBuffer with an error. An exception of T's constructor comes out of get(), and the
// slot is put back.
// Fork: a TypedBuffer that a child has by fork is inert there: its object is not destroyed, its memory is not there.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include <zeropool/pool.hpp>
#include <zeropool/type_tag.hpp>

namespace zeropool {
inline namespace v1 {

template <typename T>
class TypedPool;

// A T in a slot that this process holds; destroyed and put back at the end.
template <typename T>
class TypedBuffer {
 public:
  TypedBuffer() noexcept = default;
  // The other one is empty afterwards.
  TypedBuffer(TypedBuffer&&) noexcept = default;
  // Destroys and puts what it held before.
  TypedBuffer& operator=(TypedBuffer&& other) noexcept {
    if (this != &other) {
      reset();
      buffer_ = std::move(other.buffer_);
    }
    return *this;
  }
  TypedBuffer(const TypedBuffer&) = delete;
  TypedBuffer& operator=(const TypedBuffer&) = delete;
  ~TypedBuffer() { destroy(); }

  // False: empty; error() says why.
  explicit operator bool() const noexcept { return static_cast<bool>(buffer_); }
  // The T; null when empty.
  T* get() const noexcept {
    return buffer_ ? std::launder(reinterpret_cast<T*>(buffer_.data())) : nullptr;
  }
  // The T; not of an empty one.
  T& operator*() const noexcept { return *get(); }
  // The T; not of an empty one.
  T* operator->() const noexcept { return get(); }
  // The NUMA node of its memory.
  std::uint32_t node() const noexcept { return buffer_.node(); }

  // Destroys the object and puts the slot back now.
  void reset() noexcept {
    destroy();
    buffer_.reset();
  }
  // Gives the object up for another process, as Buffer::release(); adopted by a TypedPool<T> of the same pool.
  Handle release(std::uint32_t receiver = 0) && noexcept {
    constexpr zp_type type = type_of<T>();
    if (!buffer_ || (buffer_.size() != sizeof(T) && !buffer_.resize(sizeof(T)))) return Handle{};
    zp_buffer raw = std::move(buffer_).release_to_c();
    Handle handle;
    const bool released = zp_release_as(&raw, receiver, &type, &handle.raw) == 0;
    if (!released) buffer_ = Buffer::from_c(raw);
    return released ? handle : Handle{};
  }

  // Why it is empty; ok when it is not, or was default-made or moved from.
  ErrorCode error_code() const noexcept { return buffer_.error_code(); }
  // Why it is empty: code and sentence.
  Error error() const { return buffer_.error(); }

 private:
  friend class TypedPool<T>;
  explicit TypedBuffer(Buffer buffer) noexcept : buffer_(std::move(buffer)) {}

  void destroy() noexcept {
    if constexpr (!std::is_trivially_destructible_v<T>) {
      if (buffer_ && !buffer_.inherited()) std::destroy_at(get());
    }
  }

  Buffer buffer_;
};

// A pool of T. Cheap to copy, as its Pool; all calls from any thread.
template <typename T>
class TypedPool {
  static_assert(std::is_object_v<T> && !std::is_const_v<T> && !std::is_array_v<T>,
                "TypedPool is for objects; of an array make a struct");
  static_assert(sizeof(T) <= (std::size_t{1} << 30), "no class is larger than 1 GiB");

 public:
  // Whether a T fits is known then: where it does not, bool() is false, error() says why, and gets fail in the same way.
  explicit TypedPool(Pool pool) : pool_(std::move(pool)) {
    if (!pool_) {
      refuse(ErrorCode::invalid_argument, "the pool is not open");
      return;
    }
    const lib::ClassLookup& lookup = detail::state_of(pool_.c_pool())->lookup;
    if (!lookup.serves(sizeof(T))) {
      refuse(ErrorCode::too_large, "pool " + pool_.name() + ": a T of " +
                                       std::to_string(sizeof(T)) +
                                       " bytes is more than its largest class of " +
                                       std::to_string(lookup.largest_bytes) +
                                       " bytes: add a class to the pool in zeropoold.yaml");
      return;
    }
    for (std::uint32_t c = lookup.class_of(sizeof(T)); c < lookup.class_count; ++c) {
      const std::uint64_t bytes = lookup.class_bytes[c];
      if (alignof(T) > kRegionAlignment || bytes % alignof(T) != 0) continue;
      // sizeof(T) where that leads to this class, so that what lies beyond the object is nobody's.
      const std::uint64_t below = c == 0 ? 0 : lookup.class_bytes[c - 1];
      request_bytes_ = std::max<std::size_t>(sizeof(T), static_cast<std::size_t>(below) + 1);
      return;
    }
    refuse(ErrorCode::invalid_argument,
           "pool " + pool_.name() + ": a T needs an alignment of " + std::to_string(alignof(T)) +
               " bytes, and no class that it fits is a multiple of that (" +
               std::to_string(kRegionAlignment) +
               " at most): add one to the pool in zeropoold.yaml");
  }

  // False: T does not fit the pool; error() says why.
  explicit operator bool() const noexcept { return request_bytes_ != 0; }
  // Why gets cannot succeed here at all; ok if they can.
  const Error& error() const noexcept { return error_; }
  // The pool that it takes from.
  Pool& pool() noexcept { return pool_; }

  // T(args...) in a slot; waits up to the pool's wait.timeout.
  template <typename... Args>
  TypedBuffer<T> get(Args&&... args) {
    return construct(request_bytes_ != 0 ? pool_.get(request_bytes_) : refused(),
                     std::forward<Args>(args)...);
  }
  // Never waits, makes no system call.
  template <typename... Args>
  TypedBuffer<T> try_get(Args&&... args) {
    return construct(request_bytes_ != 0 ? pool_.try_get(request_bytes_) : refused(),
                     std::forward<Args>(args)...);
  }
  // Waits at most so long.
  template <typename... Args>
  TypedBuffer<T> get_within(std::chrono::nanoseconds timeout, Args&&... args) {
    return construct(request_bytes_ != 0 ? pool_.get(request_bytes_, timeout) : refused(),
                     std::forward<Args>(args)...);
  }
  // T(args...) for each of `into`, whose objects before end first; returns how many, from the front. Waits only while it
  // has none. When a constructor throws, those made before stay where they are.
  template <typename... Args>
  std::size_t get_batch(std::span<TypedBuffer<T>> into, const Args&... args) {
    for (TypedBuffer<T>& one : into) one.reset();
    std::size_t made = 0;
    while (request_bytes_ != 0 && made < into.size()) {
      std::array<Buffer, kBatch> buffers;
      const std::size_t wanted = std::min(into.size() - made, kBatch);
      const std::size_t got = some(std::span(buffers.data(), wanted), made == 0);
      for (std::size_t i = 0; i < got; ++i) {
        into[made] = construct(std::move(buffers[i]), args...);
        ++made;
      }
      if (got < wanted) break;
    }
    return made;
  }
  // Destroys and puts all of them, and empties them. Empty ones are fine.
  void put_batch(std::span<TypedBuffer<T>> objects) noexcept {
    for (std::size_t at = 0; at < objects.size(); at += kBatch) {
      std::array<Buffer, kBatch> buffers;
      const std::size_t count = std::min(objects.size() - at, kBatch);
      for (std::size_t i = 0; i < count; ++i) {
        objects[at + i].destroy();
        buffers[i] = std::move(objects[at + i].buffer_);
      }
      pool_.put_batch(std::span(buffers.data(), count));
    }
  }

  // The object that a handle names, as its releaser left it. Empty and wrong_type, and the handle as it was, if it is of
  // another type; empty and stale_handle if somebody was faster, or it expired.
  TypedBuffer<T> adopt(Handle handle) noexcept {
    constexpr zp_type type = type_of<T>();
    zp_buffer raw{};
    const int code = zp_adopt_as(pool_.c_pool(), handle.raw, &type, &raw);
    if (code == 0) return TypedBuffer<T>(Buffer::from_c(raw));
    return TypedBuffer<T>(failed(static_cast<std::uint64_t>(code)));
  }

 private:
  static constexpr std::size_t kRegionAlignment = 4096;  // the least that every region's start has
  static constexpr std::size_t kBatch = 32;

  void refuse(ErrorCode code, std::string sentence) { error_ = Error{code, std::move(sentence)}; }

  static Buffer failed(std::uint64_t code) noexcept {
    return Buffer::from_c({nullptr, nullptr, code, 0, 0});
  }
  Buffer refused() const noexcept { return failed(static_cast<std::uint64_t>(error_.code)); }

  template <typename... Args>
  TypedBuffer<T> construct(Buffer buffer, Args&&... args) {
    if (buffer) [[likely]]
      std::construct_at(reinterpret_cast<T*>(buffer.data()), std::forward<Args>(args)...);
    return TypedBuffer<T>(std::move(buffer));
  }
  // The first ones may be waited for, further ones not.
  std::size_t some(std::span<Buffer> into, bool may_wait) noexcept {
    if (may_wait) return pool_.get_batch(request_bytes_, into);
    std::size_t got = 0;
    while (got < into.size() && (into[got] = pool_.try_get(request_bytes_))) ++got;
    return got;
  }

  Pool pool_;
  std::size_t request_bytes_ = 0;  // 0: a T does not fit
  Error error_;
};

}  // namespace v1
}  // namespace zeropool
