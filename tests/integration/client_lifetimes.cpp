// Buffers, pools and threads that end in every order.

#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"
#include "support/pattern.hpp"

using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::ErrorCode;
using zeropool::Pool;

namespace {

constexpr const char* kConfig =
    "budget: 64MiB\npools: {frames: {classes: [4KiB, 64KiB], wait: {timeout: 2s}}}\n";

thread_local Buffer of_the_thread;

}  // namespace

TEST_CASE("a buffer that outlives its pool stays valid, and ends the attachment when it is put") {
  const DaemonProcess daemon(kConfig);
  Buffer last;
  {
    auto pool = daemon.open();
    REQUIRE(pool);
    last = pool->get(4096);
    REQUIRE(last);
    write_pattern(last, 1);
  }
  CHECK(daemon.clients() == 1);
  CHECK(daemon.audit()["held"] == 1);
  CHECK(has_pattern(last, 1));
  CHECK(last.capacity() == 4096);
  CHECK(last.resize(10));
  last.reset();
  CHECK(eventually([&] { return daemon.clients() == 0; }));
  CHECK(all_free(daemon.audit()));
}

TEST_CASE("many buffers that outlive their pool are put by many threads") {
  const DaemonProcess daemon(kConfig);
  std::vector<std::vector<Buffer>> held(4);
  {
    auto pool = daemon.open();
    REQUIRE(pool);
    for (auto& of_thread : held) {
      for (int i = 0; i < 100; ++i) of_thread.push_back(pool->get(4096));
    }
  }
  std::vector<std::thread> threads;
  for (auto& of_thread : held) threads.emplace_back([&] { of_thread.clear(); });
  for (std::thread& thread : threads) thread.join();
  CHECK(eventually([&] { return daemon.clients() == 0; }));
  CHECK(all_free(daemon.audit()));
}

TEST_CASE("a pool opened again while buffers of the former opening are out goes on with them") {
  const DaemonProcess daemon(kConfig);
  Buffer old;
  {
    auto pool = daemon.open();
    REQUIRE(pool);
    old = pool->get(4096);
    write_pattern(old, 1);
  }
  auto again = daemon.open();
  REQUIRE(again);
  CHECK(daemon.clients() == 1);
  for (std::uint64_t i = 0; i < 1000; ++i) {
    Buffer fresh = again->get(4096);
    REQUIRE(fresh);
    REQUIRE(fresh.data() != old.data());
  }
  CHECK(has_pattern(old, 1));
  CHECK(again->stats().tls_hits > 900);  // its caches work again
  old.reset();
  CHECK(again->get(1));
  CHECK(daemon.audit()["held"] == 0);
}

TEST_CASE("a pool closed and opened again a hundred times works each time") {
  const DaemonProcess daemon(kConfig);
  for (int i = 0; i < 100; ++i) {
    auto pool = daemon.open();
    REQUIRE_MESSAGE(pool, pool.error().sentence);
    Buffer buffer = pool->get(65536);
    REQUIRE_MESSAGE(buffer, buffer.error().sentence);
    write_pattern(buffer, 1);
    REQUIRE(has_pattern(buffer, 1));
  }
  CHECK(becomes_all_free(daemon));
  CHECK(daemon.clients() == 0);
}

TEST_CASE("copies of a pool are one pool, alive until the last is gone") {
  const DaemonProcess daemon(kConfig);
  std::optional<Pool> copy;
  {
    auto pool = daemon.open();
    REQUIRE(pool);
    copy = *pool;
    Pool third = *copy;
    third = third;  // NOLINT: a self-assignment is the test
    Pool moved = std::move(third);
    CHECK_FALSE(third);  // NOLINT(bugprone-use-after-move)
    CHECK(moved.client_id() == pool->client_id());
    CHECK(moved.get(1));
  }
  CHECK(daemon.clients() == 1);
  CHECK(copy->get(1));
  copy.reset();
  CHECK(eventually([&] { return daemon.clients() == 0; }));
}

TEST_CASE("a default-made pool refuses, and harms nothing") {
  Pool nothing;
  CHECK_FALSE(nothing);
  const Pool copy = nothing;
  CHECK_FALSE(copy);
  CHECK(zp_client_id(nothing.c_pool()) == 0);
}

TEST_CASE("a thread_local buffer of a dying thread is given back") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  for (int round = 0; round < 20; ++round) {
    std::thread([&] {
      of_the_thread = pool->get(4096);  // destroyed before or after the library's own state
      CHECK(of_the_thread);
    }).join();
  }
  CHECK(daemon.audit()["held"] == 0);
  CHECK(daemon.audit()["lost"] == 0);
  CHECK(pool->stats().puts == 20);
}

TEST_CASE("a thread that touched the buffer before the pool gives it back as well") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  std::thread([&] {
    of_the_thread.reset();  // its destructor is registered first, so it runs last
    Buffer early = pool->get(4096);
    of_the_thread = std::move(early);
  }).join();
  CHECK(daemon.audit()["held"] == 0);
  CHECK(pool->get(1));
}

TEST_CASE(
    "a process that ends by exit with static pools and buffers ends well and leaves nothing") {
  const DaemonProcess daemon(kConfig);
  for (const bool pool_first : {true, false}) {
    ChildProcess child([&](Link& parent) {
      // As static objects of a program: destroyed by exit(), in this order or the other.
      static std::unique_ptr<Pool> pool;
      static std::unique_ptr<std::vector<Buffer>> buffers;
      pool = std::make_unique<Pool>(daemon.open().value());
      buffers = std::make_unique<std::vector<Buffer>>();
      for (int i = 0; i < 50; ++i) buffers->push_back(pool->get(4096));
      static bool first;
      first = pool_first;
      std::atexit([] {
        if (first) pool.reset();
        buffers.reset();
        pool.reset();
      });
      std::thread worker([&] { expect(static_cast<bool>(pool->get(1)), "no buffer"); });
      worker.join();
      parent.signal();
      std::exit(0);
    });
    child.link().await();
    const End end = child.wait();
    CHECK_MESSAGE(end.well(), describe(end));
    CHECK(becomes_all_free(daemon));
    CHECK(daemon.clients() == 0);
  }
}

TEST_CASE("a process that ends without a word leaves nothing") {
  const DaemonProcess daemon(kConfig);
  const auto outcome = run_in_child<int>([&] {
    auto pool = daemon.open();
    expect(static_cast<bool>(pool), "not opened");
    static Buffer held;
    held = pool->get(4096);
    static Pool kept = *pool;
    return held ? 1 : 0;
  });
  CHECK(outcome.value == 1);
  CHECK(outcome.end.well());
  CHECK(becomes_all_free(daemon));
  CHECK(eventually([&] { return daemon.clients() == 0; }));
}
