// P16. An async hit beside a sync one, in one loop each, in turn. And the way of a buffer from its put to the coroutine of
// another process that waits for it: the put, the daemon, the grant, the event descriptor, poll(). Beside it the same for a
// get that blocks.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <new>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <time.h>
#include <vector>

#include <zeropool/async.hpp>
#include <zeropool/zeropool.hpp>

#include "tests/integration/support/child_process.hpp"
#include "tests/integration/support/daemon_process.hpp"
#include "tests/integration/support/pump.hpp"
#include "tests/integration/support/survivor.hpp"
#include "tests/integration/support/task.hpp"
#include "waiting_bench.hpp"

namespace zeropool_bench {
namespace {

using namespace std::chrono_literals;
using zeropool::testing::Task;

constexpr std::size_t kBytes = 65536;
constexpr int kHitRounds = 60;
constexpr int kHits = 500'000;
constexpr int kWakes = 500;
constexpr auto kPause = 500us;  // so that all sleep again

constexpr const char* kConfig = R"(budget: 24MiB
pages: {size: [4KiB]}
metrics: {listen: []}
pools:
  frames: {classes: [64KiB], wait: {timeout: 60s}}
)";

std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// Of this thread: what others do on the machine is not counted.
std::int64_t cpu_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void keep(void* value) { asm volatile("" : : "r"(value) : "memory"); }

// Not inlined: what a reader of the assembly looks for.
[[gnu::noinline]] std::int64_t sync_hits(zeropool::Pool& pool, std::size_t bytes) {
  const std::int64_t begun = cpu_ns();
  for (int i = 0; i < kHits; ++i) {
    const zeropool::Buffer buffer = pool.get(bytes);
    keep(buffer.data());
  }
  return cpu_ns() - begun;
}
Task async_hits(zeropool::Pool& pool, std::size_t bytes, std::int64_t& took) {
  const std::int64_t begun = cpu_ns();
  for (int i = 0; i < kHits; ++i) {
    const zeropool::Buffer buffer = co_await pool.async_get(bytes);
    keep(buffer.data());
  }
  took = cpu_ns() - begun;
}

double at(std::vector<std::int64_t>& values, double share) {
  std::sort(values.begin(), values.end());
  const auto last = static_cast<double>(values.size() - 1);
  return static_cast<double>(values[static_cast<std::size_t>(share * last)]);
}

void bench_hits(zeropool::Pool& pool) {
  volatile std::size_t bytes = kBytes;  // a size that the compiler does not know
  pool.get(kBytes).reset();
  const std::uint64_t hits = pool.stats().tls_hits;
  std::vector<std::int64_t> sync;
  std::vector<std::int64_t> async;
  for (int round = 0; round < kHitRounds; ++round) {  // in turn: the machine's speed moves
    sync.push_back(sync_hits(pool, bytes));
    std::int64_t took = 0;
    const Task task = async_hits(pool, bytes, took);
    if (!task.done()) throw std::runtime_error("an async hit has suspended");
    async.push_back(took);
  }
  if (pool.stats().tls_hits - hits != 2ULL * kHits * kHitRounds) {
    throw std::runtime_error("not all of them were hits");
  }
  const double one = at(sync, 0.5) / kHits;
  const double other = at(async, 0.5) / kHits;
  std::printf("P16  get and put that hit: %.2f ns, by co_await %.2f ns: %+.2f ns (goal: 2)\n", one,
              other, other - one);
}

// Between the two processes.
struct Board {
  std::atomic<std::uint32_t> suspended{0};  // gets begun
  std::atomic<std::uint32_t> resumed{0};
  std::atomic<std::uint32_t> returned{0};  // buffers that the holder has again
  std::atomic<std::int64_t> resumed_ns{0};
};

Board* shared_board() {
  void* memory =
      ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("mmap");
  return ::new (memory) Board();
}

void wait_for(const std::atomic<std::uint32_t>& count, std::uint32_t value) {
  while (count.load(std::memory_order_acquire) < value) std::this_thread::sleep_for(50us);
}

void note(Board& board, const zeropool::Buffer& buffer) {
  board.resumed_ns.store(now_ns(), std::memory_order_relaxed);
  zeropool::testing::expect(static_cast<bool>(buffer), "granted");
}

std::vector<std::int64_t> put_to_resume(const zeropool::testing::DaemonProcess& daemon,
                                        zeropool::testing::Survivor& holder, bool async) {
  Board* board = shared_board();
  zeropool::testing::ChildProcess waiter([&](zeropool::testing::Link&) {
    auto pool = daemon.open();
    zeropool::testing::expect(static_cast<bool>(pool), "open");
    for (std::uint32_t i = 1; i <= kWakes; ++i) {
      if (async) {
        const auto run = [&]() -> Task {
          const zeropool::Buffer buffer = co_await pool->async_get(kBytes);
          note(*board, buffer);
        };
        const Task task = run();
        board->suspended.store(i, std::memory_order_release);
        zeropool::testing::pump(*pool, [&] { return task.done(); });
      } else {
        board->suspended.store(i, std::memory_order_release);
        const zeropool::Buffer buffer = pool->get(kBytes);
        note(*board, buffer);
      }
      board->resumed.store(i, std::memory_order_release);
      wait_for(board->returned, i);
    }
  });
  std::vector<std::int64_t> took;
  for (std::uint32_t i = 1; i <= kWakes; ++i) {
    wait_for(board->suspended, i);
    std::this_thread::sleep_for(kPause);
    const std::int64_t begun = now_ns();
    holder.put(1);
    wait_for(board->resumed, i);
    took.push_back(board->resumed_ns.load(std::memory_order_relaxed) - begun);
    if (!holder.keep(holder.pool().get(kBytes, 10s))) throw std::runtime_error(zp_last_error());
    board->returned.store(i, std::memory_order_release);
  }
  ::munmap(board, sizeof(Board));
  return took;
}

}  // namespace

void bench_async() {
  const zeropool::testing::DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  if (!pool) throw std::runtime_error(pool.error().sentence);
  bench_hits(*pool);
  zeropool::testing::Survivor holder(*pool, kBytes);
  holder.fill_pool();
  for (const bool async : {false, true}) {
    std::vector<std::int64_t> took = put_to_resume(daemon, holder, async);
    std::printf("     put to %s in another process, all asleep: median %.1f us (p90 %.1f)\n",
                async ? "resumed coroutine" : "a get that blocks", at(took, 0.5) * 1e-3,
                at(took, 0.9) * 1e-3);
  }
}

}  // namespace zeropool_bench
