#pragma once
// Gets for Boost.Asio (1.80 or newer; the headers are enough): any completion token, executor, allocator and cancellation slot.
//
//     zeropool::AsioPool pool(io_context, *zeropool::Pool::open("frames"));
//     zeropool::Buffer buffer = co_await pool.async_get(64 * 1024, boost::asio::use_awaitable);
//
// A hit is posted, as Asio asks for; a miss waits without a thread. The pool's event descriptor is watched while gets wait,
// and only then: run() returns when nothing is left to do.
//
// Thread safety: all of it, also with several threads in run(). Not for a forked child: it makes its own.
// Cancellation: of every type; it leaves nothing behind, and ends the get with asio::error::operation_aborted.
// The io_context's end destroys gets that wait, with their handlers, uncalled; what was granted to them goes back. As every
// I/O object, an AsioPool goes before its io_context.
// Errors: zeropool::ErrorCode in an error_code, and an empty Buffer that has it, too. Exceptions are those of Asio, of
// handlers, and of a lack of memory.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/version.hpp>

#include <zeropool/async.hpp>
#include <zeropool/detail/asio_error.hpp>
#include <zeropool/detail/asio_get.hpp>
#include <zeropool/detail/asio_watch.hpp>

static_assert(BOOST_VERSION >= 108000, "zeropool/asio.hpp needs Boost 1.80 or newer");

namespace zeropool {
inline namespace v1 {

// A pool whose gets end in an io_context. Keeps the Pool alive; get from any thread.
class AsioPool {
 public:
  // Where completions run unless a handler has its own place.
  using executor_type = boost::asio::any_io_executor;
  // What a get ends with: no error and a Buffer, or an error and an empty one.
  using Signature = void(boost::system::error_code, Buffer);

  // Handlers without an executor of their own run on this one.
  AsioPool(const executor_type& executor, Pool pool)
      : watch_(std::make_shared<detail::AsioWatch>(executor, std::move(pool))) {}
  // Of an io_context or another execution context.
  template <typename Context>
  requires std::is_convertible_v<Context&, boost::asio::execution_context&> AsioPool(
      Context& context, Pool pool)
      : AsioPool(context.get_executor(), std::move(pool)) {}

  // The executor that it was made with.
  executor_type get_executor() const noexcept { return watch_->get_executor(); }
  // The pool itself, for all other calls.
  Pool& pool() noexcept { return watch_->pool(); }

  // At least `bytes`; waits up to the pool's wait.timeout.
  template <boost::asio::completion_token_for<Signature> Token>
  auto async_get(std::size_t bytes, Token&& token) {
    return initiate(bytes, detail::kWaitAsPool, std::forward<Token>(token));
  }
  // Waits at most so long.
  template <boost::asio::completion_token_for<Signature> Token>
  auto async_get(std::size_t bytes, std::chrono::nanoseconds timeout, Token&& token) {
    return initiate(bytes, timeout.count() < 0 ? 0 : timeout.count(), std::forward<Token>(token));
  }

 private:
  struct Initiate {
    using executor_type = AsioPool::executor_type;
    executor_type get_executor() const noexcept { return watch->get_executor(); }
    template <typename Handler>
    void operator()(Handler&& handler, std::size_t bytes, std::int64_t timeout_ns) const {
      std::decay_t<Handler> own(std::forward<Handler>(handler));
      detail::AsioGet<std::decay_t<Handler>>::start(watch, std::move(own), bytes, timeout_ns);
    }
    std::shared_ptr<detail::AsioWatch> watch;
  };

  template <typename Token>
  auto initiate(std::size_t bytes, std::int64_t timeout_ns, Token&& token) {
    return boost::asio::async_initiate<Token, Signature>(Initiate{watch_}, token, bytes,
                                                         timeout_ns);
  }

  std::shared_ptr<detail::AsioWatch> watch_;
};

}  // namespace v1
}  // namespace zeropool
