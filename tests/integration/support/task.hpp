#pragma once
// Task: the least coroutine that a test needs: begins at once, stays suspended at its end until it is destroyed.
//
// Thread safety: destroy it where it cannot be resumed any more.

#include <coroutine>
#include <exception>
#include <utility>

namespace zeropool::testing {

class Task {
 public:
  struct promise_type {
    Task get_return_object() {
      return Task(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
  };

  Task() noexcept = default;
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    destroy();
    handle_ = std::exchange(other.handle_, nullptr);
    return *this;
  }
  ~Task() { destroy(); }
  // Also while it is suspended.
  void destroy() noexcept {
    if (handle_ != nullptr) handle_.destroy();
    handle_ = nullptr;
  }
  bool done() const noexcept { return handle_ != nullptr && handle_.done(); }

 private:
  explicit Task(std::coroutine_handle<promise_type> handle) noexcept : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

}  // namespace zeropool::testing
