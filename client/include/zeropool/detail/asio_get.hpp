#pragma once
// AsioGet: an AsioOp with its handler, in memory of the handler's associated allocator.

#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

#include <boost/asio/append.hpp>
#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include <zeropool/async.hpp>
#include <zeropool/detail/asio_error.hpp>
#include <zeropool/detail/asio_watch.hpp>

namespace zeropool {
inline namespace v1 {
namespace detail {

template <typename Handler>
class AsioGet final : public AsioOp {
 public:
  // The handler is never called within: what is at hand is posted.
  static void start(const std::shared_ptr<AsioWatch>& watch, Handler&& handler, std::size_t bytes,
                    std::int64_t timeout_ns) {
    AsyncGet at_hand = watch->pool().async_get(bytes);
    if (at_hand.await_ready()) {
      const auto executor = boost::asio::get_associated_executor(handler, watch->get_executor());
      boost::asio::post(executor,
                        boost::asio::append(std::move(handler), boost::system::error_code(),
                                            at_hand.await_resume()));
      return;
    }
    auto slot = boost::asio::get_associated_cancellation_slot(handler);
    std::unique_ptr<AsioGet, Discard> op(make(watch, std::move(handler)));
    if (slot.is_connected()) slot.template emplace<AsioCancel>(watch->mutex(), *op);
    const bool waits = watch->begin(*op, bytes, timeout_ns);
    AsioGet* const begun = op.release();
    if (!waits) finish_as(begun, AsioEnd::kPosted);
  }

 private:
  using Allocator = typename std::allocator_traits<
      boost::asio::associated_allocator_t<Handler>>::template rebind_alloc<AsioGet>;
  using Executor = boost::asio::associated_executor_t<Handler, AsioWatch::executor_type>;

  // One that never began.
  struct Discard {
    void operator()(AsioGet* op) const noexcept {
      {
        const std::lock_guard lock(*op->watch->mutex());
        AsioCancel::forget(*op);
      }
      finish_as(op, AsioEnd::kDestroyed);
    }
  };

  AsioGet(const std::shared_ptr<AsioWatch>& at, Handler&& handler)
      : handler_(std::move(handler)),
        work_(boost::asio::get_associated_executor(handler_, at->get_executor())) {
    watch = at;
    finish = &AsioGet::finish_as;
  }

  static AsioGet* make(const std::shared_ptr<AsioWatch>& watch, Handler&& handler) {
    Allocator allocator(boost::asio::get_associated_allocator(handler));
    AsioGet* const memory = std::allocator_traits<Allocator>::allocate(allocator, 1);
    try {
      return ::new (static_cast<void*>(memory)) AsioGet(watch, std::move(handler));
    } catch (...) {
      std::allocator_traits<Allocator>::deallocate(allocator, memory, 1);
      throw;
    }
  }

  // Its memory is free before the handler is called, so that the next operation can use it.
  static void finish_as(AsioOp* op, AsioEnd end) {
    auto* const self = static_cast<AsioGet*>(op);
    const int code = self->code;
    Buffer result = Buffer::from_c(
        code == 0 ? self->buffer
                  : zp_buffer{nullptr, nullptr, static_cast<std::uint64_t>(code), 0, 0});
    Handler handler(std::move(self->handler_));
    const boost::asio::executor_work_guard<Executor> work(std::move(self->work_));
    Allocator allocator(boost::asio::get_associated_allocator(handler));
    self->~AsioGet();
    std::allocator_traits<Allocator>::deallocate(allocator, self, 1);
    if (end == AsioEnd::kDestroyed) return;
    auto completion = boost::asio::append(std::move(handler), asio_error(code), std::move(result));
    if (end == AsioEnd::kDispatched) {
      boost::asio::dispatch(work.get_executor(), std::move(completion));
    } else {
      boost::asio::post(work.get_executor(), std::move(completion));
    }
  }

  Handler handler_;
  boost::asio::executor_work_guard<Executor> work_;
};

}  // namespace detail
}  // namespace v1
}  // namespace zeropool
