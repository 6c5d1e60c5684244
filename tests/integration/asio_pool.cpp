// AsioPool: gets with every completion token of Boost.Asio, on one thread and on several; what ends them; nothing is left.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <doctest/doctest.h>

#include <zeropool/asio.hpp>
#include <zeropool/zeropool.hpp>

#include "support/daemon_process.hpp"
#include "support/survivor.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using namespace boost::asio::experimental::awaitable_operators;
namespace asio = boost::asio;
using boost::system::error_code;
using zeropool::AsioPool;
using zeropool::Buffer;
using zeropool::ErrorCode;
using zeropool::Pool;

namespace {

constexpr std::size_t kBytes = 64 * 1024;
constexpr auto kLong = 60s;  // of what ends otherwise
constexpr const char* kConfig =
    "budget: 24MiB\n"
    "limits: {clients: 16, threads: 64}\n"
    "pages: {size: [4KiB]}\n"
    "pools:\n"
    "  frames: {classes: [64KiB], wait: {timeout: 30s}}\n";

// A daemon whose only pool is taken, all of it, by this process.
struct Scene {
  Scene() : daemon(kConfig), survivor(*daemon.open(), kBytes) {
    survivor.fill_pool();
    REQUIRE(survivor.held() >= 4);
    most = survivor.held();
  }
  Pool& pool() { return survivor.pool(); }
  // Whoever waited is gone, all can be had, and no slot is lost.
  void check_nothing_left() {
    survivor.put_all();
    CHECK(survivor.fill_pool() >= most);
    CHECK(survivor.intact());
    const nlohmann::json audit = daemon.audit();
    CHECK_MESSAGE(audit["lost"] == 0, audit.dump());
    survivor.put_all();
    CHECK(eventually([&] { return daemon.metric("zeropool_orders_waiting") == 0; }));
  }

  DaemonProcess daemon;
  Survivor survivor;
  std::size_t most = 0;
};

struct Outcome {
  bool called = false;
  error_code error;
  Buffer buffer;
};

auto into(Outcome& outcome) {
  return [&outcome](error_code error, Buffer buffer) {
    CHECK_FALSE(outcome.called);
    outcome.called = true;
    outcome.error = error;
    outcome.buffer = std::move(buffer);
  };
}

// So many threads in run(); those that come back early (nothing to do) are no error.
void run_on(asio::io_context& context, int threads) {
  std::vector<std::thread> runners;
  for (int i = 0; i < threads; ++i) runners.emplace_back([&] { context.run(); });
  for (std::thread& runner : runners) runner.join();
}

// Counts what it gives out.
template <typename T>
struct CountingAllocator {
  using value_type = T;
  explicit CountingAllocator(int* now, int* all) : out(now), total(all) {}
  template <typename U>
  CountingAllocator(const CountingAllocator<U>& other) : out(other.out), total(other.total) {}
  T* allocate(std::size_t count) {
    ++*out;
    ++*total;
    return std::allocator<T>().allocate(count);
  }
  void deallocate(T* memory, std::size_t count) {
    --*out;
    std::allocator<T>().deallocate(memory, count);
  }
  template <typename U>
  bool operator==(const CountingAllocator<U>& other) const {
    return out == other.out;
  }
  int* out;
  int* total;
};

}  // namespace

TEST_CASE("what is at hand is posted, and the handler is never called within") {
  DaemonProcess daemon(kConfig);
  asio::io_context context;
  AsioPool pool(context, *daemon.open());
  for (int i = 0; i < 3; ++i) {  // the first is no hit: this thread has no cache yet
    Outcome outcome;
    pool.async_get(kBytes, into(outcome));
    CHECK_FALSE(outcome.called);
    context.run();
    context.restart();
    CHECK(outcome.called);
    CHECK_FALSE(outcome.error);
    CHECK(outcome.buffer.size() == kBytes);
  }
}

TEST_CASE("what cannot be served fails with the pool's error, also after the initiation") {
  DaemonProcess daemon(kConfig);
  asio::io_context context;
  AsioPool pool(context, *daemon.open());
  AsioPool none(context, Pool());
  Outcome too_large;
  Outcome no_pool;
  pool.async_get(kBytes + 1, into(too_large));
  none.async_get(kBytes, into(no_pool));
  CHECK_FALSE(too_large.called);
  CHECK_FALSE(no_pool.called);
  context.run();
  CHECK(too_large.error == ErrorCode::too_large);
  CHECK(too_large.error.category() == zeropool::error_category());
  CHECK(too_large.error == boost::system::errc::invalid_argument);
  CHECK(too_large.error.message() == "too_large");
  CHECK(too_large.buffer.error_code() == ErrorCode::too_large);
  CHECK(no_pool.error == ErrorCode::invalid_argument);
}

TEST_CASE("a miss waits, keeps run() going, and is granted when a buffer comes back") {
  Scene scene;
  asio::io_context context;
  AsioPool pool(context, scene.pool());
  CHECK(context.run() == 0);  // nothing waits, nothing is watched
  context.restart();
  Buffer got;
  asio::co_spawn(
      context,
      [&]() -> asio::awaitable<void> {
        got = co_await pool.async_get(kBytes, asio::use_awaitable);
      },
      asio::detached);
  CHECK(context.run_for(200ms) > 0);
  CHECK_FALSE(context.stopped());
  CHECK_FALSE(got);
  scene.survivor.put(1);
  context.run();
  CHECK(got.size() == kBytes);
  got.reset();
  scene.check_nothing_left();
}

TEST_CASE("a get ends at its deadline, and by throwing where the token throws") {
  Scene scene;
  asio::io_context context;
  AsioPool pool(context, scene.pool());
  Outcome outcome;
  pool.async_get(kBytes, 50ms, into(outcome));
  error_code thrown;
  asio::co_spawn(
      context,
      [&]() -> asio::awaitable<void> {
        try {
          co_await pool.async_get(kBytes, 0ns, asio::use_awaitable);
        } catch (const boost::system::system_error& error) {
          thrown = error.code();
        }
      },
      asio::detached);
  context.run();
  CHECK(outcome.error == ErrorCode::budget_exhausted);
  CHECK(outcome.error == boost::system::errc::not_enough_memory);
  CHECK_FALSE(outcome.buffer);
  CHECK(thrown.category() == zeropool::error_category());
  scene.check_nothing_left();
}

TEST_CASE("each type of cancellation ends a get that waits; one that comes late does nothing") {
  Scene scene;
  for (const auto type : {asio::cancellation_type::terminal, asio::cancellation_type::partial,
                          asio::cancellation_type::total}) {
    asio::cancellation_signal signal;  // it outlives the io_context
    {
      asio::io_context context;
      AsioPool pool(context, scene.pool());
      Outcome outcome;
      pool.async_get(kBytes, asio::bind_cancellation_slot(signal.slot(), into(outcome)));
      context.run_for(20ms);
      CHECK_FALSE(outcome.called);
      signal.emit(asio::cancellation_type::none);
      context.run_for(20ms);
      CHECK_FALSE(outcome.called);
      signal.emit(type);
      context.run();
      CHECK(outcome.error == asio::error::operation_aborted);
      CHECK(outcome.buffer.error_code() == ErrorCode::cancelled);
      signal.emit(type);
      // The same slot again, for one that is destroyed while it waits.
      context.restart();
      pool.async_get(kBytes, asio::bind_cancellation_slot(signal.slot(), [](error_code, Buffer) {
                       FAIL("called though its io_context has ended");
                     }));
      context.poll();
    }
    signal.emit(type);
  }
  scene.check_nothing_left();
}

TEST_CASE("operator||: whichever is first cancels the other, and loses no buffer") {
  Scene scene;
  asio::io_context context;
  AsioPool pool(context, scene.pool());
  std::vector<std::size_t> winners;
  asio::co_spawn(
      context,
      [&]() -> asio::awaitable<void> {
        asio::steady_timer timer(context, 20ms);
        winners.push_back((co_await (pool.async_get(kBytes, asio::use_awaitable) ||
                                     timer.async_wait(asio::use_awaitable)))
                              .index());
        timer.expires_after(kLong);
        scene.survivor.put(1);
        winners.push_back((co_await (pool.async_get(kBytes, asio::use_awaitable) ||
                                     timer.async_wait(asio::use_awaitable)))
                              .index());
        // A grant and a cancellation at the same time, many times over.
        for (int i = 0; i < 200; ++i) {
          timer.expires_after(std::chrono::microseconds(i * 5));
          scene.survivor.keep(scene.pool().get(kBytes, 1s));
          asio::post(context, [&] { scene.survivor.put(1); });
          co_await (pool.async_get(kBytes, asio::use_awaitable) ||
                    timer.async_wait(asio::use_awaitable));
        }
      },
      [](const std::exception_ptr& error) { CHECK(error == nullptr); });
  context.run();
  CHECK(winners == std::vector<std::size_t>{1, 0});
  scene.check_nothing_left();
}

TEST_CASE("futures, deferred operations and tuples") {
  Scene scene;
  asio::io_context context;
  AsioPool pool(context, scene.pool());
  std::future<Buffer> refused = pool.async_get(kBytes, 10ms, asio::use_future);
  std::future<Buffer> granted = pool.async_get(kBytes, asio::use_future);
  auto later = pool.async_get(kBytes, asio::deferred);
  Outcome outcome;
  std::move(later)(into(outcome));
  std::promise<error_code> in_tuple;
  asio::co_spawn(
      context,
      [&]() -> asio::awaitable<void> {
        const auto [error, buffer] =
            co_await pool.async_get(kBytes, 10ms, asio::as_tuple(asio::use_awaitable));
        in_tuple.set_value(error);
      },
      asio::detached);
  std::thread runner([&] { context.run(); });
  CHECK_THROWS_AS(refused.get(), boost::system::system_error);
  CHECK(in_tuple.get_future().get() == ErrorCode::budget_exhausted);
  scene.survivor.put(2);
  CHECK(granted.get());
  runner.join();
  CHECK(outcome.buffer);
  outcome.buffer.reset();
  scene.check_nothing_left();
}

TEST_CASE(
    "the handler's executor and allocator are used, and its memory is free when it is called") {
  Scene scene;
  asio::io_context context;
  asio::io_context other;
  AsioPool pool(context, scene.pool());
  int out = 0;
  int total = 0;
  int out_when_called = -1;
  std::thread::id called_on;
  pool.async_get(kBytes, 20ms,
                 asio::bind_executor(other.get_executor(),
                                     asio::bind_allocator(CountingAllocator<char>(&out, &total),
                                                          [&](error_code, Buffer) {
                                                            out_when_called = out;
                                                            called_on = std::this_thread::get_id();
                                                          })));
  std::thread::id other_id;
  std::thread others([&] {
    other_id = std::this_thread::get_id();
    other.run();  // there is work for it while the get waits
  });
  context.run();
  others.join();
  CHECK(called_on == other_id);
  CHECK(total >= 2);  // the get itself, and what the executor needs
  CHECK(out_when_called == 0);
  CHECK(out == 0);
  scene.check_nothing_left();
}

TEST_CASE("four threads: many coroutines share a few buffers, each of them gets its own") {
  Scene scene;
  scene.survivor.put(scene.most - scene.most / 2);
  const std::size_t free = scene.most - scene.survivor.held();
  asio::io_context context;
  AsioPool pool(context, scene.pool());
  std::atomic<int> gets{0};
  std::atomic<int> failed{0};
  std::atomic<std::size_t> held{0};
  constexpr int kCoroutines = 500;
  constexpr int kGets = 20;
  for (int n = 0; n < kCoroutines; ++n) {
    asio::co_spawn(
        context,
        [&, n]() -> asio::awaitable<void> {
          for (int i = 0; i < kGets; ++i) {
            Buffer buffer = co_await pool.async_get(kBytes, kLong, asio::use_awaitable);
            if (held.fetch_add(1) >= free) ++failed;
            *buffer.as<int>() = n;
            co_await asio::post(asio::use_awaitable);
            if (*buffer.as<int>() != n) ++failed;
            held.fetch_sub(1);
            ++gets;
          }
        },
        [&](const std::exception_ptr& error) {
          if (error) ++failed;
        });
  }
  run_on(context, 4);
  CHECK(gets == kCoroutines * kGets);
  CHECK(failed == 0);
  scene.check_nothing_left();
}

TEST_CASE(
    "a strand: handlers on four threads never run at the same time, cancellations in it included") {
  Scene scene;
  asio::io_context context;
  auto strand = asio::make_strand(context);
  AsioPool pool(strand, scene.pool());
  int calls = 0;  // by the strand alone
  int outside = 0;
  constexpr int kGets = 400;
  std::vector<std::unique_ptr<asio::cancellation_signal>> signals;
  for (int i = 0; i < kGets; ++i) {
    signals.push_back(std::make_unique<asio::cancellation_signal>());
    asio::post(strand, [&, i] {
      pool.async_get(kBytes, kLong,
                     asio::bind_cancellation_slot(signals[i]->slot(), [&](error_code, Buffer) {
                       if (!strand.running_in_this_thread()) ++outside;
                       ++calls;
                     }));
    });
  }
  for (int i = 0; i < kGets; i += 2) {
    asio::post(strand, [&, i] { signals[i]->emit(asio::cancellation_type::total); });
  }
  scene.survivor.put(2);  // the other half shares these
  run_on(context, 4);
  CHECK(calls == kGets);
  CHECK(outside == 0);
  scene.check_nothing_left();
}

TEST_CASE(
    "an io_context that ends with gets waiting destroys them uncalled, and gives everything back") {
  Scene scene;
  auto token = std::make_shared<int>(0);
  {
    asio::io_context context;
    auto pool = std::make_shared<AsioPool>(context, scene.pool());
    for (int i = 0; i < 100; ++i) {
      pool->async_get(kBytes, [token, pool](error_code, Buffer) { FAIL("called"); });
      asio::co_spawn(
          context,
          [](std::shared_ptr<AsioPool> its, std::shared_ptr<int>) -> asio::awaitable<void> {
            const Buffer buffer = co_await its->async_get(kBytes, asio::use_awaitable);
            FAIL("went on");
          }(pool, token),
          asio::detached);
    }
    context.poll();
    // Some are granted, and their handlers are on their way, when it ends.
    scene.survivor.put(3);
    CHECK(eventually([&] { return scene.daemon.audit()["lost"] == 0; }));
  }
  CHECK(token.use_count() == 1);
  scene.check_nothing_left();
}

TEST_CASE(
    "gets of several io_contexts and pollers share a pool: whoever polls, each goes on in its "
    "own") {
  Scene scene;
  asio::io_context first;
  asio::io_context second;
  AsioPool of_first(first, scene.pool());
  AsioPool also_of_first(first, scene.pool());
  AsioPool of_second(second, scene.pool());
  std::atomic<bool> over{false};
  std::thread poller([&] {
    while (!over.load()) {
      scene.pool().poll();
      std::this_thread::yield();
    }
  });
  std::atomic<int> wrong{0};
  std::atomic<int> calls{0};
  const auto spawn = [&](asio::io_context& context, AsioPool& pool) {
    for (int i = 0; i < 50; ++i) {
      asio::co_spawn(
          context,
          [&]() -> asio::awaitable<void> {
            for (int n = 0; n < 10; ++n) {
              const Buffer buffer = co_await pool.async_get(kBytes, kLong, asio::use_awaitable);
              if (!context.get_executor().running_in_this_thread()) ++wrong;
              ++calls;
            }
          },
          [&](const std::exception_ptr& error) {
            if (error) ++wrong;
          });
    }
  };
  spawn(first, of_first);
  spawn(first, also_of_first);
  spawn(second, of_second);
  scene.survivor.put(3);
  std::thread one([&] { first.run(); });
  std::thread two([&] { second.run(); });
  one.join();
  two.join();
  over.store(true);
  poller.join();
  CHECK(calls == 1500);
  CHECK(wrong == 0);
  scene.check_nothing_left();
}

TEST_CASE("an io_context may end while somebody else polls the pool") {
  Scene scene;
  std::atomic<bool> over{false};
  std::thread poller([&] {
    while (!over.load()) {
      scene.pool().poll();
      std::this_thread::yield();
    }
  });
  const std::size_t held = scene.survivor.held();
  for (int round = 0; round < 50; ++round) {
    {
      asio::io_context context;
      AsioPool pool(context, scene.pool());
      for (int i = 0; i < 20; ++i) pool.async_get(kBytes, kLong, [](error_code, Buffer) {});
      scene.survivor.put(1);
      context.run_for(std::chrono::milliseconds(round % 3));
    }
    // What had been granted has come back with it.
    CHECK(eventually([&] {
      scene.survivor.keep(scene.pool().get(kBytes, 10ms));
      return scene.survivor.held() >= held;
    }));
  }
  over.store(true);
  poller.join();
  scene.check_nothing_left();
}

TEST_CASE("a handler that throws comes out of run(), and the next run() goes on with the others") {
  Scene scene;
  asio::io_context context;
  AsioPool pool(context, scene.pool());
  int calls = 0;
  for (int i = 0; i < 5; ++i) {
    pool.async_get(kBytes, 10ms, [&](error_code, Buffer) {
      ++calls;
      throw std::runtime_error("of the handler");
    });
  }
  int thrown = 0;
  for (bool more = true; more;) {
    try {
      context.run();
      more = false;
    } catch (const std::runtime_error&) {
      ++thrown;
    }
  }
  CHECK(calls == 5);
  CHECK(thrown == 5);
  scene.check_nothing_left();
}
