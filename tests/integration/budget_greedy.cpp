// The budget is a hard cap, however greedy the clients; and what they give back is given back.

#include <atomic>
#include <chrono>
#include <dirent.h>
#include <map>
#include <memory>
#include <signal.h>
#include <string>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"
#include "support/pattern.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::ErrorCode;
using zeropool::Pool;

namespace {

constexpr std::uint64_t kMiB = 1024 * 1024;

using Committed = std::map<std::uint64_t, std::uint64_t>;  // bytes by segment

// What the kernel says is committed in all segments of the daemon: control, data, ledger.
Committed look_at_segments(pid_t daemon) {
  const std::string folder = "/proc/" + std::to_string(daemon) + "/fd";
  DIR* fds = ::opendir(folder.c_str());
  if (fds == nullptr) return {};
  Committed by_inode;
  while (const dirent* entry = ::readdir(fds)) {
    const std::string path = folder + "/" + entry->d_name;
    char target[256] = {};
    if (::readlink(path.c_str(), target, sizeof(target) - 1) < 0) continue;
    const std::string name = target;
    // An answer to zeropoolctl is no pool memory.
    if (name.rfind("/memfd:", 0) != 0 || name.rfind("/memfd:zeropool-document", 0) == 0) continue;
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) continue;
    by_inode[info.st_ino] = static_cast<std::uint64_t>(info.st_blocks) * 512;
  }
  ::closedir(fds);
  return by_inode;
}

// Their sum at one instant. Segments are looked at one after the other, and what moves from one pool to another
// in between would count twice: so only two looks that see the same say what was so between them. 0: no such.
std::uint64_t committed_outside(pid_t daemon) {
  const Committed first = look_at_segments(daemon);
  if (first != look_at_segments(daemon)) return 0;
  std::uint64_t sum = 0;
  for (const auto& [inode, bytes] : first) sum += bytes;
  return sum;
}

// Looks every millisecond or so until it is destroyed.
class Sampler {
 public:
  explicit Sampler(pid_t daemon)
      : thread_([this, daemon] {
          while (!stop_) {
            const std::uint64_t now = committed_outside(daemon);
            if (now > peak_) peak_ = now;
            if (now > 0) ++samples_;
            pause_briefly();
          }
        }) {}
  ~Sampler() { end(); }
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;

  void end() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  std::uint64_t peak() const { return peak_; }
  int samples() const { return samples_; }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> peak_{0};
  std::atomic<int> samples_{0};
  std::thread thread_;
};

struct Refusal {
  std::uint64_t buffers = 0;
  std::uint64_t bytes = 0;  // of the classes held
  ErrorCode code = ErrorCode::ok;
  bool intact = false;
  char sentence[1024] = {};
};

// Takes mixed sizes until refused, says how that was, holds until told, gives all back.
std::unique_ptr<ChildProcess> start_greedy(const DaemonProcess& daemon, const std::string& name,
                                           std::uint64_t seed, std::vector<std::size_t> sizes) {
  return std::make_unique<ChildProcess>([&daemon, name, seed, sizes](Link& parent) {
    auto pool = daemon.open(name);
    expect(static_cast<bool>(pool), pool.error().sentence);
    parent.signal();
    parent.await();
    Random random(seed);
    Refusal refusal;
    std::vector<Buffer> held;
    for (;;) {
      Buffer buffer = pool->get(sizes[random.below(sizes.size())]);
      if (!buffer) {
        refusal.code = buffer.error_code();
        buffer.error().sentence.copy(refusal.sentence, sizeof(refusal.sentence) - 1);
        break;
      }
      refusal.bytes += buffer.capacity();
      write_pattern(buffer, seed * 1000000 + held.size(), 2048);
      held.push_back(std::move(buffer));
    }
    refusal.buffers = held.size();
    parent.send(refusal);
    parent.await();
    refusal.intact = true;
    for (std::size_t i = 0; i < held.size(); ++i) {
      refusal.intact = refusal.intact && has_pattern(held[i], seed * 1000000 + i, 2048);
    }
    held.clear();
    parent.send(refusal);
    parent.await();
  });
}

bool names_a_holder(const std::string& sentence,
                    const std::vector<std::unique_ptr<ChildProcess>>& processes) {
  for (const auto& process : processes) {
    if (sentence.find("(pid " + std::to_string(process->pid()) + ")") != std::string::npos) {
      return true;
    }
  }
  return false;
}

}  // namespace

TEST_CASE("eight greedy processes never take the daemon past its budget") {
  constexpr std::uint64_t kBudget = 256 * kMiB;
  const DaemonProcess daemon(R"(budget: 256MiB
pools:
  frames:
    classes: [4KiB, 64KiB, 1MiB, 4MiB]
    wait: {timeout: 500ms}
)");
  const std::uint64_t at_start = committed_outside(daemon.pid());
  CHECK(at_start > 0);
  CHECK(at_start <= kBudget);
  std::vector<std::unique_ptr<ChildProcess>> greedy;
  for (std::uint64_t i = 0; i < 8; ++i) {
    greedy.push_back(start_greedy(daemon, "frames", i, {300, 4096, 60000, 900000, 4000000}));
  }
  for (auto& process : greedy) process->link().await();
  Sampler sampler(daemon.pid());
  for (auto& process : greedy) process->link().signal();
  std::uint64_t bytes = 0;
  std::uint64_t buffers = 0;
  for (auto& process : greedy) {
    const Refusal refusal = process->link().receive<Refusal>();
    const std::string sentence = refusal.sentence;
    CAPTURE(sentence);
    CHECK(refusal.code == ErrorCode::budget_exhausted);
    CHECK(sentence.find("largest holders: ") != std::string::npos);
    CHECK(names_a_holder(sentence, greedy));
    bytes += refusal.bytes;
    buffers += refusal.buffers;
  }
  CHECK(bytes <= kBudget);
  CHECK(bytes > kBudget / 2);
  CHECK(daemon.audit()["held"] == buffers);
  CHECK(daemon.metric("zeropool_budget_committed_bytes") <= static_cast<double>(kBudget));
  for (auto& process : greedy) process->link().signal();
  for (auto& process : greedy) CHECK(process->link().receive<Refusal>().intact);
  CHECK(daemon.audit()["held"] == 0);
  for (auto& process : greedy) process->link().signal();
  for (auto& process : greedy) {
    CHECK(process->wait().well());
    CHECK(process->failure() == "");
  }
  CHECK(becomes_all_free(daemon));
  sampler.end();
  MESSAGE("peak " << sampler.peak() / 1024 << " KiB of " << kBudget / 1024 << " KiB in "
                  << sampler.samples() << " samples, " << buffers << " buffers");
  CHECK(sampler.samples() > 20);
  CHECK(sampler.peak() <= kBudget);
  CHECK(sampler.peak() > kBudget / 2);

  const CommandResult trim = daemon.ctl({"trim"});
  CHECK_MESSAGE(trim.exit_code == 0, trim.err);
  CHECK(committed_outside(daemon.pid()) < at_start + 8 * kMiB);
  CHECK(daemon.ctl_json({"status"})["committed_bytes"].get<std::uint64_t>() >=
        committed_outside(daemon.pid()));
  CHECK(all_free(daemon.audit()));
  auto pool = daemon.open();  // and it serves again
  REQUIRE(pool);
  CHECK(pool->get(4 * kMiB));
}

TEST_CASE("greedy clients that give back and take again, and are killed, stay within the budget") {
  constexpr std::uint64_t kBudget = 96 * kMiB;
  const DaemonProcess daemon(R"(budget: 96MiB
pools:
  frames:
    classes: [4KiB, 64KiB, 1MiB]
    wait: {timeout: 50ms}
)");
  Sampler sampler(daemon.pid());
  Random random(3);
  for (int round = 0; round < 6; ++round) {
    // Each round wants other classes, so memory has to move between them.
    const std::vector<std::size_t> sizes = round % 3 == 0   ? std::vector<std::size_t>{4096}
                                           : round % 3 == 1 ? std::vector<std::size_t>{65536}
                                                            : std::vector<std::size_t>{1 << 20};
    std::vector<std::unique_ptr<ChildProcess>> greedy;
    for (std::uint64_t i = 0; i < 3; ++i) {
      greedy.push_back(start_greedy(daemon, "frames", random(), sizes));
    }
    for (auto& process : greedy) process->link().await();
    for (auto& process : greedy) process->link().signal();
    std::uint64_t bytes = 0;
    for (auto& process : greedy) {
      const Refusal refusal = process->link().receive<Refusal>();
      bytes += refusal.bytes;
      CHECK((refusal.code == ErrorCode::budget_exhausted || refusal.code == ErrorCode::timed_out));
    }
    CAPTURE(round);
    CHECK(bytes > kBudget / 2);
    for (auto& process : greedy) CHECK(process->kill().signal == SIGKILL);
    REQUIRE(becomes_all_free(daemon));
  }
  sampler.end();
  CHECK(sampler.peak() <= kBudget);
  CHECK(daemon.ctl({"status"}).exit_code == 0);
}

TEST_CASE("a reserved part is there for its pool when another has taken all the rest") {
  constexpr std::uint64_t kBudget = 160 * kMiB;
  const DaemonProcess daemon(R"(budget: 160MiB
limits: {clients: 32, threads: 64}
pools:
  kept: {classes: [1MiB], reserved: 64MiB, wait: {timeout: 2s}}
  greedy: {classes: [64KiB, 1MiB], wait: {timeout: 200ms}}
)");
  Sampler sampler(daemon.pid());
  std::vector<std::unique_ptr<ChildProcess>> processes;
  for (std::uint64_t i = 0; i < 2; ++i) {
    processes.push_back(start_greedy(daemon, "greedy", i, {60000, 1 << 20}));
  }
  for (auto& process : processes) process->link().await();
  for (auto& process : processes) process->link().signal();
  std::uint64_t bytes = 0;
  for (auto& process : processes) {
    const Refusal refusal = process->link().receive<Refusal>();
    CHECK(refusal.code == ErrorCode::budget_exhausted);
    bytes += refusal.bytes;
  }
  CHECK(bytes <= kBudget - 64 * kMiB);
  CHECK(bytes > 32 * kMiB);
  auto kept = daemon.open("kept");
  REQUIRE(kept);
  std::vector<Buffer> held;
  for (;;) {
    Buffer buffer = kept->get(kMiB);
    if (!buffer) {
      CHECK(buffer.error_code() == ErrorCode::budget_exhausted);
      break;
    }
    held.push_back(std::move(buffer));
  }
  CHECK(held.size() >= 56);  // all but its own records
  sampler.end();
  CHECK(sampler.peak() <= kBudget);
  for (auto& process : processes) process->kill();
}

TEST_CASE("memory that one pool gave back serves another") {
  const DaemonProcess daemon(R"(budget: 96MiB
limits: {clients: 32, threads: 64}
pools:
  a: {classes: [1MiB], wait: {timeout: 1s}}
  b: {classes: [64KiB], wait: {timeout: 5s}}
)");
  auto a = daemon.open("a");
  auto b = daemon.open("b");
  REQUIRE(a);
  REQUIRE(b);
  const auto take = [](Pool& pool, std::size_t bytes) {
    std::vector<Buffer> held;
    for (;;) {
      Buffer buffer = pool.get(bytes, 200ms);
      if (!buffer) return held;
      held.push_back(std::move(buffer));
    }
  };
  Sampler sampler(daemon.pid());
  for (int round = 0; round < 3; ++round) {
    std::size_t of_a = 0;
    std::thread([&] { of_a = take(*a, kMiB).size(); }).join();
    CHECK(of_a > 48);
    std::size_t of_b = 0;
    std::thread([&] { of_b = take(*b, 65536).size(); }).join();
    CHECK(of_b > 48 * 16);
  }
  sampler.end();
  CHECK(sampler.peak() <= 96 * kMiB);
}
