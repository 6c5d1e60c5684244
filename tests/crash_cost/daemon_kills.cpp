// zeropoold is killed again and again under full load, each time just before its clients want more than there is in the
// ring: orders that only the next daemon can grant.

#include <array>
#include <atomic>
#include <cstdio>
#include <memory>
#include <thread>
#include <vector>

#include <zeropool/zeropool.hpp>

#include "crash_bench.hpp"
#include "tests/integration/support/child_process.hpp"
#include "tests/integration/support/daemon_process.hpp"

namespace zeropool_bench {
namespace {

using namespace std::chrono_literals;
using zeropool::Buffer;
using zeropool::Pool;
using zeropool::testing::ChildProcess;
using zeropool::testing::DaemonProcess;
using zeropool::testing::expect;
using zeropool::testing::Link;

constexpr std::size_t kClients = 4;
constexpr std::size_t kBytes = 64 * 1024;
constexpr int kKills = 20;
constexpr std::uint32_t kMoreAtEachKill = 64;  // buffers a client: 4 x 64 x 64 KiB = 16 MiB
constexpr std::size_t kMostWaits = 4096;
constexpr std::size_t kCodes = 32;
// What a service manager lets pass between a daemon's end and its next start (systemd: RestartSec).
constexpr auto kAway = 100ms;

// Enough for all that is ever held; nothing ahead of demand but the low watermark.
constexpr const char* kConfig = R"(budget: 640MiB
metrics: {listen: []}
pages: {size: [4KiB]}
pools:
  bench: {classes: [64KiB], watermarks: {low: 2MiB, high: 4MiB}, wait: {timeout: 30s}}
)";

struct Own {
  std::atomic<std::uint64_t> gets{0};
  std::atomic<std::uint32_t> held{0};
  std::uint64_t failed[kCodes] = {};
  std::atomic<std::uint32_t> waits{0};
  std::uint64_t wait_ns[kMostWaits] = {};  // of orders that waited while no daemon was there
};
struct Shared {
  std::atomic<std::uint32_t> target{kMoreAtEachKill};
  std::atomic<std::uint64_t> killed_ns{0};    // the last time
  std::atomic<std::uint64_t> answered_ns{0};  // the next daemon's first answer; 0: not yet
  std::atomic<bool> end{false};
  std::array<Own, kClients> clients;
};

// An order it was if it was not served by caches or ring; the first clock value is from before the get.
void note_wait(Shared& shared, Own& own, std::uint64_t begun, std::uint64_t ended) {
  const std::uint64_t killed = shared.killed_ns.load();
  const std::uint64_t answered = shared.answered_ns.load();
  const bool while_away = ended > killed && (answered == 0 || begun < answered);
  const std::uint32_t n = own.waits.load(std::memory_order_relaxed);
  if (!while_away || n == kMostWaits) return;
  own.wait_ns[n] = ended - begun;
  own.waits.store(n + 1);
}

void be_client(Pool pool, Shared& shared, Own& own) {
  std::vector<Buffer> held;
  held.reserve(kMoreAtEachKill * (kKills + 2));
  std::uint64_t allocations = 0;
  const auto get = [&] {
    const std::uint64_t begun = now_ns();
    Buffer buffer = pool.get(kBytes);
    const std::uint64_t ended = now_ns();
    own.gets.fetch_add(1, std::memory_order_relaxed);
    if (!buffer) {
      const auto code = static_cast<std::size_t>(buffer.error_code());
      ++own.failed[code < kCodes ? code : kCodes - 1];
    } else if (ended - begun > 20'000) {  // a hit is far below
      const std::uint64_t now = pool.stats().allocations;
      if (now > allocations) note_wait(shared, own, begun, ended);
      allocations = now;
    }
    return buffer;
  };
  std::size_t next = 0;
  while (!shared.end.load(std::memory_order_relaxed)) {
    if (held.size() < shared.target.load(std::memory_order_relaxed)) {
      Buffer more = get();
      if (more) held.push_back(std::move(more));
      own.held.store(static_cast<std::uint32_t>(held.size()));
      continue;
    }
    next = (next + 1) % held.size();
    held[next].reset();
    held[next] = get();
    if (!held[next]) {
      held[next] = std::move(held.back());
      held.pop_back();
    }
  }
}

}  // namespace

void bench_daemon_kills() {
  Shared& shared = shared_with_children<Shared>();
  DaemonProcess daemon(kConfig);
  const auto all_have_enough = [&] {
    for (const Own& own : shared.clients) {
      if (own.held.load() < shared.target.load()) return false;
    }
    return true;
  };
  std::vector<std::unique_ptr<ChildProcess>> clients;
  for (Own& own : shared.clients) {
    clients.push_back(std::make_unique<ChildProcess>([&](Link&) {
      auto pool = daemon.open();
      expect(static_cast<bool>(pool), pool.error().sentence);
      be_client(*pool, shared, own);
    }));
  }
  expect(zeropool::testing::eventually(all_have_enough, 30s), "the clients do not come up");

  std::vector<double> away_ms;
  for (int kill = 0; kill < kKills; ++kill) {
    std::this_thread::sleep_for(200ms);
    shared.answered_ns = 0;
    shared.killed_ns = now_ns();
    daemon.kill9();
    shared.target.fetch_add(kMoreAtEachKill);
    std::this_thread::sleep_for(kAway);
    daemon.start_again();
    shared.answered_ns = now_ns();
    away_ms.push_back(static_cast<double>(shared.answered_ns - shared.killed_ns) / 1e6);
    expect(zeropool::testing::eventually(all_have_enough, 60s),
           "an order was not granted after kill " + std::to_string(kill + 1));
  }
  shared.end = true;
  std::uint64_t gets = 0;
  std::uint64_t failed = 0;
  std::array<std::uint64_t, kCodes> by_code{};
  std::vector<double> waits_ms;
  for (std::size_t i = 0; i < kClients; ++i) {
    expect(clients[i]->wait().well(), clients[i]->failure());
    const Own& own = shared.clients[i];
    gets += own.gets;
    for (std::size_t code = 0; code < kCodes; ++code) {
      by_code[code] += own.failed[code];
      failed += own.failed[code];
    }
    for (std::uint32_t n = 0; n < own.waits; ++n)
      waits_ms.push_back(static_cast<double>(own.wait_ns[n]) / 1e6);
  }
  std::printf("zeropoold killed %d times under the load of %zu clients: %llu gets, %llu failed\n",
              kKills, kClients, static_cast<unsigned long long>(gets),
              static_cast<unsigned long long>(failed));
  for (std::size_t code = 0; code < kCodes; ++code) {
    if (by_code[code] > 0) {
      std::printf("     %s: %llu\n", zp_strerror(static_cast<int>(code)),
                  static_cast<unsigned long long>(by_code[code]));
    }
  }
  std::printf(
      "     from a kill to the next daemon's answer: median %.0f ms, max %.0f ms (%lld ms of it "
      "the pause before its start)\n",
      median(away_ms), largest(away_ms), static_cast<long long>(kAway.count()));
  std::printf("     %zu orders waited meanwhile: median %.0f ms, max %.0f ms\n", waits_ms.size(),
              median(waits_ms), largest(waits_ms));
}

}  // namespace zeropool_bench
