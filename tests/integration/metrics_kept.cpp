// Counters through everything that ends: threads, clients, the daemon itself; and against the clients' own.

#include <atomic>
#include <map>
#include <new>
#include <random>
#include <signal.h>
#include <sstream>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::Handle;
using zeropool::Pool;

namespace {

constexpr const char* kConfig = R"(budget: 64MiB
pages: {size: [4KiB]}
pools:
  frames: {classes: [4KiB, 64KiB], handoff: {lease: 200ms}, wait: {timeout: 200ms}}
)";

// Every series that may never go back: _total, and what histograms count.
std::map<std::string, double> counters(const std::string& scrape) {
  std::map<std::string, double> found;
  std::istringstream text(scrape);
  for (std::string line; std::getline(text, line);) {
    if (line.rfind("zeropool_", 0) != 0) continue;
    const std::size_t end = line.rfind(' ');
    const std::string series = line.substr(0, end);
    const std::string name = series.substr(0, series.find('{'));
    for (const char* kind : {"_total", "_bucket", "_count", "_sum"}) {
      const std::size_t at = name.rfind(kind);
      if (at != std::string::npos && at + std::string(kind).size() == name.size()) {
        found[series] = std::stod(line.substr(end));
      }
    }
  }
  return found;
}

// The series of `before` that are lower, or gone, in `after`.
std::string gone_back(const std::map<std::string, double>& before,
                      const std::map<std::string, double>& after) {
  std::string list;
  for (const auto& [series, value] : before) {
    const auto now = after.find(series);
    if (now == after.end() || now->second < value) list += series + "\n";
  }
  return list;
}

// What a client counts itself, where its parent sees it when it has been killed. `begun` is raised before an
// operation, `done` after it: a killed one leaves at most one of each thread in between.
struct OwnCounts {
  std::atomic<std::uint64_t> gets_begun{0};
  std::atomic<std::uint64_t> gets_done{0};
  std::atomic<std::uint64_t> gets_failed{0};  // of those done
  std::atomic<std::uint64_t> puts_begun{0};
  std::atomic<std::uint64_t> puts_done{0};
};

class SharedCounts {
 public:
  SharedCounts()
      : counts_(::new (::mmap(nullptr, sizeof(OwnCounts), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0)) OwnCounts) {}
  ~SharedCounts() { ::munmap(counts_, sizeof(OwnCounts)); }
  SharedCounts(const SharedCounts&) = delete;
  SharedCounts& operator=(const SharedCounts&) = delete;
  OwnCounts* operator->() const { return counts_; }

 private:
  OwnCounts* counts_;
};

// Gets and puts at random until it is killed, or told to end.
void work(Pool& pool, SharedCounts& own, std::uint64_t seed, const std::atomic<bool>& end) {
  std::mt19937_64 random(seed);
  std::vector<Buffer> held;
  while (!end.load()) {
    if (held.size() < 40 && random() % 2 == 0) {
      // Some are larger than any class.
      const std::size_t bytes = random() % 64 == 0 ? 1 << 20 : random() % 8 == 0 ? 65536 : 4096;
      own->gets_begun.fetch_add(1);
      Buffer buffer = pool.try_get(bytes);
      if (!buffer) own->gets_failed.fetch_add(1);
      own->gets_done.fetch_add(1);
      if (buffer) held.push_back(std::move(buffer));
    } else if (!held.empty()) {
      std::swap(held[random() % held.size()], held.back());
      own->puts_begun.fetch_add(1);
      held.pop_back();
      own->puts_done.fetch_add(1);
    }
  }
  own->puts_begun.fetch_add(held.size());
  const std::size_t last = held.size();
  held.clear();
  own->puts_done.fetch_add(last);
}

constexpr int kThreads = 2;  // of each client

void be_a_client(const DaemonProcess& daemon, SharedCounts& own, std::uint64_t seed, Link& parent) {
  Pool pool = daemon.open("frames").value();
  std::atomic<bool> end{false};
  std::thread other([&] { work(pool, own, seed * 2 + 1, end); });
  std::thread first([&] { work(pool, own, seed * 2, end); });
  parent.signal();
  parent.await(10min);
  end.store(true);
  first.join();
  other.join();
}

}  // namespace

TEST_CASE("no counter goes back when the daemon is killed, replaced, and killed again") {
  DaemonProcess daemon(kConfig);
  Pool pool = daemon.open("frames").value();
  std::map<std::string, double> before = counters(daemon.scrape());
  CHECK(before.size() > 50);
  for (int round = 0; round < 4; ++round) {
    CAPTURE(round);
    // Something of everything: an order that is granted, one that is refused, a death, an expired hand-off, a refusal.
    ChildProcess victim([&](Link& parent) {
      Pool its = daemon.open("frames").value();
      std::vector<Buffer> held;
      for (int i = 0; i < 50; ++i) held.push_back(its.get(4096));
      static_cast<void>(std::move(held[0]).release());
      parent.signal();
      parent.await();
    });
    victim.link().await();
    victim.kill();
    CHECK_FALSE(daemon.open("nothing"));
    std::vector<Buffer> all;
    for (;;) {
      Buffer buffer = pool.get(65536, 20ms);
      if (!buffer) break;
      all.push_back(std::move(buffer));
    }
    all.clear();
    CHECK(eventually([&] { return daemon.clients() == 1; }));
    CHECK(
        eventually([&] { return daemon.metric("zeropool_handoffs_expired_total") == round + 1; }));
    const std::map<std::string, double> scraped = counters(daemon.scrape());
    CHECK(gone_back(before, scraped) == "");
    CHECK(scraped.at("zeropool_reclaims_total{pool=\"frames\"}") == round + 1);
    CHECK(scraped.at("zeropool_rejections_total{reason=\"no_such_pool\"}") == round + 1);
    if (round % 2 == 0) {
      daemon.kill9();
      daemon.start_again();
    } else {
      daemon.take_over();
    }
    CHECK(eventually([&] { return daemon.metric("zeropool_clients") == 1; }));
    before = counters(daemon.scrape());
    CHECK(gone_back(scraped, before) == "");
    // What reclaim took from the dead is known, too: nobody holds anything.
    CHECK(daemon.metric("zeropool_slots", {"state=\"held\""}) == 0);
    CHECK(daemon.metric("zeropool_slots", {"state=\"in_transit\""}) == 0);
  }
}

TEST_CASE(
    "after a soak with kills the exported counts are the clients' own, up to one operation of each "
    "killed thread") {
  DaemonProcess daemon(kConfig);
  constexpr int kClients = 6;
  constexpr int kKills = 60;
  std::vector<std::unique_ptr<SharedCounts>> own;
  std::vector<std::unique_ptr<ChildProcess>> clients;
  const auto begin = [&](std::size_t place) {
    auto counts = std::make_unique<SharedCounts>();
    SharedCounts& its = *counts;
    const std::uint64_t seed = own.size();
    own.push_back(std::move(counts));
    clients[place] = std::make_unique<ChildProcess>(
        [&daemon, &its, seed](Link& parent) { be_a_client(daemon, its, seed, parent); });
    clients[place]->link().await();
  };
  clients.resize(kClients);
  for (std::size_t place = 0; place < kClients; ++place) begin(place);
  std::mt19937_64 random(7);
  for (int kill = 0; kill < kKills; ++kill) {
    std::this_thread::sleep_for(10ms);
    const std::size_t place = random() % kClients;
    clients[place]->kill();
    begin(place);
    if (kill % 20 == 10) {
      daemon.kill9();
      daemon.start_again();
    }
  }
  for (const auto& client : clients) client->link().signal();
  for (const auto& client : clients) {
    CHECK(client->wait().well());
    CHECK(client->failure() == "");
  }
  CHECK(eventually([&] { return daemon.metric("zeropool_clients") == 0; }));

  double gets_begun = 0;
  double gets_done = 0;
  double gets_failed = 0;
  double puts_begun = 0;
  double puts_done = 0;
  for (const auto& counts : own) {
    gets_begun += static_cast<double>((*counts)->gets_begun.load());
    gets_done += static_cast<double>((*counts)->gets_done.load());
    gets_failed += static_cast<double>((*counts)->gets_failed.load());
    puts_begun += static_cast<double>((*counts)->puts_begun.load());
    puts_done += static_cast<double>((*counts)->puts_done.load());
  }
  // The bound: what a killed thread had begun and not ended may be counted or not.
  CHECK(gets_begun - gets_done <= kKills * kThreads);
  CHECK(puts_begun - puts_done <= kKills * kThreads);
  const auto count = [&](const std::string& name) { return daemon.metric("zeropool_" + name); };
  CHECK(count("gets_total") >= gets_done);
  CHECK(count("gets_total") <= gets_begun);
  CHECK(gets_failed > 100);
  CHECK(count("get_failures_total") >= gets_failed);
  CHECK(count("get_failures_total") <= gets_failed + (gets_begun - gets_done));
  CHECK(count("puts_total") >= puts_done);
  CHECK(count("puts_total") <= puts_begun);
  CHECK(count("gets_total") == count("tls_hits_total") + count("shared_hits_total") +
                                   count("allocations_total") + count("get_failures_total"));
  // Twice where the daemon was killed between a reclaim and its note of it.
  CHECK(count("reclaims_total") >= kKills);
  CHECK(count("reclaims_total") <= kKills + kKills / 20);
  CHECK(gets_done > 10000);
  const auto whole = [](double number) { return static_cast<std::uint64_t>(number); };
  MESSAGE(kKills, " kills: exported ", whole(count("gets_total")), " gets, the clients' own ",
          whole(gets_done), " to ", whole(gets_begun), "; ", whole(count("get_failures_total")),
          " failed, the clients' own ", whole(gets_failed));
}

TEST_CASE(
    "the clients that hold most have series of their own when they are asked for, and no others") {
  DaemonProcess daemon(std::string("metrics: {listen: [\"127.0.0.1:0\"], top_clients: 2}\n") +
                       kConfig);
  std::vector<std::unique_ptr<ChildProcess>> clients;
  for (int number = 1; number <= 3; ++number) {
    clients.push_back(std::make_unique<ChildProcess>([&daemon, number](Link& parent) {
      Pool pool = daemon.open("frames").value();
      std::vector<Buffer> held;
      for (int i = 0; i < 200 * number; ++i) held.push_back(pool.get(4096));
      parent.signal();
      parent.await();
    }));
    clients.back()->link().await();
  }
  const auto of = [&](int number) {
    return daemon.metric(
        "zeropool_client_held_bytes",
        {"pid=\"" + std::to_string(clients[static_cast<std::size_t>(number - 1)]->pid()) + "\""});
  };
  CHECK(of(3) >= 600 * 4096);
  CHECK(of(2) >= 400 * 4096);
  CHECK(of(1) == 0);
  daemon.rewrite_config(std::string("metrics: {listen: [\"127.0.0.1:0\"]}\n") + kConfig);
  CHECK(daemon.ctl({"reload"}).exit_code == 0);
  CHECK(daemon.scrape().find("client_held_bytes") == std::string::npos);
}
