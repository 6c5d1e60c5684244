// A daemon that is not there, goes away, stops, or comes back.

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <dirent.h>
#include <filesystem>
#include <poll.h>
#include <signal.h>
#include <string>
#include <sys/stat.h>
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
using zeropool::OpenOptions;
using zeropool::Pool;

namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kConfig =
    "budget: 48MiB\npools: {frames: {classes: [4KiB, 1MiB], wait: {timeout: 30s}}}\n";

std::vector<Buffer> take_all(Pool& pool, std::size_t bytes) {
  std::vector<Buffer> held;
  for (;;) {
    Buffer buffer = pool.get(bytes, 100ms);
    if (!buffer) return held;
    held.push_back(std::move(buffer));
  }
}

std::size_t entries_named_zeropool(const char* folder) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().filename().string().find("zeropool") != std::string::npos) ++count;
  }
  return count;
}

}  // namespace

TEST_CASE("without a daemon open says which path was tried and what to do") {
  const TemporaryFolder folder;
  OpenOptions options;
  options.socket = folder.path() + "/nobody.sock";
  auto pool = Pool::open("frames", options);
  REQUIRE_FALSE(pool);
  CHECK(pool.error().code == ErrorCode::no_daemon);
  CHECK(std::string(pool.error().name()) == "no_daemon");
  CHECK(pool.error().sentence.find(options.socket) != std::string::npos);
  CHECK(pool.error().sentence.find("start") != std::string::npos);

  ::setenv("ZEROPOOL_SOCKET", "/nowhere/from/environment.sock", 1);
  auto by_environment = Pool::open("frames");
  ::unsetenv("ZEROPOOL_SOCKET");
  REQUIRE_FALSE(by_environment);
  CHECK(by_environment.error().sentence.find("/nowhere/from/environment.sock") !=
        std::string::npos);

  options.socket = "/" + std::string(300, 'x');
  auto too_long = Pool::open("frames", options);
  REQUIRE_FALSE(too_long);
  CHECK(too_long.error().code == ErrorCode::no_daemon);
}

TEST_CASE("a socket where nobody answers is given up in the time allowed") {
  const DaemonProcess daemon(kConfig);
  ::kill(daemon.pid(), SIGSTOP);
  OpenOptions options = daemon.options();
  options.timeout = 300ms;
  const auto begin = Clock::now();
  auto pool = Pool::open("frames", options);
  const auto took = Clock::now() - begin;
  ::kill(daemon.pid(), SIGCONT);
  REQUIRE_FALSE(pool);
  CHECK(pool.error().code == ErrorCode::timed_out);
  CHECK(took >= 300ms);
  CHECK(took < 2s);
  CHECK(Pool::open("frames", options));
}

TEST_CASE("clients of a killed daemon go on by their caches and the ring") {
  DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  Buffer held = pool->get(1 << 20);
  write_pattern(held, 1);
  std::size_t there = 0;
  std::thread([&] {  // a thread that ends: its slots lie in the ring
    std::vector<Buffer> some(200);
    for (Buffer& buffer : some) buffer = pool->get(4096);
    there = some.size();
  })
      .join();
  daemon.kill9();

  for (std::uint64_t i = 0; i < 20000; ++i) {
    Buffer buffer = pool->get(4096);
    REQUIRE(buffer);
    write_pattern(buffer, i, 1024);
    REQUIRE(has_pattern(buffer, i, 1024));
  }
  std::vector<Buffer> drained;
  for (std::size_t i = 0; i < there; ++i) {
    drained.push_back(pool->get(4096));
    REQUIRE(drained.back());
  }
  // New threads work as well.
  drained.clear();
  std::thread([&] {
    for (int i = 0; i < 100; ++i) CHECK(pool->get(4096));
  }).join();
  // So do hand-offs.
  const zeropool::Handle handle = pool->get(100).release();
  REQUIRE(handle);
  CHECK(pool->adopt(handle));
  CHECK(has_pattern(held, 1));

  for (;;) {
    const auto begin = Clock::now();
    Buffer buffer = pool->get(4096);
    if (buffer) {
      drained.push_back(std::move(buffer));
      REQUIRE(drained.size() < 100000);
      continue;
    }
    CHECK(buffer.error_code() == ErrorCode::no_daemon);
    CHECK(buffer.error().sentence.find(daemon.socket()) != std::string::npos);
    CHECK(Clock::now() - begin < 6s);
    break;
  }
  const auto again = Clock::now();
  CHECK(pool->get(4096).error_code() == ErrorCode::no_daemon);
  CHECK(Clock::now() - again < 3s);
  drained.pop_back();
  CHECK(pool->get(4096));  // what is put can be got

  const auto close = Clock::now();
  drained.clear();
  held.reset();
  *pool = Pool();
  CHECK(Clock::now() - close < 3s);
}

TEST_CASE("a get that waits when the daemon is killed ends with no_daemon, soon") {
  DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  std::vector<Buffer> held = take_all(*pool, 1 << 20);
  REQUIRE(!held.empty());
  ErrorCode code = ErrorCode::ok;
  std::string sentence;
  Clock::duration took{};
  std::thread waiter([&] {
    const Buffer buffer = pool->get(1 << 20, 60s);
    const auto ended = Clock::now();
    code = buffer.error_code();
    sentence = buffer.error().sentence;
    took = ended.time_since_epoch();
  });
  REQUIRE(eventually([&] { return daemon.pool()["orders_waiting"] == 1; }));
  daemon.kill9();
  const auto killed = Clock::now().time_since_epoch();
  waiter.join();
  CHECK(code == ErrorCode::no_daemon);
  CHECK(sentence.find(daemon.socket()) != std::string::npos);
  CHECK(took - killed < 6s);
  write_pattern(held[0], 3);
  CHECK(has_pattern(held[0], 3));
}

TEST_CASE("a daemon that is told to stop exits with 0 and leaves nothing but what clients hold") {
  const std::size_t before = entries_named_zeropool("/dev/shm");
  DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  std::vector<Buffer> held = take_all(*pool, 1 << 20);
  REQUIRE(!held.empty());
  for (std::size_t i = 0; i < held.size(); ++i) write_pattern(held[i], i, 4096);

  std::atomic<int> ended{0};
  ErrorCode codes[3] = {};
  std::string sentences[3];
  std::vector<std::thread> waiters;
  for (int t = 0; t < 3; ++t) {
    waiters.emplace_back([&, t] {
      const Buffer buffer = pool->get(1 << 20, 60s);
      codes[t] = buffer.error_code();
      sentences[t] = buffer.error().sentence;
      ++ended;
    });
  }
  REQUIRE(eventually([&] { return daemon.pool()["orders_waiting"] == 3; }));
  const pid_t pid = daemon.pid();
  const auto begin = Clock::now();
  const End end = daemon.stop();
  CHECK_MESSAGE(end.well(), describe(end));
  for (std::thread& waiter : waiters) waiter.join();
  CHECK(Clock::now() - begin < 5s);
  CHECK(ended == 3);
  for (int t = 0; t < 3; ++t) {
    CHECK(codes[t] == ErrorCode::stopping);
    CHECK(sentences[t].find("stopping") != std::string::npos);
  }

  for (std::size_t i = 0; i < held.size(); ++i) {
    REQUIRE(has_pattern(held[i], i, 4096));
    write_pattern(held[i], ~i, 4096);
    REQUIRE(has_pattern(held[i], ~i, 4096));
  }
  const Buffer refused = pool->get(1 << 20, 60s);
  CHECK((refused.error_code() == ErrorCode::stopping ||
         refused.error_code() == ErrorCode::no_daemon));
  held.pop_back();
  CHECK(pool->get(1 << 20));

  CHECK(::kill(pid, 0) != 0);
  struct stat info {};
  CHECK(::stat(daemon.socket().c_str(), &info) != 0);
  CHECK(entries_named_zeropool("/dev/shm") == before);
  auto reopened = Pool::open("other", daemon.options());
  CHECK(reopened.error().code == ErrorCode::no_daemon);
  CHECK(daemon.log().find("stopping") != std::string::npos);
}

TEST_CASE("the event descriptor of a client whose daemon was stopped does not stay readable") {
  DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  pollfd look{pool->event_fd(), POLLIN, 0};
  REQUIRE(look.fd >= 0);
  CHECK(daemon.stop().well());
  CHECK(eventually([&] {
    pool->poll();
    return ::poll(&look, 1, 50) == 0;
  }));
}

TEST_CASE("SIGINT stops it as well, and a stop in the middle of much work is clean") {
  DaemonProcess daemon(kConfig);
  ChildProcess busy([&](Link& parent) {
    auto pool = daemon.open();
    expect(static_cast<bool>(pool), pool.error().sentence);
    parent.signal();
    for (std::uint64_t i = 0;; ++i) {
      Buffer small = pool->get(4096);
      Buffer large = pool->get(1 << 20, 10ms);
      if (!small) return;
      write_pattern(small, i);
      expect(has_pattern(small, i), "a pattern is broken");
      if (zp_last_error_code() == ZP_STOPPING || zp_last_error_code() == ZP_NO_DAEMON) return;
      if (i > 200000) return;
    }
  });
  busy.link().await();
  daemon.send(SIGINT);
  const End end = daemon.stop();
  CHECK_MESSAGE(end.well(), describe(end));
  CHECK(busy.wait().well());
  CHECK(busy.failure() == "");
}

TEST_CASE("a daemon starts again where one was killed, and clients open it anew") {
  DaemonProcess daemon(kConfig);
  auto old = daemon.open();
  REQUIRE(old);
  Buffer held = old->get(4096);
  write_pattern(held, 1);
  daemon.kill9();
  struct stat info {};
  REQUIRE(::stat(daemon.socket().c_str(), &info) == 0);  // what it had no time to remove
  daemon.start_again();
  held.reset();
  *old = Pool();
  auto anew = daemon.open();
  REQUIRE_MESSAGE(anew, anew.error().sentence);
  CHECK(anew->get(4096));
  CHECK(daemon.audit()["held"] == 0);
}

TEST_CASE("a second daemon at the same socket is refused, the first goes on") {
  const DaemonProcess daemon(kConfig);
  ProgramOptions options;
  options.arguments = {daemon_program(), "--config", daemon.config_path()};
  const CommandResult second = run_command(options);
  CHECK(second.exit_code == 1);
  CHECK(second.err.find(daemon.socket()) != std::string::npos);
  auto pool = daemon.open();
  REQUIRE(pool);
  CHECK(pool->get(1));
  CHECK(daemon.ctl({"status"}).exit_code == 0);
}

TEST_CASE("zeropoolctl without a daemon says so, with the path and an exit code of its own") {
  DaemonProcess daemon(kConfig);
  CHECK(daemon.ctl({"status"}).exit_code == 0);
  daemon.stop();
  const CommandResult result = daemon.ctl({"status"});
  CHECK(result.exit_code != 0);
  CHECK(result.err.find(daemon.socket()) != std::string::npos);
}
