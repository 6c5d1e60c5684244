// Thread records are made as they are asked for. However many threads come at once, nobody is refused for that.

#include <atomic>
#include <barrier>
#include <functional>
#include <memory>
#include <mutex>
#include <signal.h>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"
#include "support/segment_view.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
namespace lib = zeropool::lib;
using zeropool::Buffer;
using zeropool::ErrorCode;
using zeropool::Pool;

namespace {

constexpr int kFirstRecords = 64;  // that a new pool has

std::string config(const std::string& limits) {
  return "budget: 64MiB\npages: {size: [4KiB]}\nlimits: {" + limits +
         "}\npools:\n  frames: {classes: [4KiB], wait: {timeout: 60s}}\n";
}

// Threads that begin together, each with one get; they stay, with what they hold, until join().
class Threads {
 public:
  using Get = std::function<Buffer(Pool&)>;

  Threads(
      const Pool& pool, int count, Get get = [](Pool& its) { return its.get(4096); })
      : get_(std::move(get)), begin_(count), ended_(count) {
    for (int t = 0; t < count; ++t)
      threads_.emplace_back([this, its = Pool(pool)]() mutable { work(its); });
  }
  // The sentences of those who got none.
  std::string join() {
    end_.store(true);
    end_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    return refused_;
  }
  void await_all() {
    for (int left = ended_.load(); left > 0; left = ended_.load()) ended_.wait(left);
  }
  ~Threads() { join(); }

 private:
  void work(Pool& pool) {
    begin_.arrive_and_wait();
    const Buffer buffer = get_(pool);
    if (!buffer) {
      const std::lock_guard lock(mutex_);
      refused_ += std::string(buffer.error().sentence) + "\n";
    }
    ended_.fetch_sub(1);
    ended_.notify_all();
    end_.wait(false);
  }

  Get get_;
  std::barrier<> begin_;
  std::atomic<int> ended_;
  std::atomic<bool> end_{false};
  std::mutex mutex_;
  std::string refused_;
  std::vector<std::thread> threads_;
};

// Whether the calling thread has a record of its own.
bool has_own_record(const SegmentView& segment) {
  const auto tid = static_cast<std::uint32_t>(::gettid());
  const std::uint32_t published = segment.control().header().threads_published.load();
  for (std::uint32_t n = 0; n < published; ++n) {
    const auto& record = segment.control().thread(n);
    if (record.owner.load() != 0 && record.tid.load() == tid) return true;
  }
  return false;
}

// A process whose threads all get one; it says so, and stays until it is told to end.
std::unique_ptr<ChildProcess> process_of(const DaemonProcess& daemon, int threads) {
  return std::make_unique<ChildProcess>([&daemon, threads](Link& parent) {
    Pool pool = daemon.open().value();
    parent.signal();
    parent.await();
    Threads all(pool, threads);
    all.await_all();
    parent.signal();
    parent.await();
    const std::string refused = all.join();
    expect(refused.empty(), refused);
  });
}

}  // namespace

TEST_CASE("two hundred threads of one process that begin at once all get a buffer") {
  const DaemonProcess daemon(config("clients: 8, threads: 1000"));
  Pool pool = daemon.open().value();
  Threads threads(pool, 200);
  threads.await_all();
  CHECK(threads.join() == "");
}

TEST_CASE("two hundred threads of forty processes that begin at once all get a buffer") {
  const DaemonProcess daemon(config("clients: 64, threads: 1000"));
  std::vector<std::unique_ptr<ChildProcess>> processes;
  for (int i = 0; i < 40; ++i) processes.push_back(process_of(daemon, 5));
  for (const auto& process : processes) process->link().await();
  for (const auto& process : processes) process->link().signal();
  for (const auto& process : processes) process->link().await();
  for (const auto& process : processes) process->link().signal();
  for (const auto& process : processes) {
    CHECK(process->wait().well());
    CHECK(process->failure() == "");
  }
  CHECK(becomes_all_free(daemon));
}

TEST_CASE("a process with many threads leaves a thread record to every other one") {
  const DaemonProcess daemon(config("clients: 6, threads: 4"));
  std::vector<std::unique_ptr<ChildProcess>> processes;
  processes.push_back(process_of(daemon, 50));
  for (int i = 0; i < 5; ++i) processes.push_back(process_of(daemon, 3));
  for (const auto& process :
       processes) {  // one after the other: the first one has what it can have
    process->link().await();
    process->link().signal();
    process->link().await();
  }
  CHECK(daemon.metric("zeropool_threads") == 4 + 6);
  for (const auto& process : processes) process->link().signal();
  for (const auto& process : processes) {
    CHECK(process->wait().well());
    CHECK(process->failure() == "");
  }
  CHECK(becomes_all_free(daemon));
}

TEST_CASE("a process for which no record is there yet waits for zeropoold no longer than its get") {
  DaemonProcess daemon(config("clients: 8, threads: 1000"));
  Pool pool = daemon.open().value();
  auto later = std::make_unique<ChildProcess>([&daemon](Link& parent) {
    Pool its = daemon.open().value();
    parent.signal();
    parent.await();
    const Buffer at_once = its.try_get(4096);
    expect(at_once.error_code() == ErrorCode::would_wait, at_once.error().sentence);
    const Buffer in_time = its.get(4096, 20ms);
    expect(in_time.error_code() == ErrorCode::timed_out, in_time.error().sentence);
    expect(std::string(in_time.error().sentence).find("thread records") != std::string::npos,
           in_time.error().sentence);
    parent.signal();
    const Buffer patient = its.get(4096);
    expect(static_cast<bool>(patient), patient.error().sentence);
  });
  later->link().await();
  daemon.send(SIGSTOP);
  {
    // Each takes a record, whether or not there is a slot for it.
    Threads threads(pool, kFirstRecords + 1, [](Pool& its) {
      static_cast<void>(its.try_get(4096));
      return Buffer();
    });
    threads.await_all();
    later->link().signal();
    later->link().await();
    daemon.send(SIGCONT);
    CHECK(later->wait().well());
    CHECK(later->failure() == "");
  }
}

TEST_CASE(
    "where records are spent, threads without one ask for more rarely, and take those that come") {
  DaemonProcess daemon(config("clients: 8, threads: 1000"));
  Pool pool = daemon.open().value();
  const SegmentView segment;
  lib::ControlHeader& header = segment.control().header();
  REQUIRE(header.threads_published.load() == kFirstRecords);
  daemon.send(SIGSTOP);
  Threads threads(pool, kFirstRecords + 1, [](Pool& its) {
    static_cast<void>(its.try_get(4096));
    return Buffer();
  });
  threads.await_all();
  // All records are in use, one of them is the shared cache's. Now one thread more:
  constexpr int kGets = 2000;
  int asked = 0;
  std::thread further([&, its = Pool(pool)]() mutable {
    for (int i = 0; i < kGets; ++i) {
      static_cast<void>(its.try_get(4096));
      if (header.threads_wanted.exchange(0) != 0) ++asked;
    }
    header.threads_wanted.store(1);
    daemon.send(SIGCONT);
    const auto own = [&] {
      static_cast<void>(its.try_get(4096));
      return has_own_record(segment);
    };
    CHECK(eventually(own, 60s));
  });
  further.join();
  CHECK(asked > 0);
  CHECK(asked < kGets / 2);
  threads.join();
}

TEST_CASE("caches that processes share take nothing from what threads may have") {
  const DaemonProcess daemon(config("clients: 8, threads: 4"));
  // The first one has all that threads may have; of the four that follow each has a shared cache only.
  auto greedy = process_of(daemon, 20);
  std::vector<std::unique_ptr<ChildProcess>> processes;
  const auto begin = [](ChildProcess& process) {
    process.link().await();
    process.link().signal();
    process.link().await();
  };
  begin(*greedy);
  for (int i = 0; i < 4; ++i) {
    processes.push_back(std::make_unique<ChildProcess>([&daemon](Link& parent) {
      Pool pool = daemon.open().value();
      parent.signal();
      parent.await();
      const Buffer first = pool.get(4096);
      expect(static_cast<bool>(first), first.error().sentence);
      parent.signal();
      parent.await();  // the greedy one has ended
      const SegmentView segment;
      const auto own = [&] {
        static_cast<void>(pool.get(4096));
        return has_own_record(segment);
      };
      expect(eventually(own, 60s), "this thread has no record of its own");
    }));
    begin(*processes.back());
  }
  greedy->link().signal();
  CHECK(greedy->wait().well());
  for (const auto& process : processes) process->link().signal();
  for (const auto& process : processes) {
    CHECK(process->wait().well());
    CHECK(process->failure() == "");
  }
  CHECK(becomes_all_free(daemon));
}
