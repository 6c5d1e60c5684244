// Async gets and the end of processes: the daemon's, with and without another one after it; the client's; and forks.

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/async.hpp>
#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"
#include "support/pump.hpp"
#include "support/segment_view.hpp"
#include "support/survivor.hpp"
#include "support/task.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::ErrorCode;
using zeropool::Pool;
namespace lib = zeropool::lib;

namespace {

constexpr std::size_t kBytes = 64 * 1024;
constexpr const char* kConfig =
    "budget: 32MiB\n"
    "limits: {clients: 16, threads: 64}\n"
    "pages: {size: [4KiB]}\n"
    "pools:\n"
    "  frames: {classes: [64KiB], wait: {timeout: 200s, orders: 10000}}\n";

struct Counts {
  std::uint64_t got = 0;
  std::uint64_t no_daemon = 0;
  std::uint64_t other = 0;
  std::uint64_t ended() const { return got + no_daemon + other; }
};

Task get(Pool& pool, Counts& counts) {
  const Buffer buffer = co_await pool.async_get(kBytes);
  if (buffer) {
    ++counts.got;
  } else if (buffer.error_code() == ErrorCode::no_daemon) {
    ++counts.no_daemon;
  } else {
    ++counts.other;
  }
}

std::vector<Task> suspend(Pool& pool, std::size_t count, Counts& counts) {
  std::vector<Task> tasks;
  for (std::size_t i = 0; i < count; ++i) tasks.push_back(get(pool, counts));
  return tasks;
}

std::uint64_t waiting(const DaemonProcess& daemon) {
  return daemon.pool()["orders_waiting"].get<std::uint64_t>();
}

struct Scene {
  Scene() : survivor(*daemon.open(), kBytes) {
    survivor.fill_pool();
    expect(survivor.held() >= 8, "the pool is too small");
    segment.emplace();
    most = survivor.held();
  }
  Pool& pool() { return survivor.pool(); }
  void check_nothing_left() {
    CHECK(eventually([&] { return waiting(daemon) == 0; }));
    survivor.put_all();
    CHECK(survivor.fill_pool() >= most);
    CHECK(survivor.intact());
    CHECK(segment->audit().clean());
    CHECK(daemon.audit()["lost"] == 0);
  }

  DaemonProcess daemon{kConfig};
  Survivor survivor;
  std::optional<SegmentView> segment;
  std::size_t most = 0;
};

}  // namespace

TEST_CASE(
    "a daemon that is killed with ten thousand suspended is followed by one that grants them all") {
  Scene scene;
  Counts counts;
  std::vector<Task> tasks = suspend(scene.pool(), 10'000, counts);
  REQUIRE(eventually([&] { return waiting(scene.daemon) > 1000; }, 30s));
  // Some were granted, and not told, when it is killed.
  scene.survivor.put(2);
  scene.daemon.kill9();
  scene.survivor.put(2);
  scene.daemon.start_again();
  CHECK(pump(
      scene.pool(), [&] { return counts.ended() == 10'000; }, 120s));
  CHECK(counts.got == 10'000);
  for (const Task& task : tasks) REQUIRE(task.done());
  tasks.clear();
  scene.check_nothing_left();
}

TEST_CASE("without a daemon those who wait are told so after the grace, all of them") {
  Scene scene;
  Counts counts;
  std::vector<Task> tasks = suspend(scene.pool(), 10'000, counts);
  REQUIRE(eventually([&] { return waiting(scene.daemon) > 1000; }, 30s));
  scene.daemon.kill9();
  CHECK(pump(
      scene.pool(), [&] { return counts.ended() == 10'000; }, 60s));
  CHECK(counts.no_daemon == 10'000);
  // And at once who comes later.
  Counts late;
  const Task task = get(scene.pool(), late);
  CHECK(late.no_daemon == 1);
  tasks.clear();
  scene.daemon.start_again();
  scene.check_nothing_left();
}

TEST_CASE(
    "a client that is killed with thousands suspended leaves nothing, whatever was granted to it") {
  Scene scene;
  ChildProcess child([&](Link& parent) {
    auto pool = scene.daemon.open();
    expect(static_cast<bool>(pool), "open");
    Counts counts;
    const std::vector<Task> tasks = suspend(*pool, 5'000, counts);
    parent.send(char{1});
    parent.await();  // it never polls
  });
  child.link().await();
  // As many as found a cell: it does not poll, so no more are posted.
  std::size_t posted = 0;
  const lib::ControlView& control = scene.segment->control();
  for (std::uint32_t n = 0; n < control.header().orders_published.load(); ++n) {
    const lib::OrderWord word{control.order(n).word.load()};
    if (word.state() == lib::OrderState::kPosted) ++posted;
  }
  REQUIRE(posted >= 32);
  REQUIRE(eventually([&] { return waiting(scene.daemon) == posted; }, 30s));
  scene.survivor.put(4);
  REQUIRE(eventually([&] { return waiting(scene.daemon) < posted; }, 30s));
  child.kill();
  scene.check_nothing_left();
}

TEST_CASE("a forked child has none of its parent's gets, and others of its own") {
  Scene scene;
  Counts counts;
  const int events = scene.pool().event_fd();
  std::vector<Task> tasks = suspend(scene.pool(), 100, counts);
  ChildProcess child([&](Link& parent) {
    // Before it has attached: nothing to do, and destroying the parent's frames touches nothing.
    expect(scene.pool().poll() == 0, "the child has nothing to poll");
    for (std::size_t i = 0; i < 50; ++i) tasks[i].destroy();
    expect(counts.ended() == 0, "a parent's get ended in the child");
    Counts own;
    const Task mine = get(scene.pool(), own);
    expect(own.ended() == 0, "the child waits");
    expect(scene.pool().event_fd() >= 0, "it has a descriptor");
    for (std::size_t i = 50; i < 100; ++i) tasks[i].destroy();
    parent.send(char{1});
    expect(pump(
               scene.pool(), [&] { return own.ended() == 1; }, 60s),
           "the child's get ends");
    expect(own.got == 1, "and is granted");
    parent.send(char{2});
    parent.await();
  });
  child.link().await();
  CHECK(waiting(scene.daemon) == 101);
  scene.survivor.put(2);
  CHECK(pump(
      scene.pool(), [&] { return counts.ended() == 100; }, 60s));
  CHECK(counts.got == 100);
  CHECK(scene.pool().event_fd() == events);
  child.link().await();
  child.link().send(char{1});
  CHECK(child.wait().well());
  CHECK(child.failure() == "");
  tasks.clear();
  scene.check_nothing_left();
}

TEST_CASE("a daemon that stops in order refuses those who wait") {
  Scene scene;
  Counts counts;
  std::vector<Task> tasks = suspend(scene.pool(), 100, counts);
  REQUIRE(eventually([&] { return waiting(scene.daemon) == 100; }, 30s));
  CHECK(scene.daemon.stop().well());
  CHECK(pump(
      scene.pool(), [&] { return counts.ended() == 100; }, 60s));
  CHECK(counts.got == 0);
}
