// Clients that are killed, at any moment, and clients that are stopped.

#include <array>
#include <atomic>
#include <chrono>
#include <deque>
#include <fcntl.h>
#include <memory>
#include <signal.h>
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
using zeropool::Handle;
using zeropool::Pool;

namespace {

constexpr const char* kConfig = R"(budget: 96MiB
pools:
  frames:
    classes: [4KiB, 64KiB, 1MiB]
    wait: {timeout: 5s}
    handoff: {lease: 200ms}
)";

Pool open_or_throw(const DaemonProcess& daemon) {
  auto pool = daemon.open();
  expect(static_cast<bool>(pool), pool.error().sentence);
  return *pool;
}

// A handle on its way, and what the buffer must contain.
struct Parcel {
  Handle handle;
  std::uint64_t mark;
};

// Where workers leave parcels for each other; a pipe of packets, so that a reader killed in the
// middle takes a whole parcel with it or none.
struct Mailbox {
  Mailbox() {
    if (::pipe2(ends, O_NONBLOCK | O_DIRECT | O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  }
  ~Mailbox() {
    ::close(ends[0]);
    ::close(ends[1]);
  }
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;
  bool leave(const Parcel& parcel) { return ::write(ends[1], &parcel, sizeof(parcel)) > 0; }
  bool take(Parcel& parcel) {
    return ::read(ends[0], &parcel, sizeof(parcel)) == static_cast<ssize_t>(sizeof(parcel));
  }
  int ends[2];
};

struct WorkReport {
  std::uint64_t operations = 0;
  std::uint64_t broken = 0;
  std::uint64_t refused = 0;
  std::uint64_t adopted = 0;
};

// Everything a client does, at random, until told to end.
class Worker {
 public:
  Worker(Pool pool, std::uint64_t seed, Mailbox& mailbox)
      : pool_(std::move(pool)), random_(seed), mailbox_(mailbox) {}

  WorkReport run(const std::function<bool()>& ended) {
    do {
      for (int i = 0; i < 64; ++i) step();
    } while (!ended());
    while (!held_.empty()) drop();
    return report_;
  }

 private:
  void keep(Buffer buffer) {
    if (!buffer) {
      ++report_.refused;
      return;
    }
    const std::uint64_t mark = random_();
    write_pattern(buffer, mark, 512);
    held_.push_back({std::move(buffer), mark});
  }
  void check(const Buffer& buffer, std::uint64_t mark) {
    if (!has_pattern(buffer, mark, 512)) ++report_.broken;
  }
  void drop() {
    const std::size_t which = random_.below(held_.size());
    std::swap(held_[which], held_.back());
    check(held_.back().first, held_.back().second);
    held_.pop_back();
  }
  std::size_t size() {
    const std::size_t sizes[] = {100, 4096, 4096, 5000, 65536, 1 << 20};
    return sizes[random_.below(std::size(sizes))];
  }
  void batch() {
    const std::array<std::size_t, 4> sizes = {size(), 4096, size(), 64};
    auto got = pool_.get_batch(sizes);
    if (!got) ++report_.refused;
    for (Buffer& buffer : got) keep(std::move(buffer));
  }
  void span() {
    std::array<Buffer, 12> buffers;
    const std::size_t got = pool_.get_batch(4096, buffers);
    for (std::size_t i = 0; i < got; ++i) write_pattern(buffers[i], i, 512);
    for (std::size_t i = 0; i < got; ++i) check(buffers[i], i);
    pool_.put_batch(buffers);
  }
  void send() {
    Buffer buffer = std::move(held_.back().first);
    const std::uint64_t mark = held_.back().second;
    held_.pop_back();
    const Parcel parcel{std::move(buffer).release(), mark};
    if (!mailbox_.leave(parcel)) pool_.adopt(parcel.handle);
  }
  void receive() {
    Parcel parcel{};
    if (!mailbox_.take(parcel)) return;
    Buffer buffer = pool_.adopt(parcel.handle);
    if (!buffer) return;  // its lease is over
    ++report_.adopted;
    check(buffer, parcel.mark);
    held_.push_back({std::move(buffer), parcel.mark});
  }
  void step() {
    ++report_.operations;
    if (held_.size() > 8) return drop();
    switch (random_.below(10)) {
      case 0: return batch();
      case 1: return span();
      case 2: return held_.empty() ? receive() : send();
      case 3: return receive();
      case 4:
      case 5:
      case 6: return keep(pool_.get(size()));
      default: return held_.empty() ? keep(pool_.get(size())) : drop();
    }
  }

  Pool pool_;
  Random random_;
  Mailbox& mailbox_;
  std::vector<std::pair<Buffer, std::uint64_t>> held_;
  WorkReport report_;
};

std::unique_ptr<ChildProcess> start_worker(const DaemonProcess& daemon, std::uint64_t seed,
                                           Mailbox& mailbox) {
  return std::make_unique<ChildProcess>([&daemon, seed, &mailbox](Link& parent) {
    Worker worker(open_or_throw(daemon), seed, mailbox);
    parent.signal();
    ::fcntl(parent.fd(), F_SETFL, O_NONBLOCK);
    const WorkReport report = worker.run([&] {
      char told = 0;
      return ::read(parent.fd(), &told, 1) == 1;
    });
    ::fcntl(parent.fd(), F_SETFL, 0);
    parent.send(report);
  });
}

// Ends the workers in order; none has found a broken pattern, each has worked.
void end_workers(std::vector<std::unique_ptr<ChildProcess>>& workers) {
  for (auto& worker : workers) worker->link().signal();
  for (auto& worker : workers) {
    WorkReport report;
    CHECK_NOTHROW(report = worker->link().receive<WorkReport>(30s));
    const End end = worker->wait(30s);
    CHECK_MESSAGE(end.well(), describe(end) << " " << worker->failure());
    CHECK(report.broken == 0);
    CHECK(report.operations > 0);
    CHECK(report.refused * 10 <= report.operations);
  }
  workers.clear();
}

std::vector<Buffer> take_all(Pool& pool, std::size_t bytes) {
  std::vector<Buffer> held;
  for (;;) {
    Buffer buffer = pool.get(bytes, 100ms);
    if (!buffer) return held;
    held.push_back(std::move(buffer));
  }
}

}  // namespace

TEST_CASE("a killed client's buffers, caches and hand-offs come back") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  Buffer mine = pool->get(4096);
  write_pattern(mine, 1);
  ChildProcess victim([&](Link& parent) {
    Pool its = open_or_throw(daemon);
    std::vector<Buffer> held;
    for (int i = 0; i < 50; ++i) held.push_back(its.get(i % 2 == 0 ? 4096 : 65536));
    for (int i = 0; i < 10; ++i) expect(bool(its.get(4096).release()), "not released");
    for (int i = 0; i < 100; ++i) its.get(1 << 20);
    std::thread([&] { its.get(4096); }).join();
    std::thread other([&] {
      Buffer of_thread = its.get(65536);
      parent.signal();
      ::pause();
    });
    other.join();
  });
  victim.link().await();
  CHECK(daemon.audit()["held"] == 52);
  CHECK(daemon.audit()["in_transit"] == 10);
  victim.kill();
  CHECK(eventually([&] { return daemon.audit()["held"] == 1; }));
  CHECK(eventually([&] { return daemon.audit()["in_transit"] == 0; }));
  CHECK(daemon.clients() == 1);
  CHECK(has_pattern(mine, 1));
  CHECK(daemon.metric("zeropool_reclaims_total") >= 1);
  CHECK(daemon.metric("zeropool_reclaimed_slots_total") >= 51);
  CHECK(daemon.metric("zeropool_handoffs_expired_total") == 10);
  mine.reset();
  *pool = Pool();
  CHECK(becomes_all_free(daemon));
}

TEST_CASE("a client killed while it waits leaves no order, and what it held serves the next") {
  const DaemonProcess daemon("budget: 24MiB\npools: {frames: {classes: [1MiB]}}\n");
  auto pool = daemon.open();
  REQUIRE(pool);
  std::vector<Buffer> held = take_all(*pool, 1 << 20);
  REQUIRE(held.size() > 3);
  // For the victim; by a thread that ends, so that no cache keeps them.
  std::thread([&] { held.resize(held.size() - 2); }).join();
  const std::size_t mine = held.size();
  ChildProcess victim([&](Link& parent) {
    Pool its = open_or_throw(daemon);
    std::vector<Buffer> its_own;
    for (int i = 0; i < 2; ++i) its_own.push_back(its.get(1 << 20));
    for (const Buffer& buffer : its_own) expect(static_cast<bool>(buffer), zp_last_error());
    parent.signal();
    its.get(1 << 20, 60s);
    parent.signal();
  });
  victim.link().await();
  REQUIRE(eventually([&] { return daemon.pool()["orders_waiting"] == 1; }));
  victim.kill();
  CHECK(eventually([&] { return daemon.pool()["orders_waiting"] == 0; }));
  CHECK(eventually([&] { return daemon.audit()["held"] == mine; }));
  const Buffer one = pool->get(1 << 20, 5s);
  const Buffer two = pool->get(1 << 20, 5s);
  CHECK(one);
  CHECK(two);
}

TEST_CASE("a waiting client is served by what a killed one held") {
  const DaemonProcess daemon("budget: 24MiB\npools: {frames: {classes: [1MiB]}}\n");
  ChildProcess hoarder([&](Link& parent) {
    Pool its = open_or_throw(daemon);
    const std::vector<Buffer> all = take_all(its, 1 << 20);
    parent.send(all.size());
    parent.await();
  });
  REQUIRE(hoarder.link().receive<std::size_t>() > 0);
  auto pool = daemon.open();
  REQUIRE(pool);
  std::thread killer([&] {
    eventually([&] { return daemon.pool()["orders_waiting"] == 1; });
    hoarder.send_signal(SIGKILL);
  });
  const auto begin = std::chrono::steady_clock::now();
  const Buffer buffer = pool->get(1 << 20, 20s);
  CHECK(buffer);
  CHECK(std::chrono::steady_clock::now() - begin < 10s);
  killer.join();
  CHECK(hoarder.wait().signal == SIGKILL);
}

TEST_CASE("clients that die one soon after the other, each with a hand-off under way, leave room") {
  const DaemonProcess daemon(std::string("limits: {clients: 8}\n") + kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  for (int i = 0; i < 60; ++i) {
    ChildProcess sender([&](Link& parent) {
      Pool its = open_or_throw(daemon);
      parent.send(its.get(4096).release());
      parent.await();
    });
    Handle handle;
    REQUIRE_NOTHROW(handle = sender.link().receive<Handle>());
    sender.kill();
    REQUIRE(eventually([&] { return daemon.clients() == 1; }));
    REQUIRE(pool->adopt(handle));
  }
}

TEST_CASE("fifty killed holders under load lose nothing and disturb nobody") {
  const DaemonProcess daemon(kConfig);
  Mailbox mailbox;
  std::vector<std::unique_ptr<ChildProcess>> others;
  for (std::uint64_t i = 0; i < 2; ++i) others.push_back(start_worker(daemon, i, mailbox));
  for (auto& other : others) other->link().await();
  for (int i = 0; i < 50; ++i) {
    ChildProcess victim([&](Link& parent) {
      Pool its = open_or_throw(daemon);
      std::vector<Buffer> held;
      for (int n = 0; n < 20; ++n) held.push_back(its.get(n % 2 == 0 ? 4096 : 65536));
      its.get(1 << 20).reset();
      its.get(4096).release();
      parent.signal();
      parent.await();
    });
    victim.link().await();
    CHECK(victim.kill().signal == SIGKILL);
  }
  end_workers(others);
  CHECK(becomes_all_free(daemon));
  CHECK(daemon.metric("zeropool_reclaims_total") >= 50);
  CHECK(eventually([&] { return daemon.clients() == 0; }));
}

TEST_CASE("two hundred kills at random moments of everything at once lose nothing") {
  constexpr int kBatches = 8;
  constexpr int kKills = 25;
  const DaemonProcess daemon(kConfig);
  Random random(2024);
  std::uint64_t seed = 1;
  for (int batch = 0; batch < kBatches; ++batch) {
    Mailbox mailbox;
    std::vector<std::unique_ptr<ChildProcess>> workers;
    for (int i = 0; i < 3; ++i) {
      workers.push_back(start_worker(daemon, ++seed, mailbox));
      workers.back()->link().await();
    }
    std::vector<bool> at_work(workers.size(), true);
    for (int kill = 0; kill < kKills; ++kill) {
      const std::size_t which = random.below(workers.size());
      std::this_thread::sleep_for(std::chrono::microseconds(random.below(8000)));
      const End end = workers[which]->kill();
      REQUIRE_MESSAGE(end.signal == SIGKILL, describe(end) << " " << workers[which]->failure());
      workers[which] = start_worker(daemon, ++seed, mailbox);
      at_work[which] = random.below(8) != 0;  // some are killed while they attach
      if (at_work[which]) workers[which]->link().await();
    }
    for (std::size_t i = 0; i < workers.size(); ++i) {
      if (!at_work[i]) workers[i]->link().await();
    }
    end_workers(workers);
    CHECK_MESSAGE(becomes_all_free(daemon), daemon.audit().dump());
  }
  CHECK(eventually([&] { return daemon.clients() == 0; }));
  CHECK(daemon.metric("zeropool_reclaims_total") >= kBatches * kKills / 2);
}

TEST_CASE("a stopped client loses nothing, blocks nobody, and goes on") {
  const DaemonProcess daemon(kConfig);
  ChildProcess stopped([&](Link& parent) {
    Pool its = open_or_throw(daemon);
    std::vector<Buffer> held;
    for (std::uint64_t i = 0; i < 30; ++i) {
      held.push_back(its.get(4096));
      write_pattern(held.back(), i);
    }
    parent.signal();
    parent.await();
    for (std::uint64_t i = 0; i < 30; ++i) expect(has_pattern(held[i], i), "bytes have changed");
    held.clear();
    for (int i = 0; i < 1000; ++i) expect(static_cast<bool>(its.get(4096)), zp_last_error());
  });
  stopped.link().await();
  stopped.send_signal(SIGSTOP);
  auto pool = daemon.open();
  REQUIRE(pool);
  for (int round = 0; round < 3; ++round) {
    std::vector<Buffer> all = take_all(*pool, 4096);  // all that can be had
    CHECK(all.size() > 1000);
    for (std::size_t i = 0; i < all.size(); ++i) write_pattern(all[i], ~i);
    CHECK(daemon.audit()["held"] == all.size() + 30);
  }
  CHECK(daemon.clients() == 2);
  stopped.send_signal(SIGCONT);
  stopped.link().signal();
  CHECK(stopped.wait().well());
  CHECK(stopped.failure() == "");
}

TEST_CASE(
    "a client stopped in the middle of anything, while its caches are wanted, finds no slot "
    "doubled") {
  const DaemonProcess daemon(kConfig);
  Mailbox mailbox;
  std::vector<std::unique_ptr<ChildProcess>> workers;
  for (std::uint64_t i = 0; i < 2; ++i) workers.push_back(start_worker(daemon, 100 + i, mailbox));
  for (auto& worker : workers) worker->link().await();
  auto pool = daemon.open();
  REQUIRE(pool);
  Random random(5);
  for (int round = 0; round < 12; ++round) {
    std::this_thread::sleep_for(std::chrono::microseconds(random.below(5000)));
    for (auto& worker : workers) worker->send_signal(SIGSTOP);
    std::vector<Buffer> all;
    for (;;) {
      Buffer buffer = pool->get(round % 2 == 0 ? 65536 : 1 << 20, 5ms);
      if (!buffer) break;
      write_pattern(buffer, all.size(), 4096);
      all.push_back(std::move(buffer));
    }
    for (auto& worker : workers) worker->send_signal(SIGCONT);
    std::this_thread::sleep_for(std::chrono::microseconds(random.below(5000)));
    for (std::size_t i = 0; i < all.size(); ++i) REQUIRE(has_pattern(all[i], i, 4096));
  }
  end_workers(workers);
  *pool = Pool();
  CHECK(becomes_all_free(daemon));
}
