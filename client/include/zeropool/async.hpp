#pragma once
// Gets for coroutines: `Buffer b = co_await pool.async_get(n);`
//
// A hit is served where it stands: nothing is suspended, allocated or called. A miss suspends the coroutine; the order lies
// in its frame. Pool::poll() resumes it, on the thread that polls, or hands it to AsyncOptions::resume_on.
//
// Thread safety: any thread may suspend, poll and stop; poll() may be called by several. Who destroys a suspended coroutine
// must not do it while another thread's poll() may be resuming it.
// Destroying a suspended coroutine cancels its get, and what was granted to it goes back. A pool whose last Pool ends
// resumes the coroutines that wait for it, at the next poll() of who still can, with `cancelled`.
// Errors: an empty Buffer (Batch) with an error; `cancelled` after a stop. The sentence is there where it is resumed by
// poll() itself; elsewhere the code's name stands for it.

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <stop_token>
#include <type_traits>

#include <zeropool/pool.hpp>

namespace zeropool {
inline namespace v1 {

// Where to go on: anything that is callable with a std::coroutine_handle<>, by reference. It is called once for each get
// that was suspended, within poll(), and resumes the handle then or later, on any thread. It must live until then.
class ResumeOn {
 public:
  ResumeOn() noexcept = default;
  // By reference: it must outlive every get that is given this.
  template <typename Executor>
  requires(!std::is_same_v<std::remove_cv_t<Executor>, ResumeOn> &&
           std::is_invocable_v<Executor&, std::coroutine_handle<>>) ResumeOn(Executor& executor)
  noexcept
      : executor_(const_cast<void*>(static_cast<const void*>(std::addressof(executor)))),
        call_([](void* called, std::coroutine_handle<> handle) {
          (*static_cast<Executor*>(called))(handle);
        }) {}

  // Resumes the handle there.
  void operator()(std::coroutine_handle<> handle) const {
    if (call_ == nullptr) {
      handle.resume();
    } else {
      call_(executor_, handle);
    }
  }

 private:
  void* executor_ = nullptr;
  void (*call_)(void*, std::coroutine_handle<>) = nullptr;  // null: inline
};

// How an async get waits, and where its coroutine goes on.
struct AsyncOptions {
  std::chrono::nanoseconds timeout{-1};  // negative: the pool's wait.timeout
  std::stop_token stop{};                // ends a get that waits with `cancelled`
  ResumeOn resume_on{};                  // default: in poll()
};

namespace detail {

// A get that waits, in the frame of the coroutine that waits for it.
class AsyncWait {
 public:
  AsyncWait() noexcept = default;
  explicit AsyncWait(const AsyncOptions& options) noexcept
      : timeout_ns_(options.timeout.count() < 0 ? kWaitAsPool : options.timeout.count()),
        resume_on_(options.resume_on),
        stop_token_(options.stop) {}
  AsyncWait(const AsyncWait&) = delete;
  AsyncWait& operator=(const AsyncWait&) = delete;
  [[gnu::always_inline]] ~AsyncWait() {
    if (begun_) [[unlikely]]
      end();
  }

  // `get(op, timeout)` is zp_get_async() or alike. True: it waits, and this object may be gone already.
  template <typename Get>
  bool begin(std::coroutine_handle<> handle, Get get) noexcept {
    handle_ = handle;
    ::new (static_cast<void*>(&op_)) zp_async_get{&resumed, this, {}};
    begun_ = true;
    if (stop_token_.stop_possible()) stop_.emplace(stop_token_, Stop{&op_});
    const int code = get(&op_, timeout_ns_);
    if (code == ZP_PENDING) return true;
    code_ = code;
    return false;
  }
  int code() const noexcept { return code_; }

 private:
  struct Stop {
    zp_async_get* op;
    void operator()() const noexcept { zp_stop(op); }
  };

  static void resumed(void* context, int code, zp_buffer*) {
    auto* self = static_cast<AsyncWait*>(context);
    self->code_ = code;
    const ResumeOn resume_on = self->resume_on_;
    resume_on(self->handle_);  // this object may be gone when it returns
  }
  [[gnu::noinline]] void end() noexcept {
    zp_cancel(&op_);
    stop_.reset();  // waits for a stop that is under way: it looks at the op
  }

  std::int64_t timeout_ns_ = kWaitAsPool;
  ResumeOn resume_on_;
  std::stop_token stop_token_;
  std::coroutine_handle<> handle_;
  int code_ = 0;
  bool begun_ = false;
  union {
    zp_async_get op_;  // from begin() on
  };
  std::optional<std::stop_callback<Stop>> stop_;
};

}  // namespace detail

// What async_get() returns: to be awaited at once, and once.
class [[nodiscard]] AsyncGet {
 public:
  // True: it was served at once, nothing is suspended.
  [[gnu::always_inline]] bool await_ready() noexcept {
    buffer_ = Pool::get_hit(pool_, bytes_);
    return static_cast<bool>(buffer_);
  }
  // Places the order. False: it has ended meanwhile, the coroutine goes on.
  bool await_suspend(std::coroutine_handle<> handle) noexcept {
    return wait_.begin(handle, [this](zp_async_get* op, std::int64_t timeout_ns) {
      return zp_get_async(pool_, bytes_, timeout_ns, op, raw());
    });
  }
  // What was got; empty, with the error, if nothing was.
  [[gnu::always_inline]] Buffer await_resume() noexcept {
    if (!buffer_ && wait_.code() != 0) [[unlikely]]
      return Buffer::failed(static_cast<std::uint64_t>(wait_.code()));
    return std::move(buffer_);
  }

 private:
  friend class Pool;
  AsyncGet(zp_pool* pool, std::size_t bytes) noexcept : pool_(pool), bytes_(bytes) {}
  AsyncGet(zp_pool* pool, std::size_t bytes, const AsyncOptions& options) noexcept
      : pool_(pool), bytes_(bytes), wait_(options) {}
  // A Buffer is laid out as a zp_buffer.
  zp_buffer* raw() noexcept { return reinterpret_cast<zp_buffer*>(&buffer_); }

  zp_pool* pool_;
  std::size_t bytes_;
  Buffer buffer_;  // what is granted lies here until it is taken
  detail::AsyncWait wait_;
};

// What async_get_batch() returns. The sizes must stay where they are until the coroutine goes on.
class [[nodiscard]] AsyncGetBatch {
 public:
  // True: it was served at once, nothing is suspended.
  bool await_ready() noexcept {
    batch_.buffers_.reset(new (std::nothrow) Buffer[sizes_.size() + 1]);
    return batch_.buffers_ == nullptr;
  }
  // Places the order. False: it has ended meanwhile, the coroutine goes on.
  bool await_suspend(std::coroutine_handle<> handle) noexcept {
    return wait_.begin(handle, [this](zp_async_get* op, std::int64_t timeout_ns) {
      return zp_get_batch_async(pool_, sizes_.data(), sizes_.size(), timeout_ns, op,
                                reinterpret_cast<zp_buffer*>(batch_.buffers_.get()));
    });
  }
  // What was got: all, or none and the error.
  Batch await_resume() noexcept {
    if (batch_.buffers_ == nullptr) {
      batch_.error_ = Error{ErrorCode::system, "no memory for the batch itself"};
    } else if (const int code = wait_.code(); code != 0) {
      const bool fresh = zp_last_error_code() == code;
      batch_.error_ =
          Error{static_cast<ErrorCode>(code), fresh ? zp_last_error() : zp_strerror(code)};
      batch_.buffers_.reset();
    } else {
      batch_.count_ = sizes_.size();
    }
    return std::move(batch_);
  }

 private:
  friend class Pool;
  AsyncGetBatch(zp_pool* pool, std::span<const std::size_t> sizes) noexcept
      : pool_(pool), sizes_(sizes) {}
  AsyncGetBatch(zp_pool* pool, std::span<const std::size_t> sizes,
                const AsyncOptions& options) noexcept
      : pool_(pool), sizes_(sizes), wait_(options) {}

  zp_pool* pool_;
  std::span<const std::size_t> sizes_;
  Batch batch_;
  detail::AsyncWait wait_;
};

inline AsyncGet Pool::async_get(std::size_t bytes) noexcept { return {pool_, bytes}; }
inline AsyncGet Pool::async_get(std::size_t bytes, const AsyncOptions& options) noexcept {
  return {pool_, bytes, options};
}
inline AsyncGetBatch Pool::async_get_batch(std::span<const std::size_t> sizes) noexcept {
  return {pool_, sizes};
}
inline AsyncGetBatch Pool::async_get_batch(std::span<const std::size_t> sizes,
                                           const AsyncOptions& options) noexcept {
  return {pool_, sizes, options};
}

}  // namespace v1
}  // namespace zeropool
