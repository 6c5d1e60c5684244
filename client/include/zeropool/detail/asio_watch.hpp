#pragma once
// AsioWatch: the gets of one AsioPool that wait, and the watch over the pool's event descriptor while there are any.
//
// Thread safety: all of it, by one mutex. It is not held while the library is called, but for zp_stop(), nor while a
// handler is called or destroyed.
// Invariants:
//   W1  An op is in `waiting_` from before its zp_get_async() until its `done`, then in `ended_` until it leaves for its
//       executor. Whoever takes it out under the mutex finishes it: no op is finished twice.
//   W2  While an op waits, a wait for the descriptor is under way, or its handler is at work (`polling_`) and will begin one.
//       So no event is missed, the io_context has work, and run() returns when no op is left.
//   W3  Handlers go to their executors from the wait's handler, never from `done`: that may be called by whoever else polls
//       the pool, and must not throw.
//   W4  The end of the io_context ends the ops (AsioWatches): they are cancelled, then destroyed uncalled.

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <fcntl.h>
#include <memory>
#include <mutex>
#include <unistd.h>
#include <utility>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <zeropool/pool.hpp>

namespace zeropool {
inline namespace v1 {
namespace detail {

class AsioCancel;
class AsioWatch;

enum class AsioEnd { kPosted, kDispatched, kDestroyed };

// One get; the rest of it, with its handler, is AsioGet.
struct AsioOp {
  zp_async_get get{};
  zp_buffer buffer{};
  int code = 0;
  bool waits = false;
  AsioOp* previous = nullptr;
  AsioOp* next = nullptr;
  AsioCancel* cancel = nullptr;
  std::shared_ptr<AsioWatch> watch;
  void (*finish)(AsioOp*, AsioEnd) = nullptr;
};

class AsioOpList {
 public:
  bool empty() const noexcept { return first_ == nullptr; }
  AsioOp* first() const noexcept { return first_; }
  void push_back(AsioOp& op) noexcept {
    op.previous = last_;
    op.next = nullptr;
    (last_ == nullptr ? first_ : last_->next) = &op;
    last_ = &op;
  }
  void remove(AsioOp& op) noexcept {
    (op.previous == nullptr ? first_ : op.previous->next) = op.next;
    (op.next == nullptr ? last_ : op.next->previous) = op.previous;
  }
  AsioOp* pop_front() noexcept {
    AsioOp* op = first_;
    if (op != nullptr) remove(*op);
    return op;
  }

 private:
  AsioOp* first_ = nullptr;
  AsioOp* last_ = nullptr;
};

// What lies in a cancellation slot. It may outlive op, watch and io_context: it shares the mutex, and op and it forget each
// other under it.
class AsioCancel {
 public:
  AsioCancel(std::shared_ptr<std::mutex> mutex, AsioOp& op) noexcept
      : mutex_(std::move(mutex)), op_(&op) {
    const std::lock_guard lock(*mutex_);
    op.cancel = this;
  }
  AsioCancel(const AsioCancel&) = delete;
  AsioCancel& operator=(const AsioCancel&) = delete;
  ~AsioCancel() {
    const std::lock_guard lock(*mutex_);
    if (op_ != nullptr) op_->cancel = nullptr;
  }
  // A get that is cancelled leaves nothing behind, so every type of cancellation is one.
  void operator()(boost::asio::cancellation_type type) noexcept {
    if (type == boost::asio::cancellation_type::none) return;
    const std::lock_guard lock(*mutex_);
    if (op_ != nullptr) zp_stop(&op_->get);
  }
  // Caller holds the mutex.
  static void forget(AsioOp& op) noexcept {
    if (op.cancel != nullptr) op.cancel->op_ = nullptr;
    op.cancel = nullptr;
  }

 private:
  std::shared_ptr<std::mutex> mutex_;
  AsioOp* op_;
};

// All watches of an execution context: W4.
class AsioWatches final : public boost::asio::execution_context::service {
 public:
  static inline boost::asio::execution_context::id id;
  explicit AsioWatches(boost::asio::execution_context& context) : service(context) {}
  void add(AsioWatch& watch) {
    const std::lock_guard lock(mutex_);
    watches_.push_back(&watch);
  }
  void remove(AsioWatch& watch) noexcept {
    const std::lock_guard lock(mutex_);
    std::erase(watches_, &watch);
  }

 private:
  inline void shutdown() noexcept override;

  std::mutex mutex_;
  std::vector<AsioWatch*> watches_;
};

class AsioWatch : public std::enable_shared_from_this<AsioWatch> {
 public:
  using executor_type = boost::asio::any_io_executor;

  AsioWatch(const executor_type& executor, Pool pool)
      : pool_(std::move(pool)),
        descriptor_(executor),
        watches_(boost::asio::use_service<AsioWatches>(
            boost::asio::query(descriptor_.get_executor(), boost::asio::execution::context))) {
    watches_.add(*this);
  }
  AsioWatch(const AsioWatch&) = delete;
  AsioWatch& operator=(const AsioWatch&) = delete;
  ~AsioWatch() { watches_.remove(*this); }

  Pool& pool() noexcept { return pool_; }
  executor_type get_executor() noexcept { return descriptor_.get_executor(); }
  const std::shared_ptr<std::mutex>& mutex() const noexcept { return mutex_; }

  // True: it waits, and may be gone already. False: its code and buffer say what came of it.
  bool begin(AsioOp& op, std::size_t bytes, std::int64_t timeout_ns) {
    op.get.done = &AsioWatch::done;
    op.get.context = &op;
    {
      const std::lock_guard lock(*mutex_);
      op.code = open();
      if (op.code == 0) {
        watch();
        op.waits = true;
        waiting_.push_back(op);
      }
    }
    if (op.code == 0) {
      const int code = zp_get_async(pool_.c_pool(), bytes, timeout_ns, &op.get, &op.buffer);
      if (code == ZP_PENDING) return true;
      const std::lock_guard lock(*mutex_);
      op.code = code;
      waiting_.remove(op);
      if (waiting_.empty()) wake();  // W2: so that run() can return
    }
    const std::lock_guard lock(*mutex_);
    AsioCancel::forget(op);
    return false;
  }

  // Nothing of the context runs any more; others may still poll the pool.
  void end() noexcept {
    AsioOpList gone;
    {
      std::unique_lock lock(*mutex_);
      while (AsioOp* op = waiting_.first()) {
        lock.unlock();
        const int code = zp_cancel(&op->get);
        lock.lock();
        if (code == ZP_NOT_PENDING) {  // somebody's poll is about to call its `done`
          changed_.wait(lock, [op] { return !op->waits; });
        } else {
          move_to_ended(*op, ZP_CANCELLED);
        }
      }
      gone = std::exchange(ended_, {});
    }
    while (AsioOp* op = gone.pop_front()) op->finish(op, AsioEnd::kDestroyed);
  }

 private:
  static void done(void* context, int code, zp_buffer*) {
    auto* op = static_cast<AsioOp*>(context);
    // Not the watch: as soon as the mutex is free, op, watch and io_context may go, and this may be a foreign thread.
    const std::shared_ptr<std::mutex> mutex = op->watch->mutex_;
    AsioWatch& self = *op->watch;
    const std::lock_guard lock(*mutex);
    self.move_to_ended(*op, code);
    self.wake();
    self.changed_.notify_all();
  }

  // The rest is called under the mutex.

  void move_to_ended(AsioOp& op, int code) noexcept {
    op.code = code;
    op.waits = false;
    AsioCancel::forget(op);
    waiting_.remove(op);
    ended_.push_back(op);
  }
  // A descriptor of its own for the same events: the pool's is the library's, and several of one context may watch it.
  int open() {
    if (descriptor_.is_open()) return 0;
    const int events = pool_.event_fd();
    if (events < 0) return zp_last_error_code();
    const int own = ::fcntl(events, F_DUPFD_CLOEXEC, 0);
    if (own < 0) return ZP_SYSTEM;
    boost::system::error_code error;
    descriptor_.assign(own, error);
    if (!error) return 0;
    ::close(own);
    return ZP_SYSTEM;
  }
  // W2
  void watch() {
    if (watching_ || polling_) return;
    descriptor_.async_wait(
        boost::asio::posix::stream_descriptor::wait_read,
        [self = shared_from_this()](const boost::system::error_code&) { self->woken(); });
    watching_ = true;
  }
  // The wait's handler is called soon, whether there are events or not.
  void wake() noexcept {
    boost::system::error_code ignored;
    if (watching_ && !polling_) descriptor_.cancel(ignored);
  }

  // Not this one.
  void woken() {
    {
      const std::lock_guard lock(*mutex_);
      watching_ = false;
      polling_ = true;
    }
    pool_.poll();
    Leaving leaving{*this, {}};
    {
      const std::lock_guard lock(*mutex_);
      polling_ = false;
      leaving.ops = std::exchange(ended_, {});
      if (!waiting_.empty()) watch();
    }
    // All but the last may go on in other threads while this one calls that.
    while (AsioOp* op = leaving.ops.pop_front()) {
      op->finish(op, leaving.ops.empty() ? AsioEnd::kDispatched : AsioEnd::kPosted);
    }
  }

  // An executor that threw leaves the others to the next wait.
  struct Leaving {
    AsioWatch& watch;
    AsioOpList ops;
    ~Leaving() {
      if (ops.empty()) return;
      const std::lock_guard lock(*watch.mutex_);
      while (AsioOp* op = ops.pop_front()) watch.ended_.push_back(*op);
      try {
        watch.watch();
      } catch (...) {  // no memory for that either: the next get begins one
      }
      watch.wake();
    }
  };

  Pool pool_;
  boost::asio::posix::basic_stream_descriptor<executor_type> descriptor_;
  AsioWatches&
      watches_;  // made after the descriptor's service: it ends first, while that still works
  const std::shared_ptr<std::mutex> mutex_ = std::make_shared<std::mutex>();
  std::condition_variable changed_;
  AsioOpList waiting_;
  AsioOpList ended_;
  bool watching_ = false;  // a wait is under way, or its handler is on its way
  bool polling_ = false;
};

inline void AsioWatches::shutdown() noexcept {
  for (;;) {
    std::shared_ptr<AsioWatch> watch;  // a handler that is destroyed may hold the last other one
    {
      const std::lock_guard lock(mutex_);
      if (watches_.empty()) return;
      watch = watches_.back()->weak_from_this().lock();
      watches_.pop_back();
    }
    if (watch) watch->end();
  }
}

}  // namespace detail
}  // namespace v1
}  // namespace zeropool
