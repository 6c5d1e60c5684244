// Buffers on their way from one process to another.

#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <signal.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"
#include "support/pattern.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::ErrorCode;
using zeropool::Handle;
using zeropool::Pool;

namespace {

constexpr const char* kConfig = R"(budget: 64MiB
pools:
  frames:
    classes: [4KiB, 64KiB]
    wait: {timeout: 2s}
)";
constexpr const char* kShortLease = R"(budget: 64MiB
pools:
  frames:
    classes: [4KiB, 64KiB]
    wait: {timeout: 2s}
    handoff: {lease: 200ms}
)";

Pool open_or_throw(const DaemonProcess& daemon) {
  auto pool = daemon.open();
  expect(static_cast<bool>(pool), pool.error().sentence);
  return *pool;
}

}  // namespace

TEST_CASE("bytes and size of a buffer survive the way to another process") {
  const DaemonProcess daemon(kConfig);
  ChildProcess receiver([&](Link& parent) {
    Pool pool = open_or_throw(daemon);
    parent.signal();
    for (std::uint64_t i = 0; i < 1000; ++i) {
      Buffer buffer = pool.adopt(parent.receive<Handle>());
      expect(static_cast<bool>(buffer), buffer.error().sentence);
      expect(buffer.size() == 1 + i * 60, "the size has changed");
      expect(has_pattern(buffer, i, 8), "the bytes have changed");
      expect(buffer.resize(buffer.capacity()), "its capacity is not to be had");
      write_pattern(buffer, ~i, 8);
      parent.send(std::move(buffer).release());
    }
  });
  auto pool = daemon.open();
  REQUIRE(pool);
  receiver.link().await();
  for (std::uint64_t i = 0; i < 1000; ++i) {
    Buffer buffer = pool->get(1 + i * 60);
    REQUIRE(buffer);
    const std::size_t capacity = buffer.capacity();
    write_pattern(buffer, i, 8);
    const Handle handle = std::move(buffer).release();
    REQUIRE(handle);
    CHECK_FALSE(buffer);  // NOLINT(bugprone-use-after-move)
    receiver.link().send(handle);
    Buffer back = pool->adopt(receiver.link().receive<Handle>());
    REQUIRE(back);
    REQUIRE(back.size() == capacity);
    REQUIRE(has_pattern(back, ~i, 8));
  }
  CHECK(receiver.wait().well());
  CHECK(receiver.failure() == "");
  CHECK(daemon.audit()["held"] == 0);
  CHECK(daemon.audit()["in_transit"] == 0);
  CHECK(pool->stats().released == 1000);
  CHECK(pool->stats().adopted == 1000);
}

TEST_CASE("of four processes that race for a handle exactly one gets it") {
  constexpr int kRounds = 500;
  struct Won {
    bool won = false;
    ErrorCode code = ErrorCode::ok;
    bool intact = true;
  };
  const DaemonProcess daemon(kConfig);
  std::vector<std::unique_ptr<ChildProcess>> racers;
  for (int r = 0; r < 4; ++r) {
    racers.push_back(std::make_unique<ChildProcess>([&](Link& parent) {
      Pool pool = open_or_throw(daemon);
      parent.signal();
      for (std::uint64_t i = 0; i < kRounds; ++i) {
        Buffer buffer = pool.adopt(parent.receive<Handle>());
        Won won;
        won.won = static_cast<bool>(buffer);
        won.code = buffer.error_code();
        if (buffer) won.intact = buffer.size() == 4000 && has_pattern(buffer, i);
        parent.send(won);
      }
    }));
  }
  auto pool = daemon.open();
  REQUIRE(pool);
  for (auto& racer : racers) racer->link().await();
  for (std::uint64_t i = 0; i < kRounds; ++i) {
    Buffer buffer = pool->get(4000);
    REQUIRE(buffer);
    write_pattern(buffer, i);
    const Handle handle = std::move(buffer).release();
    for (auto& racer : racers) racer->link().send(handle);
    int winners = 0;
    for (auto& racer : racers) {
      const Won won = racer->link().receive<Won>();
      winners += won.won ? 1 : 0;
      REQUIRE(won.intact);
      REQUIRE((won.won || won.code == ErrorCode::stale_handle));
    }
    REQUIRE(winners == 1);
  }
  for (auto& racer : racers) {
    CHECK(racer->wait().well());
    CHECK(racer->failure() == "");
  }
  CHECK(daemon.metric("zeropool_stale_handles_total") == 3 * kRounds);
  CHECK(daemon.metric("zeropool_adoptions_total") == kRounds);
  CHECK(daemon.metric("zeropool_handoffs_total") == kRounds);
  CHECK(daemon.audit()["in_transit"] == 0);
}

TEST_CASE("the releaser may take it back, once") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  Buffer buffer = pool->get(777);
  std::byte* const where = buffer.data();
  write_pattern(buffer, 4);
  const Handle handle = std::move(buffer).release();
  CHECK(daemon.audit()["in_transit"] == 1);
  Buffer back = pool->adopt(handle);
  REQUIRE(back);
  CHECK(back.data() == where);
  CHECK(back.size() == 777);
  CHECK(has_pattern(back, 4));
  CHECK(pool->adopt(handle).error_code() == ErrorCode::stale_handle);
  const Handle second = std::move(back).release();
  CHECK_FALSE(second == handle);
  CHECK(pool->adopt(handle).error_code() == ErrorCode::stale_handle);
  CHECK(pool->adopt(second));
  CHECK(pool->adopt(second).error_code() == ErrorCode::stale_handle);
  CHECK_FALSE(pool->adopt(second).error().sentence.empty());
  CHECK_FALSE(Buffer().release());  // nothing held: nothing to hand off
}

TEST_CASE("handles out of thin air are stale, and take nobody's buffer") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  Buffer held = pool->get(4096);
  write_pattern(held, 1);
  const Handle in_transit = pool->get(4096).release();
  REQUIRE(in_transit);
  Random random(7);
  for (int i = 0; i < 100000; ++i) {
    Handle forged = in_transit;
    switch (i % 5) {
      case 0: forged.raw = zp_handle{{random(), random()}}; break;
      case 1: forged.raw.word[0] ^= std::uint64_t{1} << random.below(64); break;
      case 2: forged.raw.word[1] ^= std::uint64_t{1} << random.below(64); break;
      case 3: forged.raw.word[0] = random(); break;
      default: forged.raw.word[1] = (forged.raw.word[1] >> 32 << 32) | random.below(1000); break;
    }
    if (forged == in_transit) continue;
    const Buffer buffer = pool->adopt(forged);
    REQUIRE_FALSE(buffer);
    REQUIRE(buffer.error_code() == ErrorCode::stale_handle);
  }
  CHECK(pool->adopt(Handle{}).error_code() == ErrorCode::stale_handle);
  CHECK(has_pattern(held, 1));
  const auto audit = daemon.audit();
  CHECK(audit["held"] == 1);
  CHECK(audit["in_transit"] == 1);
  CHECK(pool->adopt(in_transit));
}

TEST_CASE("what nobody adopts within the lease comes back and is counted") {
  const DaemonProcess daemon(kShortLease);
  auto pool = daemon.open();
  REQUIRE(pool);
  std::vector<Handle> handles;
  for (int i = 0; i < 20; ++i) handles.push_back(pool->get(4096).release());
  CHECK(daemon.audit()["in_transit"] == 20);
  // Not before its time is up.
  CHECK(pool->adopt(handles.back()));
  handles.pop_back();
  CHECK(eventually([&] { return daemon.audit()["in_transit"] == 0; }));
  for (const Handle& handle : handles) {
    CHECK(pool->adopt(handle).error_code() == ErrorCode::stale_handle);
  }
  CHECK(daemon.metric("zeropool_handoffs_expired_total") == 19);
  CHECK(daemon.audit()["lost"] == 0);
  CHECK(daemon.audit()["held"] == 0);
}

TEST_CASE("a lease does not end early") {
  const DaemonProcess daemon(
      "budget: 64MiB\npools: {frames: {classes: [4KiB], handoff: {lease: 2s}}}\n");
  auto pool = daemon.open();
  REQUIRE(pool);
  const auto begin = std::chrono::steady_clock::now();
  const Handle handle = pool->get(4096).release();
  REQUIRE(eventually([&] { return daemon.metric("zeropool_handoffs_expired_total") == 1; }));
  CHECK(std::chrono::steady_clock::now() - begin >= 2s);
  CHECK(pool->adopt(handle).error_code() == ErrorCode::stale_handle);
}

TEST_CASE("a sender may end right after sending") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  for (const bool killed : {false, true}) {
    for (std::uint64_t i = 0; i < 20; ++i) {
      ChildProcess sender([&](Link& parent) {
        Pool its = open_or_throw(daemon);
        Buffer buffer = its.get(3000);
        expect(static_cast<bool>(buffer), buffer.error().sentence);
        write_pattern(buffer, i);
        parent.send(std::move(buffer).release());
        if (killed) ::kill(::getpid(), SIGKILL);
      });
      const Handle handle = sender.link().receive<Handle>();
      CHECK(sender.wait().signal == (killed ? SIGKILL : 0));
      // Also when the daemon knows of the end already.
      if (i % 2 == 0) REQUIRE(eventually([&] { return daemon.clients() == 1; }));
      const Buffer buffer = pool->adopt(handle);
      REQUIRE_MESSAGE(buffer, buffer.error().sentence);
      CHECK(buffer.size() == 3000);
      CHECK(has_pattern(buffer, i));
    }
  }
  CHECK(daemon.metric("zeropool_handoffs_expired_total") == 0);
  CHECK(daemon.audit()["in_transit"] == 0);
}

TEST_CASE("a receiver's death brings back what it had adopted") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  ChildProcess receiver([&](Link& parent) {
    Pool its = open_or_throw(daemon);
    parent.signal();
    std::vector<Buffer> held;
    for (int i = 0; i < 30; ++i) held.push_back(its.adopt(parent.receive<Handle>()));
    parent.signal();
    parent.await();
  });
  receiver.link().await();
  for (int i = 0; i < 30; ++i) receiver.link().send(pool->get(4096).release());
  receiver.link().await();
  CHECK(daemon.audit()["held"] == 30);
  receiver.kill();
  CHECK(eventually([&] { return daemon.audit()["held"] == 0; }));
  CHECK(daemon.audit()["lost"] == 0);
  CHECK(daemon.metric("zeropool_reclaimed_slots_total") >= 30);
}

TEST_CASE("a receiver that was named at release and dies brings back what it had not adopted") {
  const DaemonProcess daemon(kConfig);  // a lease of 60 s would take too long
  auto pool = daemon.open();
  REQUIRE(pool);
  ChildProcess receiver([&](Link& parent) {
    Pool its = open_or_throw(daemon);
    parent.send(its.client_id());
    parent.await();
  });
  const auto id = receiver.link().receive<std::uint32_t>();
  const Handle tied = pool->get(4096).release(id);
  const Handle free = pool->get(4096).release();
  receiver.kill();
  CHECK(eventually([&] { return daemon.audit()["in_transit"] == 1; }));
  CHECK(pool->adopt(tied).error_code() == ErrorCode::stale_handle);
  CHECK(pool->adopt(free));
}

TEST_CASE("a buffer goes round four processes ten thousand times without a copy or a loss") {
  constexpr int kRounds = 2500;
  const DaemonProcess daemon(kConfig);
  std::vector<std::unique_ptr<ChildProcess>> ring;
  int pipes[4][2];
  for (auto& pipe : pipes) REQUIRE(::pipe(pipe) == 0);
  for (int p = 0; p < 4; ++p) {
    ring.push_back(std::make_unique<ChildProcess>([&, p](Link& parent) {
      Pool pool = open_or_throw(daemon);
      if (p == 0) {
        Buffer first = pool.get(8);
        *first.as<std::uint64_t>() = 0;
        const Handle handle = std::move(first).release();
        expect(::write(pipes[0][1], &handle, sizeof(handle)) == sizeof(handle), "write");
      }
      for (int i = 0; i < kRounds; ++i) {
        Handle handle;
        expect(::read(pipes[p][0], &handle, sizeof(handle)) == sizeof(handle), "read");
        Buffer buffer = pool.adopt(handle);
        expect(static_cast<bool>(buffer), buffer.error().sentence);
        ++*buffer.as<std::uint64_t>();
        if (p == 3 && i == kRounds - 1) {
          parent.send(*buffer.as<std::uint64_t>());
          return;
        }
        handle = std::move(buffer).release();
        expect(::write(pipes[(p + 1) % 4][1], &handle, sizeof(handle)) == sizeof(handle), "write");
      }
    }));
  }
  CHECK(ring[3]->link().receive<std::uint64_t>() == 4 * kRounds);
  for (auto& process : ring) {
    CHECK(process->wait().well());
    CHECK(process->failure() == "");
  }
  for (auto& pipe : pipes) {
    ::close(pipe[0]);
    ::close(pipe[1]);
  }
  CHECK(becomes_all_free(daemon));
}
