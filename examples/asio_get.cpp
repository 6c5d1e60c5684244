// Gets in Boost.Asio: a hundred coroutines share the few buffers that there may be, on one thread. Needs a running zeropoold.

#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>

#include <boost/asio.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>

#include <zeropool/asio.hpp>
#include <zeropool/zeropool.hpp>

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t kBytes = std::size_t{64} * 1024;

// Waits for its buffer while the others work; throws boost::system::system_error when there is none in time.
asio::awaitable<void> work(zeropool::AsioPool& pool, int& done) {
  zeropool::Buffer buffer = co_await pool.async_get(kBytes, asio::use_awaitable);
  std::memset(buffer.data(), 'w', buffer.size());
  asio::steady_timer io(co_await asio::this_coro::executor, 1ms);  // stands for the I/O into it
  co_await io.async_wait(asio::use_awaitable);
  ++done;
}  // the buffer puts itself back, and somebody else's get goes on

// Whichever is first: the other one is cancelled and leaves nothing behind.
asio::awaitable<void> get_or_give_up(zeropool::AsioPool& pool) {
  asio::steady_timer timer(co_await asio::this_coro::executor, 5s);
  const auto first = co_await (pool.async_get(kBytes, asio::use_awaitable) ||
                               timer.async_wait(asio::use_awaitable));
  std::printf("%s\n", first.index() == 0 ? "a buffer" : "no buffer in 5 s");
}

}  // namespace

int main() {
  auto opened = zeropool::Pool::open("");  // the daemon's only pool
  if (!opened) {
    std::fprintf(stderr, "asio_get: %s\n", opened.error().sentence.c_str());
    return 1;
  }
  asio::io_context context;
  zeropool::AsioPool pool(context, *opened);

  int done = 0;
  int failed = 0;
  for (int i = 0; i < 100; ++i) {
    asio::co_spawn(context, work(pool, done), [&failed](const std::exception_ptr& error) {
      if (error) ++failed;
    });
  }
  asio::co_spawn(context, get_or_give_up(pool), asio::detached);

  // Without a coroutine, and with a deadline of its own.
  pool.async_get(kBytes, 10s, [](boost::system::error_code error, zeropool::Buffer buffer) {
    std::printf("%s\n", buffer ? "a buffer" : error.message().c_str());
  });

  context.run();  // until nobody waits
  std::printf("%d worked, %d failed\n", done, failed);
  return failed == 0 ? 0 : 1;
}
