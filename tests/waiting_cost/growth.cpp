// P8. Memory that comes, against the kernel's calls alone; then gets at half that speed. Beside them the same gets without
// growth, and those next to a process that commits memory: what of a slow get is the machine's.

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <fcntl.h>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
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
constexpr std::chrono::nanoseconds kGoal = 5us;  // for 999 gets of 1000

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

// What gets of 1 GiB took, at a pace.
struct Gets {
  LatencyHistogram took;
  std::uint64_t slow = 0;         // above the goal
  std::uint64_t ordered = 0;      // slow ones that had to wait for their memory
  std::uint64_t preemptions = 0;  // times that the kernel gave the client's CPU to others
};

std::uint64_t preemptions_so_far() {
  rusage use{};
  ::getrusage(RUSAGE_THREAD, &use);
  return static_cast<std::uint64_t>(use.ru_nivcsw);
}

// So many MiB a second are got, to kBytes, and put back.
void get_at(zeropool::Pool& pool, double mib_per_second, Gets& gets) {
  std::vector<zeropool::Buffer> held;
  held.reserve(kBytes / kBuffer);
  const double each = static_cast<double>(kBuffer) / static_cast<double>(kMiB) / mib_per_second;
  const std::uint64_t ordered_before = pool.stats().allocations;
  const std::uint64_t preempted_before = preemptions_so_far();
  const Clock::time_point begun = Clock::now();
  while (held.size() < kBytes / kBuffer) {
    // In time: what came late is asked for at once after.
    while (seconds_since(begun) < each * static_cast<double>(held.size())) {
    }
    const Clock::time_point asked = Clock::now();
    zeropool::Buffer buffer = pool.get(kBuffer);
    const auto took =
        std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - asked).count();
    if (!buffer) throw std::runtime_error(buffer.error().sentence);
    gets.took.add(static_cast<std::uint64_t>(took));
    if (took > kGoal.count()) ++gets.slow;
    held.push_back(std::move(buffer));
  }
  gets.preemptions += preemptions_so_far() - preempted_before;
  gets.ordered += pool.stats().allocations - ordered_before;
}

// A process that brings memory by fallocate alone, as fast as it comes, and gives it back, until this one goes.
class Neighbour {
 public:
  Neighbour() : pid_(::fork()) {
    if (pid_ < 0) throw std::runtime_error("fork");
    if (pid_ == 0) bring();
  }
  ~Neighbour() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Neighbour(const Neighbour&) = delete;
  Neighbour& operator=(const Neighbour&) = delete;

 private:
  [[noreturn]] static void bring() {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int fd = ::memfd_create("neighbour", MFD_CLOEXEC);
    constexpr std::uint64_t kMost = 256 * kMiB;
    for (std::uint64_t at = 0; fd >= 0; at = (at + kStep) % kMost) {
      const auto offset = static_cast<off_t>(at);
      constexpr auto kLength = static_cast<off_t>(kStep);
      if (at == 0 && ::ftruncate(fd, 0) != 0) break;
      if (::fallocate(fd, 0, offset, kLength) != 0) break;
    }
    ::_exit(1);
  }

  pid_t pid_;
};

void print(const char* what, const Gets& gets) {
  std::printf(
      "     %s: median %llu ns, p99 %llu, p99.9 %llu (goal: %lld), max %llu\n"
      "       %llu gets: %llu ordered, %llu more above the goal; off its CPU %llu times\n",
      what, static_cast<unsigned long long>(gets.took.quantile(0.5)),
      static_cast<unsigned long long>(gets.took.quantile(0.99)),
      static_cast<unsigned long long>(gets.took.quantile(0.999)),
      static_cast<long long>(kGoal.count()), static_cast<unsigned long long>(gets.took.largest()),
      static_cast<unsigned long long>(gets.took.total()),
      static_cast<unsigned long long>(gets.ordered),
      static_cast<unsigned long long>(gets.slow - std::min(gets.slow, gets.ordered)),
      static_cast<unsigned long long>(gets.preemptions));
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
  Gets growing;
  Gets there;
  Gets beside;
  for (int i = 0; i < kRounds; ++i) {  // in turn, too
    const zeropool::testing::DaemonProcess daemon(kConfig);
    auto pool = daemon.open();
    if (!pool) throw std::runtime_error(pool.error().sentence);
    get_at(*pool, half, growing);
    get_at(*pool, half, there);
    const Neighbour neighbour;
    get_at(*pool, half, beside);
  }
  std::printf("     at %.0f MiB/s, half of that:\n", half);
  print("get while demand grows", growing);
  print("the same gets of memory that is there", there);
  print("and beside a process that does nothing but fallocate", beside);
}

}  // namespace zeropool_bench
