// What Prometheus sees after work that is known.

#include <set>
#include <signal.h>
#include <sstream>
#include <string>
#include <utility>
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
pools:
  frames: {classes: [4KiB, 64KiB], handoff: {lease: 200ms}, wait: {timeout: 200ms}}
)";

}  // namespace

TEST_CASE("known work shows as exactly known counts") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  for (int i = 0; i < 100; ++i) REQUIRE(pool->get(4096));
  for (int i = 0; i < 50; ++i) REQUIRE(pool->get(65536));
  std::vector<Buffer> held;
  for (int i = 0; i < 7; ++i) held.push_back(pool->get(10));
  for (int i = 0; i < 5; ++i) CHECK_FALSE(pool->get(0));
  for (int i = 0; i < 3; ++i) CHECK_FALSE(pool->get(1 << 20));
  for (int i = 0; i < 6; ++i) {
    const Handle handle = pool->get(4096).release();
    CHECK(pool->adopt(handle));
    CHECK_FALSE(pool->adopt(handle));
  }
  zp_buffer buffer;
  REQUIRE(zp_get(pool->c_pool(), 1, &buffer) == 0);
  zp_buffer copy = buffer;
  CHECK(zp_put(&buffer) == ZP_OK);
  CHECK(zp_put(&copy) == ZP_NOT_HELD);

  const auto count = [&](const std::string& name, const std::vector<std::string>& labels = {}) {
    return daemon.metric("zeropool_" + name, labels);
  };
  CHECK(count("gets_total") == 100 + 50 + 7 + 8 + 6 + 1);
  CHECK(count("gets_total", {"class=\"64KiB\""}) == 50);
  CHECK(count("get_failures_total") == 8);
  CHECK(count("get_failures_total", {"reason=\"invalid_size\""}) == 8);
  CHECK(count("puts_total") == 100 + 50 + 6 + 1);
  CHECK(count("puts_total", {"class=\"64KiB\""}) == 50);
  CHECK(count("gets_total") == count("tls_hits_total") + count("shared_hits_total") +
                                   count("allocations_total") + count("get_failures_total"));
  CHECK(count("handoffs_total") == 6);
  CHECK(count("adoptions_total") == 6);
  CHECK(count("stale_handles_total") == 6);
  CHECK(count("double_puts_total") == 1);
  CHECK(count("clients") == 1);
  CHECK(count("threads") == 1);
  CHECK(count("slots", {"state=\"held\""}) == 7);
  CHECK(count("slots", {"state=\"in_transit\""}) == 0);
  CHECK(count("budget_bytes") == 64 << 20);
  CHECK(count("committed_bytes") > 0);
  CHECK(count("budget_committed_bytes") <= count("budget_bytes"));
  CHECK(count("reclaims_total") == 0);
  CHECK(count("repairs_total") == 0);

  // The library's own counts are the same.
  const auto stats = pool->stats();
  CHECK(count("gets_total") == static_cast<double>(stats.gets));
  CHECK(count("tls_hits_total") == static_cast<double>(stats.tls_hits));
  CHECK(count("shared_hits_total") == static_cast<double>(stats.shared_hits));
  CHECK(count("allocations_total") == static_cast<double>(stats.allocations));
}

TEST_CASE("counts never go back: not by a thread's end, a detach, a death") {
  const DaemonProcess daemon(kConfig);
  for (int round = 1; round <= 12; ++round) {
    ChildProcess child([&](Link& parent) {
      Pool pool = daemon.open().value();
      for (int i = 0; i < 100; ++i) expect(static_cast<bool>(pool.get(4096)), zp_last_error());
      Buffer held = pool.get(4096);
      parent.signal();
      if (round % 2 == 0) parent.await();
    });
    child.link().await();
    if (round % 2 == 0) child.kill();
    child.wait();
    CHECK(eventually([&] { return daemon.clients() == 0; }));
    CHECK(daemon.metric("zeropool_gets_total") == 101 * round);
  }
  CHECK(daemon.metric("zeropool_slots", {"state=\"held\""}) == 0);
  CHECK(daemon.metric("zeropool_clients") == 0);
  CHECK(daemon.metric("zeropool_reclaims_total") >= 6);
}

TEST_CASE("a failed get of a full pool shows its reason") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  std::vector<Buffer> held;
  for (;;) {
    Buffer buffer = pool->get(65536);
    if (!buffer) break;
    held.push_back(std::move(buffer));
  }
  CHECK_FALSE(pool->try_get(65536));
  CHECK(daemon.metric("zeropool_get_failures_total", {"reason=\"budget_exhausted\""}) == 1);
  CHECK(daemon.metric("zeropool_get_failures_total", {"reason=\"would_wait\""}) == 1);
  CHECK(daemon.metric("zeropool_slots", {"state=\"held\""}) == static_cast<double>(held.size()));
}

TEST_CASE("every family has help and type, counters end in _total, no series comes twice") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  CHECK(pool->get(1));
  std::istringstream text(daemon.scrape());
  std::set<std::string> series;
  std::set<std::string> typed;
  std::size_t lines = 0;
  for (std::string line; std::getline(text, line); ++lines) {
    CAPTURE(line);
    if (line.rfind("# TYPE ", 0) == 0) {
      const std::size_t end = line.find(' ', 7);
      const std::string name = line.substr(7, end - 7);
      CHECK(typed.insert(name).second);
      const bool counter = line.substr(end + 1) == "counter";
      const bool total = name.size() > 6 && name.rfind("_total") == name.size() - 6;
      CHECK(counter == total);
      CHECK((name.rfind("zeropool_", 0) == 0 || name.rfind("process_", 0) == 0));
    } else if (line.rfind("#", 0) != 0 && !line.empty()) {
      CHECK(series.insert(line.substr(0, line.rfind(' '))).second);
    }
  }
  CHECK(lines > 100);
  for (const char* name : {"zeropool_build_info", "process_resident_memory_bytes",
                           "zeropool_scrape_duration_seconds", "zeropool_order_wait_seconds"}) {
    CHECK_MESSAGE(typed.count(name) == 1, name);
  }
}

TEST_CASE("the exporter answers HEAD, its health, its readiness, and nothing else") {
  DaemonProcess daemon(kConfig);
  const HttpAnswer get = daemon.http("GET", "/metrics");
  CHECK(get.status == 200);
  CHECK(get.head.find("text/plain; version=0.0.4") != std::string::npos);
  const HttpAnswer head = daemon.http("HEAD", "/metrics");
  CHECK(head.status == 200);
  CHECK(head.body == "");
  CHECK(head.head.find("text/plain; version=0.0.4") != std::string::npos);
  CHECK(daemon.http("GET", "/-/healthy").status == 200);
  CHECK(daemon.http("HEAD", "/-/healthy").status == 200);
  CHECK(daemon.http("GET", "/-/ready").status == 200);
  const HttpAnswer landing = daemon.http("GET", "/");
  CHECK(landing.status == 200);
  CHECK(landing.body.find("/metrics") != std::string::npos);
  CHECK(daemon.http("GET", "/nothing").status == 404);
  CHECK(daemon.http("POST", "/metrics").status == 405);
  CHECK(daemon.http("GET", "/" + std::string(100000, 'x')).status != 200);
  CHECK(daemon.http("GET", "/metrics").status == 200);
  CHECK(daemon.stop().well());
  CHECK(daemon.http("GET", "/metrics").status == 0);
}

TEST_CASE("an occupied port stops neither start nor clients") {
  const DaemonProcess first(kConfig);
  const std::string url = first.metrics_url();
  const std::string port = url.substr(17, url.find('/', 17) - 17);
  const TemporaryFolder folder;
  write_file(folder.path() + "/config.yaml",
             "socket: {path: " + folder.path() +
                 "/s.sock}\nmetrics: {listen: [\"127.0.0.1:" + port + "\"]}\n" + kConfig);
  ProgramOptions options;
  options.arguments = {daemon_program(), "--config", folder.path() + "/config.yaml"};
  options.output = folder.path() + "/log";
  Program second(options);
  zeropool::OpenOptions open;
  open.socket = folder.path() + "/s.sock";
  CHECK(eventually([&] { return static_cast<bool>(Pool::open("frames", open)); }));
  CHECK(read_file(options.output).find(port) != std::string::npos);
  second.send(SIGTERM);
  CHECK(second.finish(10s).well());
}
