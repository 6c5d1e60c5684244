// Clients that fork: what the child inherits is inert, and it has its own at first use.

#include <atomic>
#include <memory>
#include <signal.h>
#include <sys/wait.h>
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

constexpr const char* kConfig =
    "budget: 128MiB\npools: {frames: {classes: [4KiB, 64KiB], wait: {timeout: 5s}}}\n";

// Gets and puts with patterns; what went wrong, or an empty text.
std::string work(Pool& pool, std::uint64_t seed, int rounds) {
  Random random(seed);
  for (int i = 0; i < rounds; ++i) {
    const std::uint64_t mark = random();
    Buffer one = pool.get(1 + random.below(65536));
    Buffer two = pool.get(4096);
    if (!one || !two) return "no buffer: " + std::string(zp_last_error());
    write_pattern(one, mark);
    write_pattern(two, ~mark);
    if (!has_pattern(one, mark) || !has_pattern(two, ~mark)) return "a pattern is broken";
  }
  return {};
}

}  // namespace

TEST_CASE("a buffer inherited by fork is inert in the child") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  Buffer held = pool->get(4096);
  Buffer moved = pool->get(4096);
  Buffer batched[2] = {pool->get(1), pool->get(1)};
  write_pattern(held, 1);
  write_pattern(moved, 2);
  for (const bool uses_the_pool_first : {false, true}) {
    ChildProcess child([&](Link&) {
      if (uses_the_pool_first) expect(static_cast<bool>(pool->get(4096)), "no buffer of its own");
      held.reset();
      moved = Buffer();
      pool->put_batch(batched);
    });
    CHECK(child.wait().well());
    CHECK(child.failure() == "");
    CHECK(eventually([&] { return daemon.clients() == 1; }));
    CHECK(daemon.audit()["held"] == 4);
    CHECK(has_pattern(held, 1));
    CHECK(has_pattern(moved, 2));
  }
  for (int i = 0; i < 100; ++i) {
    const Buffer fresh = pool->get(4096);
    CHECK(fresh.data() != held.data());
    CHECK(fresh.data() != moved.data());
  }
  held.reset();
  moved.reset();
  pool->put_batch(batched);
  CHECK(daemon.audit()["held"] == 0);
}

TEST_CASE("the C functions refuse an inherited buffer with wrong_process") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  zp_buffer held;
  REQUIRE(zp_get(pool->c_pool(), 1, &held) == ZP_OK);
  struct Codes {
    int put_before = 0, release = 0, put_after = 0, put_ptr = 0;
  };
  const auto outcome = run_in_child<Codes>([&] {
    Codes codes;
    zp_buffer copy = held;
    codes.put_before = zp_put(&copy);
    codes.put_ptr = zp_put_ptr(pool->c_pool(), held.data);
    zp_buffer own;
    expect(zp_get(pool->c_pool(), 1, &own) == ZP_OK, zp_last_error());
    copy = held;
    codes.put_after = zp_put(&copy);
    copy = held;
    zp_handle handle;
    codes.release = zp_release(&copy, 0, &handle);
    expect(zp_put(&own) == ZP_OK, zp_last_error());
    return codes;
  });
  CHECK(outcome.end.well());
  CHECK(outcome.failure == "");
  CHECK(outcome.value.put_before == ZP_WRONG_PROCESS);
  CHECK(outcome.value.put_ptr == ZP_WRONG_PROCESS);
  CHECK(outcome.value.put_after == ZP_WRONG_PROCESS);
  CHECK(outcome.value.release == ZP_WRONG_PROCESS);
  CHECK(daemon.audit()["held"] == 1);
  CHECK(zp_put(&held) == ZP_OK);
}

TEST_CASE("touching an inherited buffer's memory is a segmentation fault") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  Buffer held = pool->get(4096);
  write_pattern(held, 1);
  for (const bool write : {false, true}) {
    ChildProcess child([&](Link&) {
      volatile std::byte* at = held.data();
      if (write) {
        *at = std::byte{1};
      } else {
        static_cast<void>(*at);
      }
    });
    CHECK(child.wait().signal == SIGSEGV);
  }
  CHECK(has_pattern(held, 1));
  CHECK(daemon.audit()["held"] == 1);
}

TEST_CASE("a forked child attaches anew at first use, as a client of its own") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  const std::uint32_t id = pool->client_id();
  Buffer warm = pool->get(4096);  // the parent's thread has a cache
  ChildProcess child([&](Link& parent) {
    parent.await();
    Buffer buffer = pool->get(4096);
    expect(static_cast<bool>(buffer), buffer.error().sentence);
    write_pattern(buffer, 2);
    parent.send(pool->client_id());
    parent.await();
    expect(has_pattern(buffer, 2), "the bytes have changed");
    expect(pool->stats().gets == 1, "it counts the parent's gets");
  });
  CHECK(daemon.clients() == 1);  // not before its first use
  child.link().signal();
  CHECK(child.link().receive<std::uint32_t>() != id);
  CHECK(daemon.clients() == 2);
  CHECK(pool->client_id() == id);
  for (int i = 0; i < 100; ++i) {
    Buffer mine = pool->get(4096);
    REQUIRE(mine);
    write_pattern(mine, 3);
  }
  child.link().signal();
  CHECK(child.wait().well());
  CHECK(child.failure() == "");
  CHECK(eventually([&] { return daemon.audit()["held"] == 1; }));
}

TEST_CASE("a child that lets go of its inherited pool leaves the parent's alone") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  Buffer held = pool->get(4096);
  ChildProcess child([&](Link&) {
    *pool = Pool();
    auto own = daemon.open();
    expect(static_cast<bool>(own), own.error().sentence);
    expect(work(*own, 1, 100).empty(), "its own pool does not work");
  });
  CHECK(child.wait().well());
  CHECK(child.failure() == "");
  CHECK(eventually([&] { return daemon.clients() == 1; }));
  CHECK(daemon.audit()["held"] == 1);
  CHECK(work(*pool, 2, 1000) == "");
}

TEST_CASE("a prefork server: four children serve from the pool that was opened before") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  REQUIRE(work(*pool, 1, 100) == "");
  std::vector<std::unique_ptr<ChildProcess>> children;
  for (std::uint64_t c = 0; c < 4; ++c) {
    children.push_back(std::make_unique<ChildProcess>([&, c](Link& parent) {
      for (std::uint64_t i = 0; i < 300; ++i) {
        Buffer buffer = pool->adopt(parent.receive<Handle>());
        expect(static_cast<bool>(buffer), buffer.error().sentence);
        expect(has_pattern(buffer, i), "the parent's bytes are not there");
        write_pattern(buffer, c * 1000 + i);
        parent.send(std::move(buffer).release());
      }
      std::string failure;
      std::thread other([&] { failure = work(*pool, c, 2000); });
      const std::string mine = work(*pool, c + 100, 2000);
      other.join();
      expect(failure.empty() && mine.empty(), failure + mine);
    }));
  }
  for (std::uint64_t i = 0; i < 300; ++i) {
    for (auto& child : children) {
      Buffer buffer = pool->get(20000);
      REQUIRE(buffer);
      write_pattern(buffer, i);
      child->link().send(std::move(buffer).release());
    }
    for (std::uint64_t c = 0; c < 4; ++c) {
      const Buffer buffer = pool->adopt(children[c]->link().receive<Handle>());
      REQUIRE(buffer);
      REQUIRE(has_pattern(buffer, c * 1000 + i));
    }
  }
  for (auto& child : children) {
    CHECK(child->wait().well());
    CHECK(child->failure() == "");
  }
  CHECK(work(*pool, 5, 100) == "");
  CHECK(eventually([&] { return daemon.clients() == 1; }));
  CHECK(daemon.audit()["held"] == 0);
}

TEST_CASE("a fork while other threads get and put stops nobody") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  std::atomic<bool> stop{false};
  std::string failures[3];
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      while (!stop) failures[t] += work(*pool, t, 50);
      if (t == 0) return;
    });
  }
  // One that opens and ends caches all the time: the library's locks are taken often.
  threads.emplace_back([&] {
    while (!stop) std::thread([&] { pool->get(1); }).join();
  });
  for (std::uint64_t i = 0; i < 40; ++i) {
    ChildProcess child([&](Link&) {
      const std::string failure = work(*pool, i, 50);
      expect(failure.empty(), failure);
    });
    const End end = child.wait(20s);
    REQUIRE_MESSAGE(end.well(), describe(end));
    REQUIRE(child.failure() == "");
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  for (const std::string& failure : failures) CHECK(failure == "");
  CHECK(eventually([&] { return daemon.clients() == 1; }));
  CHECK(daemon.audit()["held"] == 0);
  CHECK(daemon.audit()["lost"] == 0);
}

TEST_CASE("a child of a child has its own as well") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  Buffer held = pool->get(1);
  ChildProcess child([&](Link&) {
    Buffer of_child = pool->get(1);
    expect(static_cast<bool>(of_child), "no buffer in the child");
    ChildProcess grandchild([&](Link&) {
      held.reset();
      of_child.reset();
      const std::string failure = work(*pool, 1, 100);
      expect(failure.empty(), failure);
      expect(daemon.clients() == 3, "not a client of its own");
    });
    expect(grandchild.wait().well(), "the grandchild: " + grandchild.failure());
    expect(daemon.audit()["held"] == 2, "an inherited buffer was put");
  });
  CHECK(child.wait().well());
  CHECK(child.failure() == "");
  CHECK(eventually([&] { return daemon.audit()["held"] == 1; }));
}

TEST_CASE("a daemonised grandchild goes on when the processes between have ended") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  REQUIRE(work(*pool, 1, 10) == "");
  ChildProcess child([&](Link& parent) {
    // Not ChildProcess: that one would die with its parent.
    const pid_t grandchild = ::fork();
    if (grandchild != 0) ::_exit(0);
    parent.await();
    const bool works = work(*pool, 2, 100).empty();
    parent.send(works);
    ::_exit(0);
  });
  CHECK(child.wait().well());
  child.link().signal();
  CHECK(child.link().receive<bool>());
  CHECK(eventually([&] { return daemon.clients() == 1; }));
  CHECK(daemon.audit()["held"] == 0);
}

TEST_CASE("a process that becomes another program gives back what it held") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  ChildProcess child([&](Link& parent) {
    static std::vector<Buffer> held;
    for (int i = 0; i < 40; ++i) held.push_back(pool->get(4096));
    parent.signal();
    parent.await();
    ::execl("/bin/sleep", "sleep", "60", static_cast<char*>(nullptr));
    ::_exit(1);
  });
  child.link().await();
  CHECK(daemon.audit()["held"] == 40);
  child.link().signal();
  CHECK(eventually([&] { return daemon.audit()["held"] == 0; }));
  CHECK(eventually([&] { return daemon.clients() == 1; }));
  CHECK(::kill(child.pid(), 0) == 0);  // it lives on
  CHECK(daemon.audit()["lost"] == 0);
}

TEST_CASE("a dead parent's buffers come back though its child has its descriptors open") {
  const DaemonProcess daemon(kConfig);
  pid_t orphan = 0;
  {
    ChildProcess parent([&](Link& test) {
      auto pool = daemon.open();
      expect(static_cast<bool>(pool), pool.error().sentence);
      std::vector<Buffer> held(30);
      for (Buffer& buffer : held) buffer = pool->get(4096);
      const pid_t child = ::fork();
      if (child == 0) {
        ::pause();  // never uses the pool
        ::_exit(0);
      }
      test.send(child);
      test.await();
    });
    orphan = parent.link().receive<pid_t>();
    CHECK(daemon.audit()["held"] == 30);
    parent.kill();
  }
  CHECK(becomes_all_free(daemon));
  CHECK(eventually([&] { return daemon.clients() == 0; }));
  CHECK(::kill(orphan, 0) == 0);
  ::kill(orphan, SIGKILL);
}

TEST_CASE(
    "a worker that changed its user attaches by the descriptor opened before, and its death is "
    "seen") {
  const DaemonProcess daemon(kConfig);
  const int fd = zp_open_fd(daemon.socket().c_str());
  REQUIRE(fd >= 0);
  ChildProcess worker([&](Link& test) {
    // Without permission to connect by itself, where the test may give that up.
    if (::geteuid() == 0) expect(::setuid(65534) == 0, "setuid");
    zeropool::OpenOptions options;
    options.fd = fd;
    auto pool = Pool::open("frames", options);
    expect(static_cast<bool>(pool), pool.error().sentence);
    std::vector<Buffer> held(10);
    for (Buffer& buffer : held) buffer = pool->get(4096);
    expect(static_cast<bool>(held.back()), "no buffer");
    test.signal();
    test.await();
  });
  worker.link().await();
  CHECK(daemon.audit()["held"] == 10);
  // The connection stays open here, and so does the process that made it: only the worker's end counts.
  worker.kill();
  CHECK(becomes_all_free(daemon));
  CHECK(eventually([&] { return daemon.clients() == 0; }));
  ::close(fd);
}
