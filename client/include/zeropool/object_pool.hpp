#pragma once
// ObjectPool<T>: constructed objects of any type that are used again, with caches for each thread.
//
// A factory makes an object, a reset function makes one that comes back ready for the next get. An object lies in memory
// of the pool, and so does what its allocator takes, if it has one: it counts in the pool's budget. A get takes what the
// calling thread put last; else what others put; else, below the caps, it makes one; else it waits, first come first
// served.
//
// Thread safety: any thread gets, and puts what another one got. Factory and reset run in the threads that get and put,
// several at once, and under no lock.
// Errors: at the cap for too long: an empty PooledObject with timed_out (would_wait if it may not wait). What the factory
// throws comes out of get(), std::bad_alloc too, if the pool has no memory for it; nothing is kept of such an object. An
// object whose reset throws is destroyed, and counted.
// Lifetime: objects may outlive their ObjectPool; each is destroyed at its put then. What took memory from an object's
// allocator must not outlive the object.
// Fork: in a child the ObjectPool starts anew, empty. Objects that it has by fork are inert there: a put does nothing, no
// destructor runs, what lay in a slot is not to be touched.

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <memory_resource>
#include <new>
#include <type_traits>
#include <utility>

#include <zeropool/detail/object_core.hpp>

namespace zeropool {
inline namespace v1 {

// Caps, caches and waiting of an ObjectPool.
struct ObjectPoolOptions {
  std::size_t max_objects = 0;  // in use and cached together; 0: no cap
  // Of objects and of what they allocate by the pool's memory resource; 0: no cap but the pool's. An object that would
  // grow beyond it gets std::bad_alloc.
  std::size_t max_bytes = 0;
  std::uint32_t thread_cache = 8;  // objects that each thread keeps (of each size), 64 at most
  // How long a get waits at a cap; negative: for ever.
  std::chrono::nanoseconds timeout = std::chrono::seconds(5);
  // For the objects' memory.
  MemoryResourceOptions memory =
      {};  // what is too small for a slot, and what when the pool is exhausted
};

namespace detail {

template <typename T>
struct ObjectHolder : ObjectNode {
  ObjectHolder() noexcept {}
  ~ObjectHolder() {}
  ObjectHolder(const ObjectHolder&) = delete;
  ObjectHolder& operator=(const ObjectHolder&) = delete;
  union {
    T value;
  };
};

// T(), with the pool's memory for its allocator if it takes one.
struct DefaultFactory {};
// clear(), where T has it.
struct DefaultReset {
  template <typename T>
  void operator()(T& object) const noexcept(!requires { object.clear(); }) {
    if constexpr (requires { object.clear(); }) object.clear();
  }
};

template <typename T, typename F>
concept SizedFactory = std::is_invocable_r_v<T, F&, std::size_t, std::pmr::memory_resource*> ||
    std::is_invocable_r_v<T, F&, std::size_t>;
template <typename T, typename F>
concept ObjectFactory = std::is_same_v<F, DefaultFactory> || SizedFactory<T, F> ||
    std::is_invocable_r_v<T, F&, std::pmr::memory_resource*> || std::is_invocable_r_v<T, F&>;

template <typename T, typename F, typename R>
struct ObjectFunctions {
  mutable F factory;
  mutable R reset;
};

template <typename T, typename F, typename R>
class ObjectMaker final : public ObjectCore {
 public:
  using Functions = std::shared_ptr<const ObjectFunctions<T, F, R>>;
  ObjectMaker(Pool pool, const MemoryResourceOptions& memory, std::size_t max_bytes,
              const ObjectShape& shape, Functions functions)
      : ObjectCore(std::move(pool), memory, max_bytes, shape), functions_(std::move(functions)) {}

 protected:
  ObjectNode* make(void* at, std::uint32_t bucket) override {
    auto* holder = ::new (at) ObjectHolder<T>();
    holder->bucket = bucket;
    void* place =
        const_cast<void*>(static_cast<const volatile void*>(std::addressof(holder->value)));
    F& factory = functions_->factory;
    const std::size_t size = std::size_t{1} << bucket;
    // Each is the initialiser of the object: so T need not be movable.
    if constexpr (std::is_same_v<F, DefaultFactory>) {
      std::uninitialized_construct_using_allocator(
          static_cast<T*>(place), std::pmr::polymorphic_allocator<std::byte>(memory()));
    } else if constexpr (std::is_invocable_r_v<T, F&, std::size_t, std::pmr::memory_resource*>) {
      ::new (place) T(std::invoke(factory, size, memory()));
    } else if constexpr (std::is_invocable_r_v<T, F&, std::size_t>) {
      ::new (place) T(std::invoke(factory, size));
    } else if constexpr (std::is_invocable_r_v<T, F&, std::pmr::memory_resource*>) {
      ::new (place) T(std::invoke(factory, memory()));
    } else {
      ::new (place) T(std::invoke(factory));
    }
    return holder;
  }
  void unmake(ObjectNode* node) noexcept override {
    std::destroy_at(std::addressof(static_cast<ObjectHolder<T>*>(node)->value));
  }
  bool reset(ObjectNode* node) noexcept override {
    T& object = static_cast<ObjectHolder<T>*>(node)->value;
#ifdef __cpp_exceptions
    if constexpr (!std::is_nothrow_invocable_v<R&, T&>) {
      try {
        std::invoke(functions_->reset, object);
        return true;
      } catch (...) {
        return false;
      }
    }
#endif
    std::invoke(functions_->reset, object);
    return true;
  }

 private:
  const Functions functions_;
};

}  // namespace detail

template <typename T>
class ObjectPool;

// An object in use; goes back at the end. Use it from one thread at a time, as a unique_ptr.
template <typename T>
class PooledObject {
 public:
  PooledObject() noexcept = default;
  // The other one is empty afterwards.
  PooledObject(PooledObject&& other) noexcept
      : node_(std::exchange(other.node_, nullptr)), word_(std::exchange(other.word_, 0)) {}
  // Gives back what it had before.
  PooledObject& operator=(PooledObject&& other) noexcept {
    if (this != &other) {
      reset();
      node_ = std::exchange(other.node_, nullptr);
      word_ = std::exchange(other.word_, 0);
    }
    return *this;
  }
  PooledObject(const PooledObject&) = delete;
  PooledObject& operator=(const PooledObject&) = delete;
  ~PooledObject() { put(); }

  // False: empty; error() says why, if a get made it so.
  explicit operator bool() const noexcept { return node_ != nullptr; }
  // The object; null when empty.
  T* get() const noexcept {
    return node_ == nullptr ? nullptr
                            : std::addressof(static_cast<detail::ObjectHolder<T>*>(node_)->value);
  }
  // The object; not of an empty one.
  T& operator*() const noexcept { return static_cast<detail::ObjectHolder<T>*>(node_)->value; }
  // The object; not of an empty one.
  T* operator->() const noexcept { return get(); }

  // Puts it back now.
  void reset() noexcept {
    put();
    node_ = nullptr;
    word_ = 0;
  }
  // Why it is empty; ok when it is not, or was default-made or moved from.
  ErrorCode error_code() const noexcept {
    return node_ != nullptr ? ErrorCode::ok : static_cast<ErrorCode>(word_);
  }
  // Why it is empty: code and sentence.
  Error error() const;

 private:
  friend class ObjectPool<T>;
  PooledObject(detail::ObjectNode* node, detail::ObjectCore* core) noexcept
      : node_(node), word_(reinterpret_cast<std::uintptr_t>(core)) {}
  explicit PooledObject(ErrorCode code) noexcept : word_(static_cast<std::uintptr_t>(code)) {}

  void put() noexcept {
    if (node_ == nullptr) return;
    auto* core = reinterpret_cast<detail::ObjectCore*>(word_);
    if (!core->inherited()) [[likely]]
      core->put(node_);
  }

  detail::ObjectNode* node_ = nullptr;
  std::uintptr_t word_ = 0;  // its core, or why it is empty
};

template <typename T>
class ObjectPool {
  static_assert(std::is_object_v<T> && !std::is_const_v<T> && !std::is_array_v<T>,
                "ObjectPool is for objects; of an array make a struct");
  static_assert(std::is_nothrow_destructible_v<T>,
                "a pooled object is destroyed where nothing may throw");

 public:
  // Objects are made by T(), or T with the pool's allocator if it takes a polymorphic one, and reset by clear(), if there
  // is one. Of an empty Pool: the heap.
  explicit ObjectPool(Pool pool, const ObjectPoolOptions& options = {}) requires(
      std::is_default_constructible_v<T> ||
      std::uses_allocator_v<T, std::pmr::polymorphic_allocator<std::byte>>)
      : ObjectPool(std::move(pool), detail::DefaultFactory{}, detail::DefaultReset{}, options) {}

  // `factory` returns a T; it may take a std::size_t (get(bytes)), a std::pmr::memory_resource* (the pool's), both in
  // this order, or nothing. `reset` takes a T&.
  template <typename F, typename R = detail::DefaultReset>
  requires(detail::ObjectFactory<T, F>&& std::invocable<R&, T&>)
      ObjectPool(Pool pool, F factory, R reset = {}, const ObjectPoolOptions& options = {})
      : pool_(std::move(pool)), options_(options) {
    using Maker = detail::ObjectMaker<T, F, R>;
    shape_.node_bytes = sizeof(detail::ObjectHolder<T>);
    shape_.node_alignment = alignof(detail::ObjectHolder<T>);
    shape_.buckets = detail::SizedFactory<T, F> ? kBuckets : 1;
    shape_.per_bucket = std::min(options.thread_cache, detail::ObjectCore::kMostPerBucket);
    shape_.max_objects = options.max_objects;
    typename Maker::Functions functions = std::make_shared<const detail::ObjectFunctions<T, F, R>>(
        detail::ObjectFunctions<T, F, R>{std::move(factory), std::move(reset)});
    make_core_ = [this, functions]() -> detail::ObjectCore* {
      return new Maker(pool_, options_.memory, options_.max_bytes, shape_, functions);
    };
    core_.store(make_core_(), std::memory_order_release);
  }
  ObjectPool(const ObjectPool&) = delete;
  ObjectPool& operator=(const ObjectPool&) = delete;
  // Destroys what is cached. No get may be under way; objects in use stay, each until its put.
  ~ObjectPool() {
    detail::ObjectCore* core = core_.load(std::memory_order_acquire);
    if (!core->inherited()) core->close();
  }

  // Waits at most options.timeout at a cap; the factory may wait for memory beyond that.
  PooledObject<T> get() { return get_within(0, options_.timeout); }
  // Waits at most so long at a cap; negative: not at all.
  PooledObject<T> get(std::chrono::nanoseconds timeout) { return get_within(0, wait_of(timeout)); }
  // Does not wait for others to put.
  PooledObject<T> try_get() { return get_within(0, std::chrono::nanoseconds(0)); }
  // For a factory that takes a size: an object that was made with at least so many. Sizes are powers of two, and each has
  // its caches.
  PooledObject<T> get(std::size_t bytes) { return get_sized(bytes, options_.timeout); }
  // The same, and waits at most so long at a cap.
  PooledObject<T> get(std::size_t bytes, std::chrono::nanoseconds timeout) {
    return get_sized(bytes, wait_of(timeout));
  }
  // The same, and does not wait for others to put.
  PooledObject<T> try_get(std::size_t bytes) {
    return get_sized(bytes, std::chrono::nanoseconds(0));
  }

  // Destroys what is cached, in all threads; how many that were.
  std::size_t trim() noexcept { return core().trim(); }
  // Of all threads. Takes a lock; not for hot paths.
  ObjectPoolStats stats() noexcept { return core().stats(); }
  // What objects are given, for who makes parts of them elsewhere. Valid while the ObjectPool, or an object, is.
  std::pmr::memory_resource* memory() noexcept { return core().memory(); }

 private:
  static constexpr std::uint32_t kBuckets = 48;

  static std::chrono::nanoseconds wait_of(std::chrono::nanoseconds timeout) noexcept {
    return timeout.count() < 0 ? std::chrono::nanoseconds(0) : timeout;
  }

  detail::ObjectCore& core() {
    detail::ObjectCore* core = core_.load(std::memory_order_acquire);
    if (!core->inherited()) [[likely]]
      return *core;
    return core_of_child(core);
  }
  // In a forked child: one of its own. The parent's stays as it is.
  detail::ObjectCore& core_of_child(detail::ObjectCore* inherited) {
    detail::ObjectCore* mine = make_core_();
    if (core_.compare_exchange_strong(inherited, mine, std::memory_order_acq_rel)) return *mine;
    mine->close();
    return *inherited;  // another thread's
  }

  PooledObject<T> get_sized(std::size_t bytes, std::chrono::nanoseconds timeout) {
    if (shape_.buckets == 1) return PooledObject<T>(ErrorCode::invalid_argument);
    if (bytes == 0) return PooledObject<T>(ErrorCode::invalid_size);
    const auto bucket = static_cast<std::uint32_t>(std::bit_width(bytes - 1));
    if (bucket >= kBuckets) return PooledObject<T>(ErrorCode::too_large);
    return get_of(bucket, timeout);
  }
  PooledObject<T> get_within(std::uint32_t bucket, std::chrono::nanoseconds timeout) {
    if (shape_.buckets != 1) return PooledObject<T>(ErrorCode::invalid_size);
    return get_of(bucket, timeout);
  }
  PooledObject<T> get_of(std::uint32_t bucket, std::chrono::nanoseconds timeout) {
    detail::ObjectCore& from = core();
    ErrorCode code = ErrorCode::ok;
    detail::ObjectNode* node = from.get(bucket, timeout, code);
    return node != nullptr ? PooledObject<T>(node, &from) : PooledObject<T>(code);
  }

  Pool pool_;
  ObjectPoolOptions options_;
  detail::ObjectShape shape_;
  std::function<detail::ObjectCore*()> make_core_;  // for a forked child, too
  std::atomic<detail::ObjectCore*> core_{nullptr};
};

template <typename T>
Error PooledObject<T>::error() const {
  const ErrorCode code = error_code();
  switch (code) {
    case ErrorCode::ok: return {};
    case ErrorCode::timed_out:
      return {code,
              "all objects that the ObjectPool may have were in use for all of the time: put some, "
              "or raise "
              "max_objects or max_bytes"};
    case ErrorCode::would_wait:
      return {code,
              "all objects that the ObjectPool may have are in use: put some, let the get wait, or "
              "raise "
              "max_objects or max_bytes"};
    case ErrorCode::invalid_size:
      return {code, "this ObjectPool's factory takes a size: say one of at least 1"};
    case ErrorCode::invalid_argument:
      return {code, "this ObjectPool's factory takes no size: get() without one"};
    case ErrorCode::too_large: return {code, "an object's size is 128 TiB at most"};
    default: return {code, zp_strerror(static_cast<int>(code))};
  }
}

}  // namespace v1
}  // namespace zeropool
