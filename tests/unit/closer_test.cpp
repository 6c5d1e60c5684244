#include "daemon/closer.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <fcntl.h>
#include <memory>
#include <mutex>
#include <set>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <doctest/doctest.h>

#include "zeropool/lib/wire.hpp"

using namespace zeropool;
using namespace zeropool::daemon;
using namespace std::chrono_literals;

namespace {

// In the place of the kernel: a close of one of `hanging` ends when it is let go. Shared, as threads may outlive a test.
class Closes {
 public:
  void close(int fd) {
    std::unique_lock<std::mutex> lock(mutex_);
    begun_.push_back(fd);
    changed_.notify_all();
    changed_.wait(lock, [&] { return hanging_.count(fd) == 0; });
    ::close(fd);
    ended_.push_back(fd);
    changed_.notify_all();
  }
  void hang(int fd) {
    const std::lock_guard<std::mutex> lock(mutex_);
    hanging_.insert(fd);
  }
  void let_go() {
    const std::lock_guard<std::mutex> lock(mutex_);
    hanging_.clear();
    changed_.notify_all();
  }
  bool begins(std::size_t count) {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, 60s, [&] { return begun_.size() >= count; });
  }
  bool ends(std::size_t count) {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, 60s, [&] { return ended_.size() >= count; });
  }
  std::vector<int> begun() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return begun_;
  }
  std::vector<int> ended() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return ended_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<int> hanging_;
  std::vector<int> begun_;
  std::vector<int> ended_;
};

struct Bench {
  explicit Bench(Closer::Limits limits)
      : closer(std::make_unique<Closer>(limits, [all = closes](int fd) { all->close(fd); })) {}
  ~Bench() { closes->let_go(); }

  int hand_over(bool hangs) const {
    lib::UniqueFd fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
    REQUIRE(fd);
    const int number = fd.get();
    if (hangs) closes->hang(number);
    closer->close(std::move(fd));
    return number;
  }

  std::shared_ptr<Closes> closes = std::make_shared<Closes>();
  std::unique_ptr<Closer> closer;
};

template <typename Condition>
bool eventually(Condition done) {
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  while (!done()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

}  // namespace

TEST_CASE("a close that hangs holds up neither who hands over nor the others") {
  const Bench bench({.threads = 2, .waiting = 100, .idle = 10min});
  const int hanging = bench.hand_over(true);
  REQUIRE(bench.closes->begins(1));
  std::vector<int> others;
  for (int i = 0; i < 50; ++i) others.push_back(bench.hand_over(false));
  CHECK(bench.closes->ends(50));
  CHECK_FALSE(bench.closer->full());
  const std::vector<int> ended = bench.closes->ended();
  CHECK(std::find(ended.begin(), ended.end(), hanging) == ended.end());
  bench.closes->let_go();
  CHECK(bench.closes->ends(51));
}

TEST_CASE("what waits is closed in the order of its coming, and each once") {
  const Bench bench({.threads = 1, .waiting = 100, .idle = 10min});
  std::vector<int> handed = {bench.hand_over(true)};
  REQUIRE(bench.closes->begins(1));
  for (int i = 0; i < 50; ++i) handed.push_back(bench.hand_over(false));
  CHECK(bench.closer->waiting() == 50);
  bench.closes->let_go();
  REQUIRE(bench.closes->ends(51));
  CHECK(bench.closes->begun() == handed);
  CHECK(bench.closer->threads() == 1);
}

TEST_CASE(
    "when all threads hang the closer is full at its bound, takes what there is yet, and gets over "
    "it") {
  const Bench bench({.threads = 4, .waiting = 10, .idle = 10min});
  for (int i = 0; i < 4; ++i) bench.hand_over(true);
  REQUIRE(bench.closes->begins(4));
  for (int i = 0; i < 9; ++i) bench.hand_over(false);
  CHECK_FALSE(bench.closer->full());
  bench.hand_over(false);
  CHECK(bench.closer->full());
  bench.hand_over(false);  // of somebody who was let in before
  CHECK(bench.closer->full());
  CHECK(bench.closer->waiting() == 11);
  CHECK(bench.closer->threads() == 4);
  CHECK(bench.closes->begun().size() == 4);
  bench.closes->let_go();
  CHECK(bench.closes->ends(15));
  CHECK_FALSE(bench.closer->full());
}

TEST_CASE("threads begin when something is to be closed, and end when nothing comes") {
  const Bench bench({.threads = 4, .waiting = 10, .idle = 1ms});
  CHECK_FALSE(bench.closer->full());
  CHECK(bench.closer->threads() == 0);
  for (std::size_t round = 1; round <= 20; ++round) {
    bench.hand_over(false);
    REQUIRE(bench.closes->ends(round));
    REQUIRE(eventually([&] { return bench.closer->threads() == 0; }));
  }
}

TEST_CASE("a closer goes while a close hangs, and what waited is closed all the same") {
  Bench bench({.threads = 1, .waiting = 10, .idle = 10min});
  bench.hand_over(true);
  REQUIRE(bench.closes->begins(1));
  for (int i = 0; i < 5; ++i) bench.hand_over(false);
  bench.closer.reset();  // would not come back if it waited
  CHECK(bench.closes->ended().empty());
  bench.closes->let_go();
  CHECK(bench.closes->ends(6));
}

TEST_CASE("a socket with unread messages is closed without a reset, and its last answer is there") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
  const lib::UniqueFd peer(ends[1]);
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int i = 0; i < 20; ++i) REQUIRE(lib::send_message(peer.get(), "unread", 6, &null, 1));
  ::close(null);
  REQUIRE(lib::send_message(ends[0], "no", 2));
  Closer closer;
  closer.close(lib::UniqueFd(ends[0]));
  CHECK(eventually([&] { return !lib::send_message(peer.get(), "more", 4); }));
  CHECK(lib::receive_message(peer.get(), 60000).outcome == lib::ReceiveOutcome::kMessage);
  CHECK(lib::receive_message(peer.get(), 60000).outcome == lib::ReceiveOutcome::kClosed);
}
