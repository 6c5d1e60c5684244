// Very many async gets at once: more than the pool has order cells. All are granted, or cancelled, or told; who blocks beside
// them is served in its turn; nothing is lost, and nothing is resumed twice.

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/async.hpp>
#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"
#include "support/pattern.hpp"
#include "support/pump.hpp"
#include "support/segment_view.hpp"
#include "support/survivor.hpp"
#include "support/task.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::AsyncOptions;
using zeropool::Buffer;
using zeropool::ErrorCode;
using zeropool::Pool;
namespace lib = zeropool::lib;

namespace {

constexpr std::size_t kBytes = 64 * 1024;
constexpr std::size_t kMany = 100'000;

std::string config(int orders, const std::string& more = "") {
  return "budget: 32MiB\n"
         "limits: {clients: 16, threads: 64}\n"
         "pages: {size: [4KiB]}\n"
         "pools:\n"
         "  frames: {classes: [64KiB], wait: {timeout: 200s, orders: " +
         std::to_string(orders) + "}" + more + "}\n";
}

std::uint64_t waiting(const DaemonProcess& daemon) {
  return daemon.pool()["orders_waiting"].get<std::uint64_t>();
}

std::size_t cells_in_use(const SegmentView& segment) {
  std::size_t used = 0;
  const std::uint32_t published = segment.control().header().orders_published.load();
  for (std::uint32_t n = 0; n < published; ++n) {
    const lib::OrderWord word{segment.control().order(n).word.load()};
    if (word.state() != lib::OrderState::kFree) ++used;
  }
  return used;
}

struct Counts {
  std::atomic<std::uint64_t> got{0};
  std::atomic<std::uint64_t> cancelled{0};
  std::atomic<std::uint64_t> no_daemon{0};
  std::atomic<std::uint64_t> exhausted{0};
  std::atomic<std::uint64_t> timed_out{0};
  std::atomic<std::uint64_t> other{0};
  std::atomic<std::uint64_t> twice{0};
  std::atomic<int> last_other{0};

  std::uint64_t ended() const {
    return got + cancelled + no_daemon + exhausted + timed_out + other;
  }
  void count(const Buffer& buffer) {
    switch (buffer.error_code()) {
      case ErrorCode::ok: ++got; return;
      case ErrorCode::cancelled: ++cancelled; return;
      case ErrorCode::no_daemon: ++no_daemon; return;
      case ErrorCode::budget_exhausted: ++exhausted; return;
      case ErrorCode::timed_out: ++timed_out; return;
      default: ++other; last_other = static_cast<int>(buffer.error_code());
    }
  }
};

// Gets one, puts it, and ends.
Task get(Pool& pool, Counts& counts, AsyncOptions options = {}) {
  int resumed = 0;
  {
    const Buffer buffer = co_await pool.async_get(kBytes, options);
    if (++resumed > 1) ++counts.twice;
    counts.count(buffer);
  }
}

struct Scene {
  explicit Scene(const std::string& text) : daemon(text), survivor(*daemon.open(), kBytes) {
    survivor.fill_pool();
    expect(survivor.held() >= 4, "the pool is too small");
    segment.emplace();
    most = survivor.held();
  }
  Pool& pool() { return survivor.pool(); }
  std::vector<Task> suspend(std::size_t count, Counts& counts, const AsyncOptions& options = {}) {
    std::vector<Task> tasks;
    tasks.reserve(count);
    for (std::size_t i = 0; i < count; ++i) tasks.push_back(get(pool(), counts, options));
    return tasks;
  }
  void check_nothing_left() {
    CHECK(cells_in_use(*segment) == 0);
    survivor.put_all();
    CHECK(survivor.fill_pool() >= most);
    CHECK(survivor.intact());
    CHECK(segment->audit().clean());
    CHECK(daemon.audit()["lost"] == 0);
  }

  DaemonProcess daemon;
  Survivor survivor;
  std::optional<SegmentView> segment;
  std::size_t most = 0;
};

}  // namespace

TEST_CASE(
    "a hundred thousand suspended at once are all granted, with many order cells and with few") {
  for (const int orders : {10000, 64}) {
    CAPTURE(orders);
    Scene scene(config(orders));
    Counts counts;
    std::vector<Task> tasks = scene.suspend(kMany, counts);
    CHECK(counts.ended() == 0);
    // A quarter of the cells is left to others, and half to other processes.
    CHECK(cells_in_use(*scene.segment) <= static_cast<std::size_t>(orders) / 2);
    const auto begun = std::chrono::steady_clock::now();
    scene.survivor.put(4);
    REQUIRE(pump(
        scene.pool(), [&] { return counts.ended() == kMany; }, 200s));
    const auto took = std::chrono::steady_clock::now() - begun;
    MESSAGE("100,000 granted with four buffers, wait.orders "
            << orders << ": " << std::chrono::duration_cast<std::chrono::milliseconds>(took).count()
            << " ms");
    CHECK(counts.got == kMany);
    CHECK(counts.twice == 0);
    for (const Task& task : tasks) REQUIRE(task.done());
    tasks.clear();
    scene.check_nothing_left();
  }
}

TEST_CASE("a hundred thousand suspended frames are destroyed, in any order, and leave nothing") {
  for (const int orders : {10000, 64}) {
    for (const bool backwards : {false, true}) {
      Scene scene(config(orders));
      Counts counts;
      std::vector<Task> tasks = scene.suspend(kMany, counts);
      scene.survivor.put(2);  // some are granted meanwhile
      const auto begun = std::chrono::steady_clock::now();
      if (backwards) {
        while (!tasks.empty()) tasks.pop_back();
      } else {
        for (Task& task : tasks) task.destroy();
      }
      const auto took = std::chrono::steady_clock::now() - begun;
      MESSAGE("100,000 destroyed: "
              << std::chrono::duration_cast<std::chrono::milliseconds>(took).count() << " ms");
      CHECK(counts.ended() == 0);
      CHECK(scene.pool().poll() == 0);
      scene.check_nothing_left();
    }
  }
}

TEST_CASE("a hundred thousand deadlines are kept, by who has a cell and who has none") {
  Scene scene(config(64));
  Counts counts;
  std::vector<Task> tasks = scene.suspend(kMany, counts, {.timeout = 300ms});
  REQUIRE(pump(
      scene.pool(), [&] { return counts.ended() == kMany; }, 100s));
  // Those that were posted at their last moment: timed_out, as of a get that blocks.
  CHECK(counts.exhausted.load() > 0);
  CHECK(counts.exhausted.load() + counts.timed_out.load() == kMany);
  CHECK(counts.twice.load() == 0);
  scene.check_nothing_left();
}

TEST_CASE("deadlines at the same instant as grants: each get ends once, with a buffer or without") {
  Scene scene(config(1000));
  for (int round = 0; round < 20; ++round) {
    Counts counts;
    std::vector<Task> tasks = scene.suspend(200, counts, {.timeout = 5ms});
    std::this_thread::sleep_for(4ms);
    scene.survivor.put(4);
    REQUIRE(pump(
        scene.pool(), [&] { return counts.ended() == 200; }, 60s));
    CHECK(counts.twice == 0);
    CHECK(counts.got + counts.exhausted + counts.timed_out == 200);
    tasks.clear();
    scene.survivor.fill_pool();
  }
  scene.check_nothing_left();
}

TEST_CASE("cancels and stops by several threads, while others poll and buffers come and go") {
  Scene scene(config(256));
  constexpr int kThreads = 4;
  constexpr int kRounds = 300;
  std::atomic<bool> over{false};
  Counts counts;
  std::atomic<std::uint64_t> called{0};
  std::atomic<std::uint64_t> withdrawn{0};
  std::vector<std::jthread> threads;
  // Two who poll.
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      pump(
          scene.pool(), [&] { return over.load(); }, 200s);
    });
  }
  struct Get {
    zp_async_get op{};
    zp_buffer buffer{};
    std::atomic<int> calls{0};
    std::atomic<std::uint64_t>* called = nullptr;
  };
  std::atomic<std::uint64_t> wrong{0};
  std::vector<std::thread> stormers;
  for (int t = 0; t < kThreads; ++t) {
    stormers.emplace_back([&, t] {
      Random random(static_cast<std::uint64_t>(t) + 1);
      for (int round = 0; round < kRounds; ++round) {
        std::vector<std::unique_ptr<Get>> gets(64);
        std::vector<int> codes(gets.size());
        for (std::size_t i = 0; i < gets.size(); ++i) {
          gets[i] = std::make_unique<Get>();
          Get& get = *gets[i];
          get.called = &called;
          get.op.context = &get;
          get.op.done = [](void* context, int code, zp_buffer* buffers) {
            auto* self = static_cast<Get*>(context);
            if (code == ZP_OK) zp_put(buffers);
            self->called->fetch_add(1);
            self->calls.fetch_add(1);  // the last: its owner may end it now
          };
          codes[i] = zp_get_async(scene.pool().c_pool(), kBytes,
                                  random.below(4) == 0 ? 2'000'000 : -1, &get.op, &get.buffer);
          if (codes[i] == ZP_OK) zp_put(&get.buffer);
        }
        for (std::size_t i = 0; i < gets.size(); ++i) {
          if (codes[i] != ZP_PENDING) continue;
          if (random.below(2) == 0) {
            if (zp_stop(&gets[i]->op) == ZP_WRONG_PROCESS) wrong.fetch_add(1);
          } else if (zp_cancel(&gets[i]->op) == ZP_OK) {
            withdrawn.fetch_add(1);
            if (gets[i]->calls.load() != 0) wrong.fetch_add(1);
            codes[i] = ZP_OK;
          }
        }
        for (std::size_t i = 0; i < gets.size(); ++i) {
          if (codes[i] != ZP_PENDING) continue;
          while (gets[i]->calls.load() == 0) std::this_thread::yield();
          if (gets[i]->calls.load() != 1) wrong.fetch_add(1);
        }
      }
    });
  }
  for (int i = 0; i < 50; ++i) {
    scene.survivor.put(3);
    std::this_thread::sleep_for(2ms);
    scene.survivor.take_all();
  }
  for (std::thread& thread : stormers) thread.join();
  over = true;
  threads.clear();
  CHECK(wrong == 0);
  CHECK(called > 0);
  CHECK(withdrawn > 0);
  scene.check_nothing_left();
}

TEST_CASE(
    "gets that block and async ones of another process are served in the order in which they "
    "came") {
  Scene scene(config(1000));
  // First an async get of another process, then one here that blocks, then an async one there, and so on.
  constexpr int kTurns = 6;
  ChildProcess other([&](Link& parent) {
    auto pool = scene.daemon.open();
    expect(static_cast<bool>(pool), "open");
    std::vector<Task> tasks;
    const auto run = [&](int number) -> Task {
      const Buffer buffer = co_await pool->async_get(kBytes);
      expect(static_cast<bool>(buffer), "granted");
      parent.send(number);
      parent.await();  // holds it until it was noted
    };
    for (int i = 0; i < kTurns; ++i) {
      parent.await();
      tasks.push_back(run(2 * i));
      parent.send(-1);
    }
    expect(pump(
               *pool, [&] { return tasks.back().done(); }, 60s),
           "all are resumed");
  });
  std::vector<std::jthread> threads;
  std::vector<int> order;
  std::atomic<int> turn{-1};
  std::atomic<bool> noted{true};
  for (int i = 0; i < kTurns; ++i) {
    const auto before = waiting(scene.daemon);
    other.link().send(char{1});
    CHECK(other.link().receive<int>() == -1);
    REQUIRE(eventually([&] { return waiting(scene.daemon) == before + 1; }));
    threads.emplace_back([&, i] {
      const Buffer buffer = scene.pool().get(kBytes, 100s);
      turn = buffer ? 2 * i + 1 : -2;
      noted = false;
      while (!noted) std::this_thread::yield();
    });
    REQUIRE(eventually([&] { return waiting(scene.daemon) == before + 2; }));
  }
  scene.survivor.put(1);  // one buffer, handed from one to the next
  for (int i = 0; i < kTurns; ++i) {
    order.push_back(other.link().receive<int>());
    other.link().send(char{1});
    REQUIRE(eventually([&] { return !noted.load(); }, 60s));
    order.push_back(turn.load());
    noted = true;
  }
  threads.clear();
  CHECK(other.wait().well());
  for (int i = 0; i < 2 * kTurns; ++i) CHECK(order[static_cast<std::size_t>(i)] == i);
  scene.check_nothing_left();
}

TEST_CASE("a process with a hundred thousand suspended leaves order cells to gets that block") {
  Scene scene(config(64));
  Counts counts;
  std::vector<Task> tasks = scene.suspend(kMany, counts);
  const Buffer blocked = scene.pool().get(kBytes, 100ms);
  CHECK(blocked.error_code() == ErrorCode::budget_exhausted);  // it had a cell
  tasks.clear();
  scene.check_nothing_left();
}

TEST_CASE("gets of a class that is spent keep nobody from another class") {
  DaemonProcess daemon(
      "budget: 64MiB\n"
      "limits: {clients: 16, threads: 64}\n"
      "pages: {size: [4KiB]}\n"
      "pools:\n"
      "  frames: {classes: [64KiB, 1MiB], wait: {timeout: 200s, orders: 64}}\n");
  Survivor survivor(*daemon.open(), kBytes);
  std::vector<Buffer> large;
  for (int i = 0; i < 4; ++i) large.push_back(survivor.pool().get(1024 * 1024));
  survivor.fill_pool();
  Counts counts;
  std::vector<Task> tasks;
  for (int i = 0; i < 1000; ++i) tasks.push_back(get(survivor.pool(), counts));
  bool got = false;
  const auto run = [&]() -> Task {
    got = static_cast<bool>(co_await survivor.pool().async_get(1024 * 1024));
  };
  const Task task = run();
  large.pop_back();
  CHECK(pump(
      survivor.pool(), [&] { return got; }, 60s));
  tasks.clear();
}

TEST_CASE("over the quota an async get is refused, and says so") {
  Scene scene(config(64, ", client_quota: 1MiB"));
  REQUIRE(scene.survivor.held() <= 16);
  ErrorCode code = ErrorCode::ok;
  std::string sentence;
  const auto run = [&]() -> Task {
    const Buffer buffer = co_await scene.pool().async_get(kBytes);
    code = buffer.error_code();
    sentence = buffer.error().sentence;
  };
  const Task task = run();
  CHECK(pump(scene.pool(), [&] { return task.done(); }));
  CHECK(code == ErrorCode::quota_exceeded);
  CHECK(sentence.find("would pass the client's quota of 1 MiB") != std::string::npos);
  scene.check_nothing_left();
}
