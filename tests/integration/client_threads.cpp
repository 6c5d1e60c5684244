// Many threads of one process: no slot twice, no slot lost, caches that come back.

#include <atomic>
#include <barrier>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/daemon_process.hpp"
#include "support/pattern.hpp"

using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::Pool;
using zeropool::PoolStats;

namespace {

constexpr const char* kClasses = "    classes: [4KiB, 64KiB, 1MiB]\n    wait: {timeout: 10s}\n";

std::string config(std::uint32_t threads) {
  return "budget: 128MiB\nlimits: {clients: 8, threads: " + std::to_string(threads) +
         "}\npools:\n  frames:\n" + kClasses;
}

// Buffers that one thread made and another puts.
class Exchange {
 public:
  Buffer swap(Buffer given) {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(given));
    if (queue_.size() < 32) return {};
    Buffer taken = std::move(queue_.front());
    queue_.pop_front();
    return taken;
  }

 private:
  std::mutex mutex_;
  std::deque<Buffer> queue_;
};

struct Hammered {
  std::atomic<std::uint64_t> broken{0};
  std::atomic<std::uint64_t> refused{0};
  std::atomic<std::uint64_t> gets{0};
  std::string sentence;
  std::mutex mutex;
};

// Gets and puts with a pattern in each buffer that is held; some go on to other threads.
void hammer(Pool pool, std::uint64_t seed, int rounds, Exchange& exchange, Hammered& result) {
  Random random(seed);
  std::vector<std::pair<Buffer, std::uint64_t>> held;
  const std::size_t sizes[] = {4096, 4096, 3000, 64 * 1024, 20000, 1024 * 1024};
  for (int round = 0; round < rounds; ++round) {
    if (held.size() < 6 && random.below(2) == 0) {
      Buffer buffer = pool.get(sizes[random.below(std::size(sizes))]);
      if (!buffer) {
        ++result.refused;
        std::lock_guard lock(result.mutex);
        result.sentence = buffer.error().sentence;
        continue;
      }
      ++result.gets;
      const std::uint64_t mark = random();
      write_pattern(buffer, mark, 1024);
      held.emplace_back(std::move(buffer), mark);
    } else if (!held.empty()) {
      const std::size_t which = random.below(held.size());
      std::swap(held[which], held.back());
      if (!has_pattern(held.back().first, held.back().second, 1024)) ++result.broken;
      if (random.below(8) == 0) {
        exchange.swap(std::move(held.back().first)).reset();
      }
      held.pop_back();
    }
  }
  for (auto& [buffer, mark] : held) {
    if (!has_pattern(buffer, mark, 1024)) ++result.broken;
  }
}

void hammer_with(std::uint32_t records, int thread_count, int rounds) {
  const DaemonProcess daemon(config(records));
  {
    auto pool = daemon.open();
    REQUIRE(pool);
    Hammered result;
    {
      Exchange exchange;
      std::vector<std::thread> threads;
      for (int t = 0; t < thread_count; ++t) {
        threads.emplace_back(
            [&, t] { hammer(*pool, static_cast<std::uint64_t>(t), rounds, exchange, result); });
      }
      for (std::thread& thread : threads) thread.join();
    }
    CHECK(result.broken == 0);
    CHECK_MESSAGE(result.refused == 0, result.sentence);
    const PoolStats stats = pool->stats();
    CHECK(stats.gets == stats.tls_hits + stats.shared_hits + stats.allocations + stats.failures);
    CHECK(stats.gets == result.gets + result.refused);
    CHECK(stats.puts == result.gets);
    CHECK(stats.double_puts == 0);
    // The last one puts from this thread, which has a cache then.
    const auto audit = daemon.audit();
    CHECK(audit["held"] == 0);
    CHECK(audit["lost"] == 0);
    CHECK(audit["doubled"] == 0);
  }
  CHECK_MESSAGE(becomes_all_free(daemon), daemon.ctl({"--json", "audit"}).out << daemon.log());
}

}  // namespace

TEST_CASE("eight threads never hold one slot twice, and lose none") { hammer_with(64, 8, 60000); }

TEST_CASE("more threads than thread records work, by the cache that they share") {
  hammer_with(2, 8, 20000);
}

TEST_CASE("the caches of threads that end are given back while the process lives") {
  const DaemonProcess daemon(config(64));
  auto pool = daemon.open();
  REQUIRE(pool);
  for (int round = 0; round < 10; ++round) {
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&] {
        std::vector<Buffer> held(20);
        for (Buffer& buffer : held) buffer = pool->get(4096);
        for (const Buffer& buffer : held) CHECK(buffer);
      });
    }
    for (std::thread& thread : threads) thread.join();
    const auto audit = daemon.audit();
    CHECK(audit["cached"] == 0);
    CHECK(all_free(audit));
  }
  CHECK(pool->stats().puts == 10 * 8 * 20);
  CHECK(daemon.pool()["threads"] == 0);
}

TEST_CASE("a thread's counts stay when it has ended") {
  const DaemonProcess daemon(config(64));
  auto pool = daemon.open();
  REQUIRE(pool);
  for (std::uint64_t round = 1; round <= 20; ++round) {
    std::thread([&] {
      for (int i = 0; i < 100; ++i) CHECK(pool->get(1));
    }).join();
    CHECK(pool->stats().gets == round * 100);
    CHECK(pool->stats().puts == round * 100);
  }
  CHECK(daemon.metric("zeropool_gets_total") == 2000);
}

TEST_CASE("a buffer may be put in another thread than it was got in") {
  const DaemonProcess daemon(config(64));
  auto pool = daemon.open();
  REQUIRE(pool);
  std::vector<Buffer> buffers(300);
  std::thread([&] {
    for (Buffer& buffer : buffers) buffer = pool->get(4096);
  }).join();
  for (const Buffer& buffer : buffers) REQUIRE(buffer);
  CHECK(daemon.audit()["held"] == buffers.size());
  std::thread([&] { buffers.clear(); }).join();
  CHECK(all_free(daemon.audit()));
  CHECK(pool->stats().puts == 300);
}

TEST_CASE("threads that wait for the last slot all get it in their turn") {
  const DaemonProcess daemon(
      "budget: 24MiB\npools: {frames: {classes: [1MiB], wait: {timeout: 20s}}}\n");
  auto pool = daemon.open();
  REQUIRE(pool);
  std::vector<Buffer> held;
  for (;;) {
    Buffer buffer = pool->get(1 << 20, std::chrono::milliseconds(100));
    if (!buffer) break;
    held.push_back(std::move(buffer));
  }
  REQUIRE(held.size() > 1);
  std::atomic<int> served{0};
  std::barrier ready(5);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      ready.arrive_and_wait();
      for (int i = 0; i < 50; ++i) {
        Buffer buffer = pool->get(1 << 20);
        if (buffer) ++served;
      }
    });
  }
  ready.arrive_and_wait();
  REQUIRE(eventually([&] { return daemon.pool()["orders_waiting"] > 0; }));
  held.pop_back();  // one slot for four threads
  for (std::thread& thread : threads) thread.join();
  CHECK(served == 200);
  held.clear();
}

TEST_CASE("pools opened and closed by many threads at once leave nothing behind") {
  const DaemonProcess daemon(config(64));
  std::vector<std::thread> threads;
  std::atomic<int> served{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        auto pool = daemon.open();
        if (!pool) continue;
        Pool copy = *pool;
        if (copy.get(4096)) ++served;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(served == 400);
  CHECK(becomes_all_free(daemon));
  CHECK(eventually([&] { return daemon.clients() == 0; }));
}
