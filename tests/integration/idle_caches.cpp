// Caches of threads that do nothing come back without their help; nobody who works notices, and no buffer is in two
// hands, whoever is stopped or killed meanwhile.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <signal.h>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"
#include "support/pattern.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::Pool;

namespace {

constexpr std::size_t kBytes = 64 * 1024;

std::string config(const std::string& idle, const std::string& budget = "512MiB") {
  return "budget: " + budget +
         "\nlimits: {clients: 64, threads: 2048}\npages: {size: [4KiB]}\npools:\n"
         "  frames: {classes: [64KiB], thread_cache: 4MiB, thread_cache_idle: " +
         idle + ", wait: {timeout: 5s}}\n";
}

std::uint64_t cached_bytes(const DaemonProcess& daemon) {
  return daemon.audit()["cached"].get<std::uint64_t>() * kBytes;
}

// Gets and puts so that a magazine or two stay behind.
void use_cache(Pool& pool, std::size_t buffers = 4) {
  std::vector<Buffer> held;
  for (std::size_t i = 0; i < buffers; ++i) held.push_back(pool.get(kBytes));
  for (const Buffer& buffer : held) expect(static_cast<bool>(buffer), buffer.error().sentence);
}

// Gets, writes, looks, puts, until told to stop. Counts what failed and what somebody else wrote over.
struct Worker {
  void run(Pool pool, std::uint64_t seed) {
    std::vector<Buffer> held;
    for (std::uint64_t i = 0; !stop.load(std::memory_order_relaxed); ++i) {
      held.push_back(pool.get(kBytes));
      if (!held.back()) {
        note(held.back());
        held.pop_back();
        continue;
      }
      write_pattern(held.back(), seed + i, 4096);
      if (held.size() < 6) continue;
      for (std::size_t j = 0; j < held.size(); ++j) {
        if (!has_pattern(held[j], seed + i + 1 - held.size() + j, 4096)) broken.fetch_add(1);
      }
      held.clear();
      rounds.fetch_add(1);
    }
  }
  void note(const Buffer& buffer) {
    if (failed.fetch_add(1) == 0)
      std::snprintf(why, sizeof(why), "%s", buffer.error().sentence.c_str());
  }
  std::atomic<bool> stop{false};
  char why[200] = {};
  std::atomic<std::uint64_t> failed{0};
  std::atomic<std::uint64_t> broken{0};
  std::atomic<std::uint64_t> rounds{0};
};

struct Tally {
  std::uint64_t failed = 0;
  std::uint64_t broken = 0;
  std::uint64_t rounds = 0;
  char why[200] = {};  // of a get that failed
};

// `idle` threads that work once and sleep until the parent says so, then work again; `busy` that always work.
void crowd(Link& parent, const DaemonProcess& daemon, std::size_t idle, std::size_t busy) {
  auto pool = daemon.open("frames");
  expect(static_cast<bool>(pool), pool ? "" : pool.error().sentence);
  Worker worker;
  std::atomic<std::size_t> asleep{0};
  std::atomic<bool> wake{false};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < idle; ++i) {
    threads.emplace_back([&, i] {
      // Thread records come in steps, on demand: a crowd that comes at once may be ahead of them.
      expect(eventually([&] { return static_cast<bool>(pool->get(kBytes)); }), "no record");
      use_cache(*pool, 2);
      asleep.fetch_add(1);
      while (!wake.load()) std::this_thread::sleep_for(20ms);
      for (int round = 0; round < 5; ++round) {
        Buffer buffer = pool->get(kBytes);
        if (!buffer) {
          worker.note(buffer);
          continue;
        }
        write_pattern(buffer, i * 31, 4096);
        std::this_thread::yield();
        if (!has_pattern(buffer, i * 31, 4096)) worker.broken.fetch_add(1);
      }
    });
    while (asleep.load() <= i) std::this_thread::sleep_for(200us);
  }
  for (std::size_t i = 0; i < busy; ++i) {
    threads.emplace_back([&, i] { worker.run(*pool, (i + 1) << 40); });
  }
  parent.signal();
  parent.await(100s);
  wake.store(true);
  for (std::size_t i = 0; i < idle; ++i) threads[i].join();
  worker.stop.store(true);
  for (std::size_t i = idle; i < threads.size(); ++i) threads[i].join();
  Tally tally{worker.failed, worker.broken, worker.rounds};
  std::memcpy(tally.why, worker.why, sizeof(tally.why));
  parent.send(tally);
}

}  // namespace

TEST_CASE("of 1,000 threads 990 do nothing: what they cache comes back, the others go on") {
  DaemonProcess daemon(config("2s"));
  std::vector<std::unique_ptr<ChildProcess>> clients;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(
        std::make_unique<ChildProcess>([&](Link& parent) { crowd(parent, daemon, 198, 2); }));
  }
  for (auto& client : clients) client->link().await(100s);
  const std::uint64_t before = cached_bytes(daemon);
  REQUIRE(before > 200 << 20);
  // All but what ten threads work with: 8 magazines each at most.
  CHECK(eventually(
      [&] {
        return cached_bytes(daemon) <= 10 * (8 << 20) &&
               daemon.metric("zeropool_steals_total") >= 500;  // some for the others' start
      },
      30s));
  MESSAGE(before << " bytes cached at first, " << cached_bytes(daemon) << " then");
  CHECK(daemon.metric("zeropool_stolen_bytes_total") > 0);
  for (auto& client : clients) client->link().signal();
  Tally sum;
  for (auto& client : clients) {
    const auto tally = client->link().receive<Tally>(100s);
    CHECK(tally.rounds > 0);
    CHECK_MESSAGE(tally.failed == 0, tally.why);
    sum.failed += tally.failed;
    sum.broken += tally.broken;
    sum.rounds += tally.rounds;
    const End end = client->wait();
    CHECK_MESSAGE(end.well(), client->failure());
  }
  CHECK(sum.failed == 0);
  CHECK(sum.broken == 0);
  CHECK(becomes_all_free(daemon));
  CHECK(daemon.ctl_json({"audit"})["clean"] == true);
}

TEST_CASE("an order that starves gets what lies in idle caches") {
  DaemonProcess daemon(config("1h", "16MiB"));
  ChildProcess idle([&](Link& parent) {
    auto pool = daemon.open("frames");
    // All there is, in the caches of threads that sleep.
    std::vector<std::vector<Buffer>> held(12);
    std::vector<std::thread> threads;
    std::atomic<std::size_t> gone{0};
    std::atomic<bool> end{false};
    for (auto& mine : held) {
      threads.emplace_back([&] {
        for (int i = 0; i < 20; ++i) {
          Buffer buffer = pool->get(kBytes, 50ms);
          if (!buffer) break;
          mine.push_back(std::move(buffer));
        }
        gone.fetch_add(1);
        while (gone.load() < held.size()) std::this_thread::sleep_for(1ms);
        std::this_thread::sleep_for(300ms);  // nobody waits any more
        mine.clear();
        gone.fetch_add(1);
        while (!end.load()) std::this_thread::sleep_for(5ms);
      });
    }
    while (gone.load() < 2 * held.size()) std::this_thread::sleep_for(1ms);
    parent.signal();
    parent.await();
    end.store(true);
    for (std::thread& thread : threads) thread.join();
  });
  idle.link().await();
  REQUIRE(daemon.audit()["cached"] > 40);
  auto pool = daemon.open("frames");
  REQUIRE(pool);
  std::vector<Buffer> held;
  for (;;) {
    Buffer buffer = pool->get(kBytes, 1s);
    if (!buffer) break;
    held.push_back(std::move(buffer));
  }
  // Whatever the other process cached: nobody holds anything.
  CHECK(held.size() * kBytes > 13 << 20);
  CHECK(daemon.metric("zeropool_steals_total", {"reason=\"starving\""}) > 0);
  idle.link().signal();
  CHECK(idle.wait().well());
}

TEST_CASE("a trim takes idle caches first, and a stopped process keeps what it has") {
  DaemonProcess daemon(config("1h", "64MiB"));
  const auto sleeper = [&](Link& parent) {
    auto pool = daemon.open("frames");
    use_cache(*pool, 40);
    parent.signal();
    parent.await();
    use_cache(*pool, 40);
    parent.signal();
    parent.await();
  };
  ChildProcess stopped(sleeper);
  stopped.link().await();
  stopped.send_signal(SIGSTOP);
  const std::uint64_t kept = cached_bytes(daemon);
  REQUIRE(kept > 0);
  ChildProcess idle(sleeper);
  idle.link().await();
  REQUIRE(cached_bytes(daemon) > kept);

  const nlohmann::json trimmed = daemon.ctl_json({"trim"});
  CHECK(trimmed["taken_threads"] == 1);
  CHECK(trimmed["taken_bytes"] > 0);
  CHECK(cached_bytes(daemon) == kept);
  stopped.send_signal(SIGCONT);
  CHECK(eventually([&] { return daemon.ctl_json({"trim"})["taken_threads"] == 1; }));
  CHECK(cached_bytes(daemon) == 0);
  CHECK(daemon.audit()["cached"] == 0);
  CHECK(daemon.ctl_json({"trim"})["taken_threads"] == 0);
  CHECK(daemon.ctl({"pools"}).out.find("taken from idle caches") != std::string::npos);

  for (ChildProcess* child : {&stopped, &idle}) {
    child->link().signal();  // it wakes, and forgets what it had
    child->link().await();
  }
  CHECK(cached_bytes(daemon) > 0);
  CHECK(daemon.ctl_json({"audit"})["clean"] == true);
  idle.kill();
  stopped.link().signal();
  CHECK(stopped.wait().well());
  CHECK(becomes_all_free(daemon));
}

TEST_CASE("a client killed right after its caches were taken leaves nothing behind") {
  DaemonProcess daemon(config("1h", "64MiB"));
  for (int round = 0; round < 10; ++round) {
    ChildProcess client([&](Link& parent) {
      auto pool = daemon.open("frames");
      Buffer kept = pool->get(kBytes);
      use_cache(*pool, 20);
      parent.signal();
      for (;;) {
        if (round % 2 == 0) use_cache(*pool, 3);
        std::this_thread::sleep_for(1ms);
      }
    });
    client.link().await();
    daemon.ctl({"trim"});
    client.kill();
    CHECK(becomes_all_free(daemon));
    CHECK(daemon.ctl_json({"audit"})["clean"] == true);
  }
}

TEST_CASE(
    "a daemon killed while it takes caches from threads at work is followed by one that goes on") {
  DaemonProcess daemon(config("1h", "64MiB"));
  ChildProcess client([&](Link& parent) { crowd(parent, daemon, 40, 4); });
  client.link().await();
  for (int round = 0; round < 6; ++round) {
    std::atomic<bool> stop{false};
    std::jthread trims([&] {
      while (!stop.load()) daemon.ctl({"trim"});
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(20 + 7 * round));
    daemon.kill9();
    stop.store(true);
    daemon.start_again();
    trims.join();  // one that connected after the kill waits for the next daemon
  }
  client.link().signal();
  const auto tally = client.link().receive<Tally>();
  CHECK(tally.broken == 0);
  CHECK_MESSAGE(tally.failed == 0, tally.why);
  CHECK(tally.rounds > 0);
  const End end = client.wait();
  CHECK_MESSAGE(end.well(), client.failure());
  CHECK(becomes_all_free(daemon));
  CHECK(daemon.ctl_json({"audit"})["clean"] == true);
}

TEST_CASE("a thread that comes while orders starve keeps nothing either, and later does") {
  DaemonProcess daemon(config("1h", "16MiB"));
  auto pool = daemon.open("frames");
  REQUIRE(pool);
  std::vector<Buffer> all;
  for (;;) {
    Buffer buffer = pool->get(kBytes, 50ms);
    if (!buffer) break;
    all.push_back(std::move(buffer));
  }
  std::atomic<int> served{0};
  ChildProcess waiter([&](Link& parent) {
    auto mine = daemon.open("frames");
    parent.signal();
    Buffer buffer = mine->get(kBytes, 20s);  // starves
    expect(static_cast<bool>(buffer), buffer.error().sentence);
    parent.signal();
  });
  waiter.link().await();
  REQUIRE(eventually([&] { return daemon.metric("zeropool_orders_waiting") == 1; }));
  // A thread whose record was free until now: its one put goes to the waiter, not into its cache.
  Buffer last = std::move(all.back());
  all.pop_back();
  std::thread([&] { last.reset(); }).join();
  waiter.link().await(5s);
  CHECK(waiter.wait().well());
  all.clear();
  CHECK(eventually([&] { return daemon.metric("zeropool_orders_waiting") == 0; }));
  std::thread([&] {
    use_cache(*pool, 8);
    CHECK(daemon.audit()["cached"] > 0);
  }).join();
}
