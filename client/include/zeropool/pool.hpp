#pragma once
// Pool: a named share of zeropoold's memory, open in this process.
//
// Thread safety: all of it; threads need no registration. Cheap to copy.
// Errors: gets return an empty Buffer with an error, open() a Result. Nothing here throws.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <utility>

#include <zeropool/buffer.hpp>
#include <zeropool/pin.hpp>
#include <zeropool/shared_buffer.hpp>
#include <zeropool/stats.hpp>

namespace zeropool {
inline namespace v1 {

// How to attach. The defaults are right for most programs.
struct OpenOptions {
  std::string socket{};  // empty: $ZEROPOOL_SOCKET, else the user's, else the system's
  std::chrono::nanoseconds timeout{0};  // of the attach; 0: 5 s
  int fd = -1;                          // a connected socket, from zp_open_fd()
  std::string client_name{};            // shown to operators; empty: the program's name
  // The kernel may write into buffers of this process after its death: io_uring (registered buffers or O_DIRECT), AIO,
  // RDMA, vmsplice. What it holds when it dies gets new pages before anybody else gets it. Put or release a Buffer only
  // when the I/O into it has ended.
  bool direct_io = false;
  // One get in so many, on average, is written down with its time and stack while it is held, for `zeropoolctl holders`
  // (docs/operators.md); its gets are slower for it. 1: each. 0: as $ZEROPOOL_SAMPLE_STACKS says, else none.
  std::uint32_t sample_gets = 0;
};

// How one get differs from others.
struct GetOptions {
  std::uint32_t node = UINT32_MAX;       // this NUMA node only; UINT32_MAX: the pool's placement
  bool zero = false;                     // all bytes asked for are 0
  std::chrono::nanoseconds timeout{-1};  // negative: the pool's wait.timeout
};

// What get_batch(sizes) returns: all of the buffers, or none and the error.
class Batch {
 public:
  Batch() noexcept = default;
  // Whether there are buffers.
  explicit operator bool() const noexcept { return count_ > 0; }
  // How many buffers: as many as sizes, or 0.
  std::size_t size() const noexcept { return count_; }
  // In the order of the sizes.
  Buffer& operator[](std::size_t i) noexcept { return buffers_[i]; }
  // The first buffer.
  Buffer* begin() noexcept { return buffers_.get(); }
  // One past the last.
  Buffer* end() noexcept { return buffers_.get() + count_; }
  // All of them.
  std::span<Buffer> span() noexcept { return {buffers_.get(), count_}; }
  // Why there are none; ok if there are.
  ErrorCode error_code() const noexcept { return error_.code; }
  // The same with its sentence.
  const Error& error() const noexcept { return error_; }

 private:
  friend class Pool;
  friend class AsyncGetBatch;
  std::unique_ptr<Buffer[]> buffers_;
  std::size_t count_ = 0;
  Error error_;
};

class AsyncGet;
class AsyncGetBatch;
struct AsyncOptions;

// A pool, opened. Cheap to copy; all calls from any thread, which needs no registration. Buffers keep it alive.
class Pool {
 public:
  // "" opens the daemon's only pool.
  static Result<Pool> open(const std::string& name, const OpenOptions& options = {}) {
    zp_open_options raw{};
    raw.struct_bytes = sizeof(raw);
    raw.socket = options.socket.empty() ? nullptr : options.socket.c_str();
    raw.timeout_ns = options.timeout.count();
    raw.fd = options.fd;
    raw.client_name = options.client_name.empty() ? nullptr : options.client_name.c_str();
    if (options.direct_io) raw.flags |= ZP_OPEN_DIRECT_IO;
    raw.sample_gets = options.sample_gets;
    zp_pool* pool = nullptr;
    const int code = zp_open(name.c_str(), &raw, &pool);
    if (code != 0) return Error{static_cast<ErrorCode>(code), zp_last_error()};
    return Pool(pool);
  }

  Pool() noexcept = default;
  // The same attachment.
  Pool(const Pool& other) noexcept : pool_(other.pool_) {
    if (pool_ != nullptr) zp_v1_pool_retain(pool_);
  }
  // The other one is empty afterwards.
  Pool(Pool&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)) {}
  // Closes what it was before.
  Pool& operator=(Pool other) noexcept {
    std::swap(pool_, other.pool_);
    return *this;
  }
  ~Pool() {
    if (pool_ != nullptr) zp_close(pool_);
  }
  // False: empty; nothing but assignment and get (which fails) is for it.
  explicit operator bool() const noexcept { return pool_ != nullptr; }

  // At least `bytes`; waits up to the pool's wait.timeout.
  [[gnu::always_inline]] Buffer get(std::size_t bytes) noexcept {
    return get_within(bytes, detail::kWaitAsPool);
  }
  // Never waits, makes no system call: cache and ring, nothing else.
  [[gnu::always_inline]] Buffer try_get(std::size_t bytes) noexcept {
    return get_within(bytes, detail::kNeverWait);
  }
  // Waits at most so long.
  Buffer get(std::size_t bytes, std::chrono::nanoseconds timeout) noexcept {
    return get_within(bytes, timeout.count() < 0 ? 0 : timeout.count());
  }
  // On a node, cleared, or with a time of its own.
  Buffer get(std::size_t bytes, const GetOptions& options) noexcept {
    const std::int64_t timeout =
        options.timeout.count() < 0 ? detail::kWaitAsPool : options.timeout.count();
    Buffer buffer = options.node == UINT32_MAX ? get_within(bytes, timeout)
                                               : get_slow(bytes, timeout, options.node);
    if (buffer && options.zero) std::memset(buffer.data(), 0, buffer.size());
    return buffer;
  }

  // One for each size: all or none.
  Batch get_batch(std::span<const std::size_t> sizes) noexcept {
    Batch batch;
    std::unique_ptr<zp_buffer[]> raw(new (std::nothrow) zp_buffer[sizes.size() + 1]);
    batch.buffers_.reset(new (std::nothrow) Buffer[sizes.size() + 1]);
    if (!raw || !batch.buffers_) {
      batch.error_ = Error{ErrorCode::system, "no memory for the batch itself"};
      return batch;
    }
    const int code = zp_get_batch(pool_, sizes.data(), sizes.size(), raw.get());
    if (code != 0) {
      batch.error_ = Error{static_cast<ErrorCode>(code), zp_last_error()};
      return batch;
    }
    for (std::size_t i = 0; i < sizes.size(); ++i) batch.buffers_[i] = Buffer::from_c(raw[i]);
    batch.count_ = sizes.size();
    return batch;
  }
  // Up to into.size() buffers of one size into empty Buffers; returns how many, waits only while it has none.
  // No allocation; one claim serves many.
  std::size_t get_batch(std::size_t bytes, std::span<Buffer> into) noexcept {
    for (Buffer& buffer : into) {
      if (buffer) buffer.reset();
    }
    return zp_get_many(pool_, bytes, into.size(), reinterpret_cast<zp_buffer*>(into.data()));
  }
  // Puts all of them, and empties them; faster than one by one. Empty ones are fine.
  void put_batch(std::span<Buffer> buffers) noexcept {
    zp_put_batch(reinterpret_cast<zp_buffer*>(buffers.data()), buffers.size());
  }

  // Puts the buffer that has this address somewhere in it. not_held: there is none, or this process does not hold it.
  ErrorCode put(const void* data) noexcept {
    return static_cast<ErrorCode>(zp_put_ptr(pool_, data));
  }
  // The address lies in the pool's memory, as mapped here or, before a fork, in the parent.
  bool owns(const void* data) const noexcept { return zp_owns(pool_, data) != 0; }

  // For coroutines: the same without blocking, `co_await pool.async_get(n)`. Include <zeropool/async.hpp>; docs/async.md.
  AsyncGet async_get(std::size_t bytes) noexcept;
  // With a time, a stop token, and a place to go on.
  AsyncGet async_get(std::size_t bytes, const AsyncOptions& options) noexcept;
  // One for each size: all or none. The sizes must live until it has ended.
  AsyncGetBatch async_get_batch(std::span<const std::size_t> sizes) noexcept;
  // The same with options.
  AsyncGetBatch async_get_batch(std::span<const std::size_t> sizes,
                                const AsyncOptions& options) noexcept;
  // Resumes up to `max` of those whose gets have ended, on this thread; returns how many.
  std::size_t poll(std::size_t max = SIZE_MAX) noexcept { return zp_poll(pool_, max); }
  // Readable when poll() has something to do, for any event loop. -1: zp_last_error() says why.
  int event_fd() noexcept { return zp_event_fd(pool_); }

  // The buffer that a handle names. Empty and stale_handle if somebody was faster, or it expired; wrong_type, and the
  // handle as it was, if it is a TypedPool's.
  Buffer adopt(Handle handle) noexcept {
    zp_buffer raw{};
    const int code = zp_adopt(pool_, handle.raw, &raw);
    return code == 0 ? Buffer::from_c(raw) : Buffer::failed(static_cast<std::uint64_t>(code));
  }

  // A hold of the shared buffer that a handle names. Empty and stale_handle if its adoptions are used up, or it expired;
  // too_many_holders where 28 processes have it: then the handle stays good.
  SharedBuffer adopt_shared(Handle handle) noexcept {
    SharedBuffer shared;
    shared.code_ = static_cast<ErrorCode>(zp_adopt_shared(pool_, handle.raw, &shared.raw_));
    return shared;
  }

  // Keeps the pages of a held buffer where they are, for I/O that is told their addresses in advance (io_uring's
  // registered buffers, RDMA, a GPU): zeropoold neither releases nor replaces them while the Pin and this process live,
  // whoever gets the buffer meanwhile. Their bytes count as committed for as long.
  Pin pin(const Buffer& buffer) noexcept {
    Pin pin;
    const zp_buffer raw = buffer.view();
    pin.code_ = static_cast<ErrorCode>(zp_pin(&raw, &pin.token_));
    return pin;
  }

  // This client's number, for Buffer::release(receiver).
  std::uint32_t client_id() const noexcept { return zp_client_id(pool_); }
  // As it was opened; of "": the one that the daemon has.
  std::string name() const { return zp_pool_name(pool_); }
  // What this process did in the pool, all threads together. Takes a lock; not for hot paths.
  PoolStats stats() const noexcept {
    PoolStats stats;
    zp_stats(pool_, &stats);
    return stats;
  }
  // Of this process: stats().hit_rate().
  double hit_rate() const noexcept { return stats().hit_rate(); }
  // For C calls; lives as long as this Pool.
  zp_pool* c_pool() const noexcept { return pool_; }

 private:
  friend class AsyncGet;
  friend class AsyncGetBatch;
  explicit Pool(zp_pool* pool) noexcept : pool_(pool) {}

  // Inlined into every caller: only then does the Buffer stay in registers.
  [[gnu::always_inline]] Buffer get_within(std::size_t bytes, std::int64_t timeout_ns) noexcept {
    if (pool_ != nullptr) [[likely]] {
      detail::PoolState* state = detail::state_of(pool_);
      detail::ThreadCache* cache =
          zp_v1_thread->caches[state->index].load(std::memory_order_relaxed);
      if (cache != nullptr && state->lookup.serves(bytes)) [[likely]] {
        detail::RingCache& ring = cache->home[state->lookup.class_of(bytes)];
        std::uint32_t slot = 0;
        lib::Mark generation;
        if (lib::get_hit(*cache, ring, slot, generation)) [[likely]] {
          std::byte* data = ring.base + slot * ring.class_bytes;
          if (data == nullptr) __builtin_unreachable();  // spares the Buffer's end a test
          return Buffer(data, pool_, generation.word | ring.tag, slot,
                        static_cast<std::uint32_t>(bytes));
        }
      }
    }
    return get_slow(bytes, timeout_ns, UINT32_MAX);
  }
  // The same, and empty where that does not serve it: for async gets.
  [[gnu::always_inline]] static Buffer get_hit(zp_pool* pool, std::size_t bytes) noexcept {
    if (pool == nullptr) [[unlikely]]
      return Buffer();
    detail::PoolState* state = detail::state_of(pool);
    detail::ThreadCache* cache = zp_v1_thread->caches[state->index].load(std::memory_order_relaxed);
    if (cache == nullptr || !state->lookup.serves(bytes)) [[unlikely]]
      return Buffer();
    detail::RingCache& ring = cache->home[state->lookup.class_of(bytes)];
    std::uint32_t slot = 0;
    lib::Mark generation;
    if (!lib::get_hit(*cache, ring, slot, generation)) [[unlikely]]
      return Buffer();
    std::byte* data = ring.base + slot * ring.class_bytes;
    return Buffer(data, pool, generation.word | ring.tag, slot, static_cast<std::uint32_t>(bytes));
  }

  [[gnu::always_inline]] Buffer get_slow(std::size_t bytes, std::int64_t timeout_ns,
                                         std::uint32_t node) noexcept {
    const zp_v1_slot got = zp_v1_get_slow(pool_, bytes, timeout_ns, node, 0);
    if (got.word == 0) return Buffer::failed(got.slot);
    const auto slot = static_cast<std::uint32_t>(got.slot);
    auto* data = static_cast<std::byte*>(zp_v1_address(pool_, got.word, slot));
    return Buffer(data, pool_, got.word, slot, static_cast<std::uint32_t>(bytes));
  }

  zp_pool* pool_ = nullptr;
};

static_assert(sizeof(Buffer) == sizeof(zp_buffer));

}  // namespace v1
}  // namespace zeropool
