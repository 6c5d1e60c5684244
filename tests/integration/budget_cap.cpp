// The cap from outside: what the kernel counts in all segments of the daemon, looked at a thousand times a second while
// clients come in ramps and bursts, are killed, and the budget is changed under them.
//
// 20 seconds; ZEROPOOL_CAP_SECONDS=120 makes it two minutes (tests/README.md).

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <mutex>
#include <signal.h>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
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

constexpr std::uint64_t kMiB = 1024 * 1024;
constexpr std::size_t kClients = 16;

// The segments of a daemon, opened once: a look is one fstat each.
class Segments {
 public:
  explicit Segments(pid_t daemon) {
    const std::string folder = "/proc/" + std::to_string(daemon) + "/fd";
    DIR* fds = ::opendir(folder.c_str());
    REQUIRE(fds != nullptr);
    std::vector<ino_t> known;
    while (const dirent* entry = ::readdir(fds)) {
      const std::string path = folder + "/" + entry->d_name;
      char target[256] = {};
      if (::readlink(path.c_str(), target, sizeof(target) - 1) < 0) continue;
      const std::string name = target;
      if (name.rfind("/memfd:zeropool-", 0) != 0) continue;
      if (name.rfind("/memfd:zeropool-document", 0) == 0) continue;
      const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
      struct stat info {};
      if (fd < 0 || ::fstat(fd, &info) != 0 ||
          std::find(known.begin(), known.end(), info.st_ino) != known.end()) {
        if (fd >= 0) ::close(fd);
        continue;
      }
      known.push_back(info.st_ino);
      fds_.push_back(fd);
    }
    ::closedir(fds);
  }
  ~Segments() {
    for (const int fd : fds_) ::close(fd);
  }
  Segments(const Segments&) = delete;
  Segments& operator=(const Segments&) = delete;

  std::size_t count() const { return fds_.size(); }
  // Their sum at one instant: two looks in a row that see the same say what was so between them, else what moves from
  // one to the other would count twice. 0: there was no such instant.
  std::uint64_t bytes() const {
    std::vector<std::uint64_t> before;
    for (int tries = 0; tries < 20; ++tries) {
      std::vector<std::uint64_t> now;
      std::uint64_t sum = 0;
      for (const int fd : fds_) {
        struct stat info {};
        ::fstat(fd, &info);
        now.push_back(static_cast<std::uint64_t>(info.st_blocks) * 512);
        sum += now.back();
      }
      if (now == before) return sum;
      before = std::move(now);
    }
    return 0;
  }

 private:
  std::vector<int> fds_;
};

// What may be committed. Under a smaller budget, what is there, and that may only fall.
class Cap {
 public:
  explicit Cap(std::uint64_t budget) : budget_(budget), cap_(budget) {}
  // Before a reload to a larger budget, after one to a smaller.
  void set(std::uint64_t budget) {
    const std::lock_guard lock(mutex_);
    cap_ = std::max(cap_, budget);
    budget_ = budget;
  }
  void look(const Segments& segments) {
    // Under the lock, so that the budget does not change between the look and the judgement.
    const std::lock_guard lock(mutex_);
    const std::uint64_t bytes = segments.bytes();
    if (bytes == 0) {
      ++undecided_;
      return;
    }
    ++looks_;
    peak_ = std::max(peak_, bytes);
    if (bytes > cap_) {
      ++above_;
      worst_ = std::max(worst_, bytes - cap_);
    }
    cap_ = std::max(budget_, std::min(cap_, bytes));
  }

  std::uint64_t looks_ = 0;
  std::uint64_t undecided_ = 0;
  std::uint64_t above_ = 0;
  std::uint64_t worst_ = 0;
  std::uint64_t peak_ = 0;

 private:
  std::mutex mutex_;
  std::uint64_t budget_;
  std::uint64_t cap_;
};

// A thousand times a second, on a clock of its own.
class Sampler {
 public:
  Sampler(const Segments& segments, Cap& cap)
      : thread_([this, &segments, &cap] {
          auto next = std::chrono::steady_clock::now();
          while (!stop_) {
            cap.look(segments);
            next = std::max(next + 1ms, std::chrono::steady_clock::now());
            std::this_thread::sleep_until(next);
          }
        }) {}
  ~Sampler() { end(); }
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;
  void end() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// What clients are told, and tell.
struct Board {
  std::atomic<std::uint64_t> target_mib{1};  // for each to hold
  std::atomic<std::uint32_t> sizes{0};       // which ones
  std::atomic<std::uint64_t> gets{0};
  std::atomic<std::uint64_t> refusals{0};
};

Board& shared_board() {
  void* at =
      ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) std::abort();
  return *new (at) Board;
}

constexpr std::array<std::size_t, 5> kSizes = {4096, 60'000, 1 << 20, 3 << 20, 300};

void client(const DaemonProcess& daemon, Board& board, std::uint64_t seed) {
  Random random(seed);
  auto pool = daemon.open(seed % 3 == 0 ? "b" : "a");
  expect(static_cast<bool>(pool), pool.error().sentence);
  std::vector<Buffer> held;
  std::uint64_t bytes = 0;
  for (;;) {
    const std::uint64_t target = board.target_mib.load() * kMiB;
    if (bytes < target) {
      const std::uint32_t chosen = board.sizes.load();
      const std::size_t size =
          kSizes[chosen < kSizes.size() ? chosen : random.below(kSizes.size())];
      Buffer buffer = pool->get(size, 20ms);
      if (buffer) {
        std::memset(buffer.data(), 0x5a, buffer.size());
        bytes += buffer.capacity();
        held.push_back(std::move(buffer));
        board.gets.fetch_add(1);
        continue;
      }
      board.refusals.fetch_add(1);
    }
    // A part goes back, so that memory moves.
    for (std::size_t n = held.size() / 4 + 1; n > 0 && !held.empty(); --n) {
      std::swap(held[random.below(held.size())], held.back());
      bytes -= held.back().capacity();
      held.pop_back();
    }
    std::this_thread::sleep_for(std::chrono::microseconds(500));
  }
}

std::string config(int budget_mib) {
  return "budget: " + std::to_string(budget_mib) + R"(MiB
limits: {clients: 64, threads: 128}
pools:
  a: {classes: [4KiB, 64KiB, 1MiB, 4MiB], limit_max: 512MiB, release: {window: 500ms}, wait: {timeout: 20ms}}
  b: {classes: [64KiB, 1MiB, 4MiB], limit_max: 512MiB, reserved: 24MiB, release: {window: 500ms}, wait: {timeout: 20ms}}
)";
}

std::chrono::seconds length() {
  const char* seconds = std::getenv("ZEROPOOL_CAP_SECONDS");
  const long wanted = seconds == nullptr ? 0 : std::strtol(seconds, nullptr, 10);
  return std::chrono::seconds(wanted > 0 ? wanted : 20);
}

}  // namespace

TEST_CASE(
    "whatever clients do, and whenever they are killed, no look ever sees more than the budget") {
  DaemonProcess daemon(config(192));
  const Segments segments(daemon.pid());
  REQUIRE(segments.count() == 5);  // two pools of a control and a data segment, and the ledger
  Cap cap(192 * kMiB);
  Board& board = shared_board();
  std::vector<std::unique_ptr<ChildProcess>> clients(kClients);
  std::uint64_t started = 0;
  const auto start = [&](std::size_t place) {
    const std::uint64_t seed = ++started;
    clients[place] = std::make_unique<ChildProcess>(
        [&daemon, &board, seed](Link&) { client(daemon, board, seed); });
  };
  for (std::size_t place = 0; place < kClients; ++place) start(place);
  Sampler sampler(segments, cap);
  Random random(11);
  const auto begin = std::chrono::steady_clock::now();
  const auto whole = length();
  const auto reload = [&](int mib, bool smaller) {
    daemon.rewrite_config(config(mib));
    if (!smaller) cap.set(static_cast<std::uint64_t>(mib) * kMiB);
    const CommandResult answer = daemon.ctl({"reload"});
    CHECK_MESSAGE(answer.exit_code == 0, answer.err);
    if (smaller) cap.set(static_cast<std::uint64_t>(mib) * kMiB);
  };
  int reloads = 0;
  std::uint64_t kills = 0;
  for (;;) {
    const auto passed = std::chrono::steady_clock::now() - begin;
    if (passed >= whole) break;
    // Ramps up and down of three seconds, with bursts of all sixteen in them, each second with other sizes.
    const auto ms = static_cast<std::uint64_t>(passed / 1ms);
    const std::uint64_t ramp = ms % 3000 < 2000 ? ms % 3000 / 125 : 2;
    const bool burst = ms % 700 < 100;
    board.target_mib = burst ? 64 : ramp;
    board.sizes = static_cast<std::uint32_t>(ms / 1000 % 6);
    if (reloads < 3 && passed >= whole * (reloads + 1) / 4) {
      constexpr int kBudgets[] = {96, 256, 128};
      reload(kBudgets[reloads], reloads != 1);
      ++reloads;
    }
    const std::size_t place = random.below(kClients);
    clients[place]->kill();
    start(place);
    ++kills;
    std::this_thread::sleep_for(50ms);
  }
  CHECK(reloads == 3);
  for (auto& process : clients) process->kill();
  CHECK(becomes_all_free(daemon, 20s));
  // What is above the last budget is given back now that nobody holds it.
  CHECK(eventually([&] { return segments.bytes() <= 128 * kMiB; }));
  sampler.end();
  MESSAGE(cap.looks_ << " looks (" << cap.undecided_ << " undecided) in " << whole.count()
                     << " s, peak " << cap.peak_ / 1024 << " KiB; " << kills << " kills, "
                     << board.gets.load() << " gets, " << board.refusals.load() << " refusals");
  CHECK(cap.above_ == 0);
  CHECK(cap.worst_ == 0);
  CHECK(cap.looks_ > static_cast<std::uint64_t>(whole.count()) * 200);
  CHECK(cap.undecided_ < cap.looks_ / 4);
  CHECK(cap.peak_ > 150 * kMiB);  // the load was one
  CHECK(board.refusals > 0);
  CHECK(kills > static_cast<std::uint64_t>(whole.count()) * 5);
  const nlohmann::json status = daemon.ctl_json({"status"});
  CHECK(status["excess_bytes"] == 0);
  CHECK(daemon.metric("zeropool_released_bytes_total", {"reason=\"order\""}) > 0);
  CHECK(daemon.metric("zeropool_released_bytes_total", {"reason=\"shrink\""}) > 0);
  CHECK(daemon.metric("zeropool_released_bytes_total", {"reason=\"idle\""}) > 0);
  CHECK(daemon.metric("zeropool_repairs_total") == 0);
}

TEST_CASE("a sampler that is told a smaller cap finds it exceeded") {
  DaemonProcess daemon(config(64));
  const Segments segments(daemon.pid());
  auto pool = daemon.open("a");
  REQUIRE(pool);
  const Buffer held = pool->get(4 * kMiB);
  REQUIRE(held);
  Cap cap(kMiB);
  cap.look(segments);
  CHECK(cap.above_ == 1);
}

TEST_CASE(
    "reservations and the ledger must fit into the budget together, at start and at a reload") {
  const auto reserving = [](const std::string& reserved) {
    return "budget: 64MiB\npools:\n  a: {classes: [64KiB], reserved: " + reserved + "}\n";
  };
  try {
    const DaemonProcess daemon(reserving("64MiB"));
    FAIL("it started");
  } catch (const DaemonRefused& refused) {
    CHECK(refused.log.find("ledger") != std::string::npos);
  }
  DaemonProcess daemon(reserving("48MiB"));
  daemon.rewrite_config(reserving("64MiB"));
  const CommandResult reload = daemon.ctl({"reload"});
  CHECK(reload.exit_code != 0);
  CAPTURE(reload.err);
  CHECK(reload.err.find("ledger takes") != std::string::npos);
  CHECK(daemon.pool("a")["reserved_bytes"] == 48 * kMiB);
}

TEST_CASE(
    "a reservation is there for its pool though the one before it in the file is greedy from the "
    "start") {
  const DaemonProcess daemon(R"(budget: 64MiB
limits: {clients: 32, threads: 64}
pools:
  first: {classes: [64KiB, 1MiB, 4MiB]}
  second: {classes: [1MiB], reserved: 60MiB}
)");
  auto pool = daemon.open("second");
  REQUIRE(pool);
  std::vector<Buffer> held;
  while (Buffer buffer = pool->get(kMiB, 200ms)) held.push_back(std::move(buffer));
  CHECK(held.size() >= 56);
}
