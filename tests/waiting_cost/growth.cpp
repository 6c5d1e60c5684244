// P8. Memory that comes, against the kernel's calls alone; then gets at half that speed.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fcntl.h>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#include <zeropool/zeropool.hpp>

#include "tests/crash_cost/latency_histogram.hpp"
#include "tests/integration/support/daemon_process.hpp"
#include "waiting_bench.hpp"

namespace zeropool_bench {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::uint64_t kBytes = 1024 * kMiB;
constexpr std::size_t kBuffer = 65536;
constexpr std::uint64_t kStep = 2 * kMiB;  // as the daemon commits it (commit.hpp)
constexpr int kRounds = 5;

constexpr const char* kConfig = R"(budget: 1600MiB
pages: {size: [4KiB]}
metrics: {listen: []}
pools:
  frames: {classes: [64KiB], thread_cache: 1MiB, wait: {timeout: 10s}}
)";

double seconds_since(Clock::time_point begun) {
  return std::chrono::duration<double>(Clock::now() - begun).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// MiB a second, by nothing but fallocate in steps.
double raw_speed() {
  const int fd = ::memfd_create("raw", MFD_CLOEXEC);
  if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(kBytes)) != 0) {
    throw std::runtime_error("memfd_create");
  }
  const Clock::time_point begun = Clock::now();
  for (std::uint64_t at = 0; at < kBytes; at += kStep) {
    if (::fallocate(fd, 0, static_cast<off_t>(at), static_cast<off_t>(kStep)) != 0) {
      throw std::runtime_error("fallocate: no memory");
    }
  }
  const double speed = static_cast<double>(kBytes / kMiB) / seconds_since(begun);
  ::close(fd);
  return speed;
}

// MiB a second that a client gets, which puts nothing back. A get that fails ends it.
double pool_speed() {
  const zeropool::testing::DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  if (!pool) throw std::runtime_error(pool.error().sentence);
  std::vector<zeropool::Buffer> held;
  held.reserve(kBytes / kBuffer);
  const Clock::time_point begun = Clock::now();
  while (held.size() < kBytes / kBuffer) {
    zeropool::Buffer buffer = pool->get(kBuffer);
    if (!buffer) throw std::runtime_error(buffer.error().sentence);
    held.push_back(std::move(buffer));
  }
  return static_cast<double>(kBytes / kMiB) / seconds_since(begun);
}

// How long each get takes while demand grows at so many MiB a second.
LatencyHistogram gets_at(double mib_per_second, std::uint64_t& ordered) {
  const zeropool::testing::DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  if (!pool) throw std::runtime_error(pool.error().sentence);
  LatencyHistogram histogram;
  std::vector<zeropool::Buffer> held;
  held.reserve(kBytes / kBuffer);
  const double each = static_cast<double>(kBuffer) / static_cast<double>(kMiB) / mib_per_second;
  const Clock::time_point begun = Clock::now();
  while (held.size() < kBytes / kBuffer) {
    // In time: what came late is asked for at once after.
    while (seconds_since(begun) < each * static_cast<double>(held.size())) {
    }
    const Clock::time_point asked = Clock::now();
    zeropool::Buffer buffer = pool->get(kBuffer);
    const auto took =
        std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - asked).count();
    if (!buffer) throw std::runtime_error(buffer.error().sentence);
    histogram.add(static_cast<std::uint64_t>(took));
    held.push_back(std::move(buffer));
  }
  ordered += pool->stats().allocations;
  return histogram;
}

}  // namespace

void bench_growth() {
  std::vector<double> raw;
  std::vector<double> ours;
  for (int i = 0; i < kRounds; ++i) {  // in turn: the machine's speed moves
    raw.push_back(raw_speed());
    ours.push_back(pool_speed());
  }
  std::printf(
      "P8   growth: a client gets %.0f MiB/s of new memory, fallocate alone brings %.0f: %.2f "
      "(goal: "
      "0.9)\n",
      median(ours), median(raw), median(ours) / median(raw));
  const double half = median(raw) / 2;
  LatencyHistogram all;
  std::uint64_t ordered = 0;
  for (int i = 0; i < kRounds; ++i) all.add(gets_at(half, ordered));
  std::printf(
      "     get while demand grows at %.0f MiB/s: median %llu ns, p99 %llu, p99.9 %llu (goal: "
      "5000), "
      "max %llu (%llu gets, %llu of them ordered)\n",
      half, static_cast<unsigned long long>(all.quantile(0.5)),
      static_cast<unsigned long long>(all.quantile(0.99)),
      static_cast<unsigned long long>(all.quantile(0.999)),
      static_cast<unsigned long long>(all.largest()), static_cast<unsigned long long>(all.total()),
      static_cast<unsigned long long>(ordered));
}

}  // namespace zeropool_bench
