// P9. An order's way: post, ring, the daemon wakes, grants, wakes the orderer. Beside it the two wakes alone: a process
// that answers one eventfd by another. The orderer runs on one CPU, daemon and echo on another.
//
// The order is posted by the library's own layout, as a get would only where the ring is empty: here the ring has what
// is ordered, so that nothing but the way is measured.

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <dirent.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdexcept>
#include <string>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <thread>
#include <time.h>
#include <unistd.h>
#include <vector>

#include <zeropool/lib/batch_ring.hpp>
#include <zeropool/lib/client_charge.hpp>
#include <zeropool/lib/control_view.hpp>
#include <zeropool/zeropool.hpp>

#include "tests/integration/support/child_process.hpp"
#include "tests/integration/support/daemon_process.hpp"
#include "tests/integration/support/segment_view.hpp"
#include "waiting_bench.hpp"

namespace zeropool_bench {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;
namespace lib = zeropool::lib;

constexpr int kRounds = 2000;
constexpr auto kPause = 500us;  // so that all sleep again

constexpr const char* kConfig = R"(budget: 64MiB
pages: {size: [4KiB]}
metrics: {listen: []}
pools:
  frames: {classes: [64KiB]}
)";

std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// All threads of a process on one CPU, so that a wake goes from one to the other as between two busy cores; nothing where
// there is one CPU only.
void run_on(pid_t process, unsigned cpu) {
  if (std::thread::hardware_concurrency() < 2) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  const std::string folder = "/proc/" + std::to_string(process) + "/task";
  DIR* tasks = ::opendir(folder.c_str());
  if (tasks == nullptr) throw std::runtime_error(folder);
  while (const dirent* entry = ::readdir(tasks)) {
    if (entry->d_name[0] != '.') ::sched_setaffinity(std::stoi(entry->d_name), sizeof(set), &set);
  }
  ::closedir(tasks);
}

std::vector<int> eventfds() {
  std::vector<int> found;
  DIR* fds = ::opendir("/proc/self/fd");
  if (fds == nullptr) throw std::runtime_error("/proc/self/fd");
  while (const dirent* entry = ::readdir(fds)) {
    char target[64] = {};
    const std::string path = std::string("/proc/self/fd/") + entry->d_name;
    if (::readlink(path.c_str(), target, sizeof(target) - 1) < 0) continue;
    if (std::string(target).rfind("anon_inode:[eventfd]", 0) == 0) {
      found.push_back(std::stoi(entry->d_name));
    }
  }
  ::closedir(fds);
  return found;
}

void ring(int fd) {
  const std::uint64_t one = 1;
  if (::write(fd, &one, sizeof(one)) != sizeof(one)) throw std::runtime_error("eventfd");
}

// Orders one slot, again and again.
class Orderer {
 public:
  explicit Orderer(zeropool::Pool& pool) : client_(pool.client_id()) {
    zeropool::Buffer first = pool.get(65536);
    if (!first) throw std::runtime_error(first.error().sentence);
    const lib::ControlHeader& header = segment_.control().header();
    for (record_ = 0; record_ < header.client_capacity; ++record_) {
      const lib::OwnerWord owner{segment_.control().client(record_).owner.load()};
      if (!owner.in_ring() && owner.client() == client_) break;
    }
    if (record_ == header.client_capacity) throw std::runtime_error("no client record");
    epoch_ = lib::OwnerWord{segment_.control().client(record_).owner.load()}.epoch();
    number_ = header.orders_published.load() - 1;  // gets begin elsewhere, and there are none
    for (const int fd : eventfds()) {
      doorbell_ = fd;
      int granted = 0;
      // More than once: a daemon that is awake finds the order without a bell.
      while (granted < 5 && once(50'000'000) >= 0) {
        ++granted;
        std::this_thread::sleep_for(20ms);
      }
      if (granted == 5) return;
    }
    throw std::runtime_error("no doorbell of zeropoold is open here");
  }

  // Nanoseconds from before the post to after the wake; -1: not granted in time.
  std::int64_t once(std::int64_t most_ns) {
    lib::SharedOrderCell& cell = segment_.control().order(number_);
    const lib::OrderWord free{cell.word.load()};
    const std::int64_t begun = now_ns();
    const std::int64_t deadline = begun + most_ns;
    const auto posted =
        lib::OrderWord::make(free.sequence() + 1, lib::OrderState::kPosted, client_, epoch_);
    cell.items[0].store(lib::OrderItem::make(0, 1).word);
    cell.item_count.store(1);
    cell.deadline_ns.store(static_cast<std::uint64_t>(deadline));
    cell.posted_ns.store(static_cast<std::uint64_t>(begun));
    cell.flags.store(0);
    cell.arena.store(0);
    cell.first_granted.store(0);
    cell.refusal.store(0);
    cell.word.store(posted.word);
    segment_.control().order_hint_word(number_).fetch_or(std::uint64_t{1} << (number_ % 64));
    ring(doorbell_);
    for (;;) {
      const std::uint32_t wake = cell.wake.load();
      const lib::OrderWord word{cell.word.load()};
      if (word.state() == lib::OrderState::kGranted) break;
      if (word != posted) throw std::runtime_error("the order was refused");
      const std::int64_t left = deadline - now_ns();
      if (left <= 0) {
        std::uint64_t expected = posted.word;
        if (!cell.word.compare_exchange_strong(expected, posted.freed().word)) continue;
        return -1;
      }
      timespec timeout{left / 1'000'000'000, left % 1'000'000'000};
      ::syscall(SYS_futex, &cell.wake, FUTEX_WAIT, wake, &timeout, nullptr, 0);
    }
    const std::int64_t took = now_ns() - begun;
    give_back(cell);
    return took;
  }

 private:
  void give_back(lib::SharedOrderCell& cell) {
    const lib::OrderWord granted{cell.word.load()};
    const auto owner = lib::OwnerWord::grant(client_, epoch_, number_, granted.sequence());
    std::uint32_t link = cell.first_granted.load();
    lib::SharedBatchRing batch(segment_.ring(0));
    while (link != 0) {
      const std::uint32_t number = link - 1 - segment_.control().descriptor(0).first_cell;
      link = batch.view().cells[number].count.link();
      batch.view().cells[number].count.set_link(0);
      const std::uint64_t bytes = batch.count_of(number) * std::uint64_t{65536};
      batch.release(number, owner, 0);
      lib::SharedClientCharge(segment_.control().client(record_).charged_bytes,
                              segment_.control().header().client_quota_bytes)
          .remove(bytes);
    }
    cell.word.store(granted.freed().word);
  }

  zeropool::testing::SegmentView segment_;
  std::uint32_t client_ = 0;
  std::uint32_t epoch_ = 0;
  std::uint32_t record_ = 0;
  std::uint32_t number_ = 0;
  int doorbell_ = -1;
};

// Another process that answers one eventfd by another.
class Echo {
 public:
  Echo()
      : there_(::eventfd(0, 0)), back_(::eventfd(0, 0)), child_([this](zeropool::testing::Link&) {
          std::uint64_t value = 0;
          while (::read(there_, &value, sizeof(value)) == sizeof(value)) ring(back_);
        }) {}
  ~Echo() {
    child_.kill();
    ::close(there_);
    ::close(back_);
  }
  Echo(const Echo&) = delete;
  Echo& operator=(const Echo&) = delete;
  pid_t pid() const { return child_.pid(); }
  std::int64_t once() const {
    const std::int64_t begun = now_ns();
    ring(there_);
    std::uint64_t value = 0;
    if (::read(back_, &value, sizeof(value)) != sizeof(value)) throw std::runtime_error("eventfd");
    return now_ns() - begun;
  }

 private:
  int there_;
  int back_;
  zeropool::testing::ChildProcess child_;
};

double at(std::vector<std::int64_t>& values, double share) {
  std::sort(values.begin(), values.end());
  const auto last = static_cast<double>(values.size() - 1);
  return static_cast<double>(values[static_cast<std::size_t>(share * last)]) * 1e-3;
}

}  // namespace

void bench_grant() {
  const zeropool::testing::DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  if (!pool) throw std::runtime_error(pool.error().sentence);
  Orderer orderer(*pool);  // before there are other eventfds
  const Echo echo;
  run_on(::getpid(), 0);
  run_on(daemon.pid(), 1);
  run_on(echo.pid(), 1);
  std::vector<std::int64_t> orders;
  std::vector<std::int64_t> wakes;
  for (int round = 0; round < kRounds; ++round) {  // in turn: the machine's speed moves
    std::this_thread::sleep_for(kPause);
    wakes.push_back(echo.once());
    std::this_thread::sleep_for(kPause);
    const std::int64_t took = orderer.once(10'000'000'000);
    if (took < 0) throw std::runtime_error("an order was not granted within ten seconds");
    orders.push_back(took);
  }
  const double order = at(orders, 0.5);
  const double wake = at(wakes, 0.5);
  std::printf(
      "P9   order to grant, both asleep: median %.1f us (p90 %.1f); two eventfd wakes: %.1f us "
      "(p90 "
      "%.1f): %.2f (goal: 1.5)\n",
      order, at(orders, 0.9), wake, at(wakes, 0.9), order / wake);
}

}  // namespace zeropool_bench
