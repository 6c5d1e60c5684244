// Async gets, one at a time: a hit does not suspend, a miss ends by a grant, its deadline, a stop, a cancel, or the end of its
// pool, and leaves nothing behind.

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <sys/epoll.h>
#include <thread>
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
using zeropool::AsyncOptions;
using zeropool::Batch;
using zeropool::Buffer;
using zeropool::ErrorCode;
using zeropool::Pool;
namespace lib = zeropool::lib;

namespace {
std::atomic<std::uint64_t> allocations{0};
}  // namespace

// Not inlined: the compiler would see free() of what new returned, and complain. Counted: what the library asks for comes from the C library, what headers ask for from here.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  void* memory = std::malloc(bytes);
  if (memory == nullptr) std::abort();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

constexpr std::size_t kBytes = 64 * 1024;
constexpr const char* kConfig =
    "budget: 24MiB\n"
    "limits: {clients: 16, threads: 64}\n"
    "pages: {size: [4KiB]}\n"
    "pools:\n"
    "  frames: {classes: [64KiB], wait: {timeout: 30s}}\n";

struct Outcome {
  bool ended = false;
  ErrorCode code = ErrorCode::ok;
  std::string sentence;
  Buffer buffer;
};

Task get(Pool pool, Outcome& outcome, AsyncOptions options = {}) {
  Buffer buffer = co_await pool.async_get(kBytes, options);
  outcome.code = buffer.error_code();
  outcome.sentence = buffer.error().sentence;
  outcome.buffer = std::move(buffer);
  outcome.ended = true;
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
  explicit Scene(const std::string& config = kConfig)
      : daemon(config), survivor(*daemon.open(), kBytes) {
    survivor.fill_pool();
    expect(survivor.held() >= 4, "the pool is too small");
    segment.emplace();
  }
  Pool& pool() { return survivor.pool(); }
  // Whoever waited is gone, all can be had, and no slot is lost.
  void check_nothing_left() {
    CHECK(cells_in_use(*segment) == 0);
    const std::size_t all = most;
    survivor.put_all();
    CHECK(survivor.fill_pool() >= all);
    CHECK(survivor.intact());
    CHECK(segment->audit().clean());
    CHECK(daemon.audit()["lost"] == 0);
  }

  DaemonProcess daemon;
  Survivor survivor;
  std::optional<SegmentView> segment;
  std::size_t most = survivor.held();
};

}  // namespace

TEST_CASE("a hit neither suspends nor allocates") {
  DaemonProcess daemon(kConfig);
  Pool pool = *daemon.open();
  pool.get(kBytes).reset();  // into this thread's cache
  int hits = 0;
  // The frame itself is allocated before; what is counted is what the gets cost.
  std::uint64_t before = 0;
  std::uint64_t after = 0;
  const auto run = [&]() -> Task {
    before = allocations.load();
    for (int i = 0; i < 1000; ++i) {
      Buffer buffer = co_await pool.async_get(kBytes);
      if (buffer) ++hits;
    }
    after = allocations.load();
  };
  const Task task = run();
  CHECK(task.done());  // nobody has polled
  CHECK(hits == 1000);
  CHECK(after == before);
}

TEST_CASE("a miss suspends without an allocation, and is granted when a buffer comes back") {
  Scene scene;
  Outcome outcome;
  const int events = scene.pool().event_fd();
  REQUIRE(events >= 0);
  std::uint64_t before = 0;
  std::uint64_t after = 0;
  const auto run = [&]() -> Task {
    before = allocations.load();
    Buffer buffer = co_await scene.pool().async_get(kBytes);
    after = allocations.load();
    outcome.buffer = std::move(buffer);
    outcome.ended = true;
  };
  const Task task = run();
  CHECK_FALSE(task.done());
  CHECK(allocations.load() == before);
  CHECK(cells_in_use(*scene.segment) == 1);
  scene.survivor.put(1);
  CHECK(pump(scene.pool(), [&] { return outcome.ended; }));
  CHECK(after == before);
  REQUIRE(outcome.buffer);
  CHECK(outcome.buffer.size() == kBytes);
  outcome.buffer.reset();
  scene.check_nothing_left();
}

TEST_CASE("who waits for nothing is told at the deadline, with the sentence of a get that blocks") {
  Scene scene;
  Outcome outcome;
  const Task task = get(scene.pool(), outcome, {.timeout = 50ms});
  CHECK(pump(scene.pool(), [&] { return outcome.ended; }));
  CHECK(outcome.code == ErrorCode::budget_exhausted);
  const Buffer blocked = scene.pool().get(kBytes, 50ms);
  CHECK(blocked.error_code() == ErrorCode::budget_exhausted);
  CHECK(outcome.sentence.find("nothing free and nothing more to commit") != std::string::npos);
  CHECK(outcome.sentence == blocked.error().sentence);
  scene.check_nothing_left();
}

TEST_CASE("a stop ends a get that waits, one that comes first keeps it from waiting") {
  Scene scene;
  Outcome outcome;
  std::stop_source source;
  const Task task = get(scene.pool(), outcome, {.stop = source.get_token()});
  CHECK_FALSE(outcome.ended);
  source.request_stop();
  CHECK_FALSE(outcome.ended);  // resumed by poll, nowhere else
  CHECK(pump(scene.pool(), [&] { return outcome.ended; }));
  CHECK(outcome.code == ErrorCode::cancelled);
  CHECK(outcome.sentence.find("stopped while it waited") != std::string::npos);
  Outcome second;
  const Task at_once = get(scene.pool(), second, {.stop = source.get_token()});
  CHECK(second.ended);
  CHECK(second.code == ErrorCode::cancelled);
  scene.check_nothing_left();
}

TEST_CASE("a suspended frame that is destroyed cancels, before and after it was granted") {
  Scene scene;
  const int events = scene.pool().event_fd();
  for (const bool granted : {false, true}) {
    Outcome outcome;
    Task task = get(scene.pool(), outcome);
    if (granted) {
      scene.survivor.put(1);
      REQUIRE(readable(events, 10s));
    }
    task.destroy();
    CHECK_FALSE(outcome.ended);
    scene.pool().poll();
    CHECK_FALSE(outcome.ended);
    CHECK(cells_in_use(*scene.segment) == 0);
  }
  scene.check_nothing_left();
}

TEST_CASE("a cancel that wins is never followed by a call, one that loses says so") {
  Scene scene;
  struct Get {
    zp_async_get op{};
    zp_buffer buffer{};
    int calls = 0;
    int code = -1;
  } waits;
  waits.op.context = &waits;
  waits.op.done = [](void* context, int code, zp_buffer*) {
    auto* self = static_cast<Get*>(context);
    ++self->calls;
    self->code = code;
    CHECK(zp_cancel(&self->op) == ZP_NOT_PENDING);  // itself
  };
  zp_pool* pool = scene.pool().c_pool();
  CHECK(zp_cancel(&waits.op) == ZP_NOT_PENDING);
  REQUIRE(zp_get_async(pool, kBytes, -1, &waits.op, &waits.buffer) == ZP_PENDING);
  CHECK(zp_get_async(pool, kBytes, -1, &waits.op, &waits.buffer) == ZP_INVALID_ARGUMENT);
  CHECK(zp_cancel(&waits.op) == ZP_OK);
  CHECK(zp_cancel(&waits.op) == ZP_NOT_PENDING);
  CHECK(zp_poll(pool, 10) == 0);
  CHECK(waits.calls == 0);
  // Again with the same memory.
  REQUIRE(zp_get_async(pool, kBytes, -1, &waits.op, &waits.buffer) == ZP_PENDING);
  scene.survivor.put(1);
  CHECK(pump(scene.pool(), [&] { return waits.calls == 1; }));
  CHECK(waits.code == ZP_OK);
  CHECK(waits.buffer.data != nullptr);
  CHECK(zp_put(&waits.buffer) == ZP_OK);
  scene.check_nothing_left();
}

TEST_CASE("a done callback may cancel others and start the next get") {
  Scene scene;
  struct Chain {
    zp_pool* pool;
    zp_async_get op{};
    zp_buffer buffer{};
    zp_async_get other{};
    zp_buffer other_buffer{};
    int calls = 0;
    int cancelled = -1;
  } chain{scene.pool().c_pool()};
  chain.op.context = &chain;
  chain.other.context = &chain;
  chain.other.done = [](void*, int, zp_buffer*) { FAIL("a cancelled get was called"); };
  chain.op.done = [](void* context, int code, zp_buffer* buffers) {
    auto* self = static_cast<Chain*>(context);
    if (code == ZP_OK) zp_put(buffers);
    if (++self->calls == 1) self->cancelled = zp_cancel(&self->other);
    if (self->calls < 3) {
      const int again = zp_get_async(self->pool, kBytes, -1, &self->op, &self->buffer);
      CHECK((again == ZP_PENDING || again == ZP_OK));
      if (again == ZP_OK) self->op.done(self, again, &self->buffer);
    }
  };
  REQUIRE(zp_get_async(chain.pool, kBytes, -1, &chain.op, &chain.buffer) == ZP_PENDING);
  REQUIRE(zp_get_async(chain.pool, kBytes, -1, &chain.other, &chain.other_buffer) == ZP_PENDING);
  scene.survivor.put(1);
  CHECK(pump(scene.pool(), [&] { return chain.calls == 3; }));
  CHECK(chain.cancelled == ZP_OK);
  scene.check_nothing_left();
}

TEST_CASE("a batch waits as one get, and is granted whole") {
  Scene scene;
  const std::vector<std::size_t> sizes = {kBytes, 100, kBytes};
  Batch got;
  bool ended = false;
  const auto run = [&]() -> Task {
    got = co_await scene.pool().async_get_batch(sizes);
    ended = true;
  };
  const Task task = run();
  CHECK(cells_in_use(*scene.segment) == 1);
  scene.survivor.put(2);
  scene.pool().poll();
  CHECK_FALSE(ended);  // two of three
  scene.survivor.put(1);
  CHECK(pump(scene.pool(), [&] { return ended; }));
  REQUIRE(got.size() == 3);
  CHECK(got[1].size() == 100);
  got = Batch();
  // At hand: it does not wait.
  ended = false;
  scene.survivor.put(1);
  const auto at_hand = [&]() -> Task {
    Batch batch = co_await scene.pool().async_get_batch(sizes);
    CHECK(batch.size() == 3);
    ended = true;
  };
  const Task second = at_hand();
  CHECK(pump(scene.pool(), [&] { return ended; }));
  // Refused, and told why.
  ErrorCode code = ErrorCode::ok;
  const std::vector<std::size_t> too_large = {kBytes, kBytes + 1};
  const auto refused = [&]() -> Task {
    code = (co_await scene.pool().async_get_batch(too_large)).error_code();
  };
  const Task third = refused();
  CHECK(code == ErrorCode::too_large);
  scene.check_nothing_left();
}

TEST_CASE("sizes that no class serves, and a pool that is not open, fail at once") {
  DaemonProcess daemon(kConfig);
  Pool pool = *daemon.open();
  std::vector<ErrorCode> codes;
  const auto run = [&]() -> Task {
    codes.push_back((co_await pool.async_get(0)).error_code());
    codes.push_back((co_await pool.async_get(kBytes + 1)).error_code());
    Pool none;
    codes.push_back((co_await none.async_get(1)).error_code());
    codes.push_back((co_await pool.async_get_batch({})).error_code());
    codes.push_back((co_await none.async_get_batch({})).error_code());
  };
  const Task task = run();
  CHECK(task.done());
  CHECK(codes == std::vector{ErrorCode::invalid_size, ErrorCode::too_large,
                             ErrorCode::invalid_argument, ErrorCode::invalid_size,
                             ErrorCode::invalid_argument});
  CHECK(zp_poll(nullptr, 1) == 0);
  CHECK(zp_event_fd(nullptr) == -1);
  CHECK(zp_cancel(nullptr) == ZP_NOT_PENDING);
  zp_buffer buffer{};
  zp_async_get no_callback{};
  CHECK(zp_get_async(pool.c_pool(), kBytes, -1, nullptr, nullptr) == ZP_INVALID_ARGUMENT);
  pool.get(kBytes).reset();
#ifndef __SANITIZE_ADDRESS__  // there is no hit: it is told of each get
  CHECK(zp_get_async(pool.c_pool(), kBytes, -1, nullptr, &buffer) == ZP_OK);  // a hit needs none
  CHECK(zp_put(&buffer) == ZP_OK);
#endif
  CHECK(zp_get_batch_async(pool.c_pool(), nullptr, 1, -1, &no_callback, &buffer) ==
        ZP_INVALID_ARGUMENT);
}

TEST_CASE("a coroutine goes on where its executor says") {
  Scene scene;
  Outcome outcome;
  std::vector<std::coroutine_handle<>> queue;
  auto executor = [&](std::coroutine_handle<> handle) { queue.push_back(handle); };
  const Task task = get(scene.pool(), outcome, {.resume_on = executor});
  scene.survivor.put(1);
  CHECK(pump(scene.pool(), [&] { return !queue.empty(); }));
  CHECK_FALSE(outcome.ended);
  std::thread([&] { queue.front().resume(); }).join();
  CHECK(outcome.ended);
  CHECK(outcome.buffer);
  outcome.buffer.reset();
  scene.check_nothing_left();
}

TEST_CASE(
    "the pool may end first: who waits is told cancelled, or destroyed, and the attachment ends") {
  Scene scene;
  const std::size_t before = scene.daemon.clients();
  for (const bool destroyed : {false, true}) {
    ChildProcess child([&](Link& parent) {
      Outcome outcome;
      std::optional<Pool> pool = *scene.daemon.open();
      zp_close(scene.pool().c_pool());  // the parent's, inherited, which nobody closes here
      zp_pool* raw = pool->c_pool();
      // A coroutine that does not keep the pool alive.
      const auto run = [&]() -> Task {
        const Buffer buffer = co_await pool->async_get(kBytes);
        outcome.code = buffer.error_code();
        outcome.ended = true;
      };
      Task task = run();
      parent.send(char{1});
      parent.await();
      pool.reset();
      if (destroyed) {
        task.destroy();
        expect(!outcome.ended, "a destroyed frame went on");
      } else {
        expect(zp_poll(raw, 10) == 1, "it is told");
        expect(outcome.ended && outcome.code == ErrorCode::cancelled, "cancelled");
      }
      parent.send(char{2});
      parent.await();
    });
    child.link().await();
    CHECK(scene.daemon.clients() == before + 1);
    child.link().send(char{1});
    child.link().await();
    // The attachment has ended with the last op, while the process lives.
    CHECK(eventually([&] { return scene.daemon.clients() == before; }));
    child.link().send(char{1});
    CHECK(child.wait().well());
    CHECK(child.failure() == "");
  }
  scene.check_nothing_left();
}

TEST_CASE("the event descriptor works level-triggered and edge-triggered") {
  Scene scene;
  const int events = scene.pool().event_fd();
  REQUIRE(events >= 0);
  CHECK(scene.pool().event_fd() == events);
  for (const std::uint32_t mode : {std::uint32_t{EPOLLIN}, std::uint32_t{EPOLLIN | EPOLLET}}) {
    const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
    epoll_event interest{};
    interest.events = mode;
    REQUIRE(::epoll_ctl(epoll, EPOLL_CTL_ADD, events, &interest) == 0);
    // Five at once, delivered one by one: each time that something is left, it is told again.
    std::vector<Outcome> outcomes(5);
    std::vector<Task> tasks;
    for (Outcome& outcome : outcomes) tasks.push_back(get(scene.pool(), outcome));
    scene.survivor.put(2);
    std::size_t ended = 0;
    for (int turns = 0; ended < outcomes.size() && turns < 1000; ++turns) {
      epoll_event event{};
      REQUIRE(::epoll_wait(epoll, &event, 1, 20'000) == 1);
      scene.pool().poll(1);
      ended = 0;
      for (Outcome& outcome : outcomes) {
        if (!outcome.ended) continue;
        ++ended;
        CHECK(outcome.code == ErrorCode::ok);
        outcome.buffer.reset();
      }
    }
    CHECK(ended == outcomes.size());
    ::close(epoll);
    scene.survivor.fill_pool();
  }
  scene.check_nothing_left();
}

TEST_CASE("two threads may poll at once: each get is resumed once") {
  Scene scene;
  constexpr int kGets = 500;
  std::atomic<int> resumed{0};
  std::vector<Task> tasks;
  const auto run = [&]() -> Task {
    const Buffer buffer = co_await scene.pool().async_get(kBytes);
    if (buffer) resumed.fetch_add(1);
  };
  for (int i = 0; i < kGets; ++i) tasks.push_back(run());
  scene.survivor.put(2);
  const auto poller = [&] {
    pump(
        scene.pool(), [&] { return resumed.load() >= kGets; }, 60s);
  };
  std::thread one(poller);
  std::thread two(poller);
  CHECK(eventually([&] { return resumed.load() >= kGets; }, 60s));
  one.join();
  two.join();
  CHECK(resumed.load() == kGets);
  for (const Task& task : tasks) CHECK(task.done());
  tasks.clear();
  scene.check_nothing_left();
}
