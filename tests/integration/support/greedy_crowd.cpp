#include "greedy_crowd.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <thread>

#include "child_process.hpp"
#include "survivor.hpp"

namespace zeropool::testing {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::size_t kBytes = 65536;

constexpr const char* kConfig = R"(budget: 16MiB
limits: {clients: 64, threads: 64}
pages: {size: [4KiB]}
metrics: {listen: []}
pools:
  frames: {classes: [64KiB], wait: {timeout: 30s}}
)";

constexpr auto kHold = 200us;

// Gets, writes, holds it for a moment, puts, and wants the next one at once.
CrowdMember be_greedy(Pool& pool, Clock::time_point end) {
  CrowdMember member;
  for (Clock::time_point now = Clock::now(); now < end;) {
    Buffer buffer = pool.get(kBytes);
    const Clock::time_point got = Clock::now();
    if (buffer) {
      ++member.gets;
      std::memset(buffer.data(), static_cast<int>(member.gets & 0xff), 4096);
      std::this_thread::sleep_for(kHold);
    } else {
      ++member.failed;
    }
    const auto waited = std::chrono::duration_cast<std::chrono::nanoseconds>(got - now).count();
    member.longest_wait_ns = std::max(member.longest_wait_ns, static_cast<std::uint64_t>(waited));
    buffer.reset();
    now = Clock::now();
  }
  return member;
}

}  // namespace

CrowdFigures run_greedy_crowd(std::size_t clients, std::size_t left,
                              std::chrono::milliseconds time) {
  const DaemonProcess daemon(kConfig);
  std::vector<std::unique_ptr<ChildProcess>> processes;
  for (std::size_t i = 0; i < clients; ++i) {
    processes.push_back(std::make_unique<ChildProcess>([&daemon, time](Link& parent) {
      auto pool = daemon.open();
      expect(static_cast<bool>(pool), pool.error().sentence);
      parent.signal();
      parent.await();
      parent.send(be_greedy(*pool, Clock::now() + time));
    }));
  }
  for (auto& process : processes) process->link().await();
  auto pool = daemon.open();
  expect(static_cast<bool>(pool), pool.error().sentence);
  Survivor holder(*pool, kBytes);
  expect(holder.fill_pool() > left, "the budget is too small");
  std::thread([&] {
    holder.put(left);
  }).join();  // a thread that ends keeps none of them in its cache
  for (auto& process : processes) process->link().signal();
  CrowdFigures figures;
  for (auto& process : processes) {
    figures.members.push_back(process->link().receive<CrowdMember>(time + 60s));
  }
  return figures;
}

std::uint64_t CrowdFigures::fewest_gets() const {
  std::uint64_t fewest = UINT64_MAX;
  for (const CrowdMember& member : members) fewest = std::min(fewest, member.gets);
  return fewest;
}

std::uint64_t CrowdFigures::most_gets() const {
  std::uint64_t most = 0;
  for (const CrowdMember& member : members) most = std::max(most, member.gets);
  return most;
}

std::uint64_t CrowdFigures::gets() const {
  std::uint64_t sum = 0;
  for (const CrowdMember& member : members) sum += member.gets;
  return sum;
}

std::uint64_t CrowdFigures::failed() const {
  std::uint64_t sum = 0;
  for (const CrowdMember& member : members) sum += member.failed;
  return sum;
}

std::uint64_t CrowdFigures::longest_wait_ns() const {
  std::uint64_t longest = 0;
  for (const CrowdMember& member : members) longest = std::max(longest, member.longest_wait_ns);
  return longest;
}

double CrowdFigures::spread() const {
  const std::uint64_t fewest = fewest_gets();
  if (fewest == 0) return 1e9;
  return static_cast<double>(most_gets() - fewest) / static_cast<double>(fewest);
}

}  // namespace zeropool::testing
