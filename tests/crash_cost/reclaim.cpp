// P11: the reclaim of a client that held 100,000 slots, and get+put of two others before and meanwhile.

#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include <zeropool/zeropool.hpp>

#include "crash_bench.hpp"
#include "latency_histogram.hpp"
#include "tests/integration/support/child_process.hpp"
#include "tests/integration/support/daemon_process.hpp"
#include "tests/integration/support/segment_view.hpp"

namespace zeropool_bench {
namespace {

using namespace std::chrono_literals;
using zeropool::Buffer;
using zeropool::Pool;
using zeropool::testing::ChildProcess;
using zeropool::testing::DaemonProcess;
using zeropool::testing::expect;
using zeropool::testing::Link;
using zeropool::testing::SegmentView;

constexpr std::size_t kSlots = 100'000;
constexpr std::size_t kBytes = 4096;
constexpr std::size_t kOthers = 2;
constexpr int kRounds = 9;
// More than a magazine: their gets claim and release, too.
constexpr std::size_t kHeldByOthers = 100;

constexpr const char* kConfig = R"(budget: 768MiB
metrics: {listen: ["127.0.0.1:0"]}
pages: {size: [4KiB]}
pools:
  bench: {classes: [4KiB], watermarks: {low: 16MiB, high: 700MiB}}
)";

enum Phase : std::uint32_t { kIdle, kBefore, kDuring, kEnd };

struct Other {
  LatencyHistogram before;
  LatencyHistogram during;
  std::uint64_t failed = 0;
  std::atomic<bool> ready{false};
};
struct Shared {
  std::atomic<std::uint32_t> phase{kIdle};
  std::array<Other, kOthers> others;
};

// Gets one and puts the oldest, and times the two.
void be_other(Pool pool, Shared& shared, Other& own) {
  std::deque<Buffer> held;
  while (held.size() < kHeldByOthers) held.push_back(pool.get(kBytes));
  own.ready = true;
  for (;;) {
    const std::uint32_t phase = shared.phase.load(std::memory_order_relaxed);
    if (phase == kEnd) return;
    const std::uint64_t begun = now_ns();
    held.push_back(pool.get(kBytes));
    Buffer oldest = std::move(held.front());
    held.pop_front();
    oldest.reset();
    const std::uint64_t took = now_ns() - begun;
    if (!held.back()) ++own.failed;
    if (phase == kBefore) own.before.add(took);
    if (phase == kDuring) own.during.add(took);
  }
}

void be_victim(Pool pool, Link& parent) {
  auto held = std::make_unique<std::vector<Buffer>>(kSlots);
  std::size_t got = 0;
  while (got < kSlots) {
    const std::size_t more = pool.get_batch(kBytes, std::span(*held).subspan(got));
    expect(more > 0, zp_last_error());
    got += more;
  }
  parent.signal();
  parent.await(1h);
}

void print(const char* name, const LatencyHistogram& times) {
  std::printf(
      "     get+put of %zu others %s: median %llu ns, p99 %llu, p99.9 %llu, max %llu (%llu "
      "pairs)\n",
      kOthers, name, static_cast<unsigned long long>(times.quantile(0.5)),
      static_cast<unsigned long long>(times.quantile(0.99)),
      static_cast<unsigned long long>(times.quantile(0.999)),
      static_cast<unsigned long long>(times.largest()),
      static_cast<unsigned long long>(times.total()));
}

}  // namespace

void bench_reclaim() {
  Shared& shared = shared_with_children<Shared>();
  const DaemonProcess daemon(kConfig);
  const auto open = [&] {
    auto pool = daemon.open();
    expect(static_cast<bool>(pool), pool.error().sentence);
    return *pool;
  };
  Pool own = open();
  own.get(kBytes).reset();
  const SegmentView segment;
  std::vector<std::unique_ptr<ChildProcess>> others;
  for (Other& other : shared.others) {
    others.push_back(
        std::make_unique<ChildProcess>([&](Link&) { be_other(open(), shared, other); }));
    expect(zeropool::testing::eventually([&] { return other.ready.load(); }),
           "an other is not ready");
  }
  const std::size_t clients = segment.clients();
  std::vector<double> reclaim_ms;
  std::vector<double> kill_to_end_ms;
  for (int round = 0; round < kRounds; ++round) {
    ChildProcess victim([&](Link& parent) { be_victim(open(), parent); });
    victim.link().await();
    const double reclaimed_before = daemon.metric("zeropool_reclaimed_slots_total");
    const double seconds_before = daemon.metric("zeropool_reclaim_duration_seconds_sum");
    shared.phase = kBefore;
    std::this_thread::sleep_for(500ms);
    shared.phase = kDuring;
    const std::uint64_t killed = now_ns();
    victim.send_signal(SIGKILL);
    // Its record goes last.
    while (segment.clients() > clients) {
      expect(now_ns() - killed < 30'000'000'000, "the victim is not reclaimed");
      std::this_thread::sleep_for(100us);
    }
    kill_to_end_ms.push_back(static_cast<double>(now_ns() - killed) / 1e6);
    shared.phase = kIdle;
    expect(zeropool::testing::eventually([&] {
             return daemon.metric("zeropool_reclaimed_slots_total") - reclaimed_before >=
                    static_cast<double>(kSlots);
           }),
           "fewer slots came back than the victim held");
    reclaim_ms.push_back((daemon.metric("zeropool_reclaim_duration_seconds_sum") - seconds_before) *
                         1e3);
  }
  shared.phase = kEnd;
  LatencyHistogram before;
  LatencyHistogram during;
  std::uint64_t failed = 0;
  for (std::size_t i = 0; i < kOthers; ++i) {
    expect(others[i]->wait().well(), others[i]->failure());
    before.add(shared.others[i].before);
    during.add(shared.others[i].during);
    failed += shared.others[i].failed;
  }
  std::printf(
      "P11  reclaim of a client that held %zu slots of 4 KiB: median %.2f ms, max %.2f ms of %d "
      "(goal: 20 ms)\n",
      kSlots, median(reclaim_ms), largest(reclaim_ms), kRounds);
  std::printf(
      "     from the kill to the last slot, the kernel's part with it: median %.1f ms, max %.1f "
      "ms\n",
      median(kill_to_end_ms), largest(kill_to_end_ms));
  print("before", before);
  print("during", during);
  std::printf("     failed gets of the others: %llu\n", static_cast<unsigned long long>(failed));
}

}  // namespace zeropool_bench
