// Many who wait: all are served in their turn, or told at their deadline; who is killed leaves nothing behind, and a
// daemon that is killed meanwhile finds them all.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <pthread.h>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"
#include "support/segment_view.hpp"
#include "support/survivor.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::ErrorCode;
using zeropool::Pool;
namespace lib = zeropool::lib;

namespace {

// So large that what is left of the budget, once it has no room for another, has room for ten thousand records.
constexpr std::size_t kBytes = 32 * 1024 * 1024;
constexpr std::size_t kThreadStack = 64 * 1024;

std::string config(int orders) {
  return "budget: 127MiB\n"
         "limits: {clients: 64, threads: 10200}\n"
         "pages: {size: [4KiB]}\n"
         "pools:\n"
         "  frames: {classes: [32MiB], wait: {timeout: 60s, orders: " +
         std::to_string(orders) + "}}\n";
}

struct Outcome {
  std::uint64_t got = 0;
  std::uint64_t exhausted = 0;
  std::uint64_t timed_out = 0;
  std::uint64_t other = 0;
  int code = 0;  // the last of the others
};

// Threads that each get one buffer, put it and end. Threads of little stack: there are thousands.
class Waiters {
 public:
  Waiters(Pool pool, std::size_t count, std::chrono::milliseconds wait)
      : pool_(std::move(pool)), wait_(wait) {
    pthread_attr_t attributes;
    ::pthread_attr_init(&attributes);
    ::pthread_attr_setstacksize(&attributes, kThreadStack);
    for (std::size_t i = 0; i < count; ++i) {
      pthread_t thread{};
      const int failed = ::pthread_create(
          &thread, &attributes,
          [](void* self) -> void* {
            static_cast<Waiters*>(self)->wait_for_one();
            return nullptr;
          },
          this);
      expect(failed == 0, "pthread_create");
      threads_.push_back(thread);
    }
    ::pthread_attr_destroy(&attributes);
  }
  Outcome join() {
    for (const pthread_t thread : threads_) ::pthread_join(thread, nullptr);
    threads_.clear();
    return {got_, exhausted_, timed_out_, other_, code_};
  }

 private:
  void wait_for_one() {
    const Buffer buffer = pool_.get(kBytes, wait_);
    if (buffer) {
      ++got_;
    } else if (buffer.error_code() == ErrorCode::budget_exhausted) {
      ++exhausted_;
    } else if (buffer.error_code() == ErrorCode::timed_out) {
      ++timed_out_;
    } else {
      ++other_;
      code_ = static_cast<int>(buffer.error_code());
    }
  }

  Pool pool_;
  std::chrono::milliseconds wait_;
  std::vector<pthread_t> threads_;
  std::atomic<std::uint64_t> got_{0};
  std::atomic<std::uint64_t> exhausted_{0};
  std::atomic<std::uint64_t> timed_out_{0};
  std::atomic<std::uint64_t> other_{0};
  std::atomic<int> code_{0};
};

std::unique_ptr<ChildProcess> start_waiters(const DaemonProcess& daemon, std::size_t threads,
                                            std::chrono::milliseconds wait) {
  return std::make_unique<ChildProcess>([&daemon, threads, wait](Link& parent) {
    auto pool = daemon.open();
    expect(static_cast<bool>(pool), pool.error().sentence);
    Waiters waiters(*pool, threads, wait);
    parent.send(waiters.join());
  });
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

// A daemon whose only pool is taken, all of it, by this process.
struct Scene {
  Scene() : survivor(*daemon.open(), kBytes) {
    survivor.fill_pool();
    expect(survivor.held() >= 2, "the pool is too small");
    segment.emplace();
  }
  void check_nothing_left() {
    CHECK(eventually([&] { return waiting(daemon) == 0 && cells_in_use(*segment) == 0; }));
    survivor.put_all();
    CHECK(survivor.fill_pool() > 0);
    CHECK(segment->audit().clean());
    CHECK(daemon.audit()["lost"] == 0);
  }

  DaemonProcess daemon{config(10000)};
  Survivor survivor;
  std::optional<SegmentView> segment;
};

constexpr int kProcesses = 10;

std::vector<std::unique_ptr<ChildProcess>> start_ten_thousand(const DaemonProcess& daemon,
                                                              std::chrono::milliseconds wait) {
  std::vector<std::unique_ptr<ChildProcess>> processes;
  for (int i = 0; i < kProcesses; ++i) {
    processes.push_back(start_waiters(daemon, 10000 / kProcesses, wait));
  }
  return processes;
}

}  // namespace

TEST_CASE("ten thousand wait at once, and all are served") {
  Scene scene;
  auto processes = start_ten_thousand(scene.daemon, 100s);
  REQUIRE(eventually([&] { return waiting(scene.daemon) == 10000; }, 60s));
  const CommandResult status = scene.daemon.ctl({"status"});
  CHECK(status.exit_code == 0);  // it answers meanwhile
  const auto begun = std::chrono::steady_clock::now();
  scene.survivor.put(2);
  std::uint64_t got = 0;
  for (auto& process : processes) {
    const Outcome outcome = process->link().receive<Outcome>(100s);
    got += outcome.got;
    CHECK(outcome.other == 0);
  }
  CHECK(got == 10000);
  const auto took = std::chrono::steady_clock::now() - begun;
  MESSAGE("10,000 waiters served with two buffers in "
          << std::chrono::duration_cast<std::chrono::milliseconds>(took).count() << " ms");
  for (auto& process : processes) CHECK(process->wait().well());
  scene.check_nothing_left();
}

TEST_CASE(
    "ten thousand who wait for nothing are told at their deadline, and leave nothing behind") {
  Scene scene;
  auto processes = start_ten_thousand(scene.daemon, 8s);
  std::uint64_t told = 0;
  for (auto& process : processes) {
    const Outcome outcome = process->link().receive<Outcome>(60s);
    CHECK(outcome.got == 0);
    CAPTURE(outcome.code);
    CHECK(outcome.other == 0);
    told += outcome.exhausted;
  }
  CHECK(told == 10000);
  for (auto& process : processes) CHECK(process->wait().well());
  scene.check_nothing_left();
}

TEST_CASE("who finds all order cells in use is told so at its deadline") {
  DaemonProcess daemon(config(16));
  Survivor survivor(*daemon.open(), kBytes);
  survivor.fill_pool();
  auto process = start_waiters(daemon, 16, 30s);
  REQUIRE(eventually([&] { return waiting(daemon) == 16; }));
  const Buffer refused = survivor.pool().get(kBytes, 100ms);
  CHECK(refused.error_code() == ErrorCode::too_many_orders);
  CHECK(refused.error().sentence.find("all 16 order cells are in use") != std::string::npos);
  survivor.put(1);
  CHECK(process->link().receive<Outcome>().got == 16);
}

TEST_CASE("waiters that are killed leave nothing, and those behind them are served") {
  Scene scene;
  auto killed = start_waiters(scene.daemon, 500, 100s);
  REQUIRE(eventually([&] { return waiting(scene.daemon) == 500; }, 30s));
  auto behind = start_waiters(scene.daemon, 100, 100s);
  REQUIRE(eventually([&] { return waiting(scene.daemon) == 600; }, 30s));
  scene.survivor.put(1);
  killed->kill();
  CHECK(behind->link().receive<Outcome>().got == 100);
  CHECK(behind->wait().well());
  scene.check_nothing_left();
}

TEST_CASE("a daemon that is killed while thousands wait finds them all") {
  Scene scene;
  auto process = start_waiters(scene.daemon, 2000, 100s);
  REQUIRE(eventually([&] { return waiting(scene.daemon) == 2000; }, 30s));
  scene.daemon.kill9();
  scene.survivor.put(2);  // nobody is there to grant them
  scene.daemon.start_again();
  const Outcome outcome = process->link().receive<Outcome>(100s);
  CHECK(outcome.got == 2000);
  CHECK(process->wait().well());
  scene.check_nothing_left();
}
