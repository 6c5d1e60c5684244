// A real Prometheus with the shipped rules, three real daemons, real load. "good" works without a fault, and is killed and
// started again meanwhile; on "bad" everything is wrong that can be made wrong; "gone" stops.

#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <set>
#include <signal.h>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "../integration/support/child_process.hpp"
#include "../integration/support/daemon_process.hpp"
#include "support/all_kinds.hpp"
#include "support/prometheus_process.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::Pool;

namespace {

constexpr auto kPatience = 120s;  // until what comes within seconds must have come

constexpr const char* kGood = R"(budget: 64MiB
pages: {size: [4KiB]}
metrics: {listen: ["127.0.0.1:0"], top_clients: 3}
pools:
  frames: {classes: [4KiB, 64KiB], handoff: {lease: 200ms}, thread_cache_idle: 1s}
)";

// Pages of 1GiB within a budget of 64 MiB cannot be had anywhere.
constexpr const char* kBad = R"(budget: 64MiB
pools:
  spent: {classes: [64KiB], pages: {size: [1GiB, 4KiB]}, wait: {timeout: 1h}}
  missing: {classes: [4KiB], pages: {size: [4KiB]}}
  dying: {classes: [4KiB], pages: {size: [4KiB]}, reserved: 4MiB}
)";

std::string address_of(const DaemonProcess& daemon) {
  const std::string url = daemon.metrics_url();
  const std::size_t begin = url.find("//") + 2;
  return url.substr(begin, url.find('/', begin) - begin);
}

// Two threads that get and put as fast as a person would call steady.
void work_steadily(const DaemonProcess& daemon) {
  Pool pool = daemon.open("frames").value();
  const auto work = [&pool](std::size_t bytes) {
    for (;;) {
      for (int i = 0; i < 100; ++i) expect(static_cast<bool>(pool.get(bytes)), zp_last_error());
      std::this_thread::sleep_for(1ms);
    }
  };
  std::thread other(work, 65536);
  work(4096);
}

// Takes the budget, says so, and holds it.
void take_everything(const DaemonProcess& daemon, Link& parent) {
  Pool pool = daemon.open("spent").value();
  std::vector<Buffer> held;
  for (;;) {
    Buffer buffer = pool.get(65536, 100ms);
    if (!buffer) break;
    held.push_back(std::move(buffer));
  }
  parent.signal();
  parent.await(10min);
}

void wait_for_a_buffer(const DaemonProcess& daemon) {
  Pool pool = daemon.open("spent").value();
  for (;;) static_cast<void>(pool.get(65536, 1min));
}

void miss_again_and_again(const DaemonProcess& daemon) {
  Pool pool = daemon.open("missing").value();
  for (;;) {
    for (int i = 0; i < 10; ++i) static_cast<void>(pool.try_get(1 << 20));
    std::this_thread::sleep_for(1ms);
  }
}

// That have ever been firing.
std::set<std::string> alerts(const PrometheusProcess& prometheus, const std::string& instance) {
  std::set<std::string> names;
  const auto result = prometheus.query("count_over_time(ALERTS{alertstate=\"firing\", instance=\"" +
                                       instance + "\"}[30m])");
  for (const auto& series : result) names.insert(series.at("metric").at("alertname"));
  // "good" is down for as long as its restart takes; and a machine that has more to do may not answer within a second.
  if (instance != "gone") names.erase("ZeropoolDown");
  return names;
}

std::string joined(const std::set<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += " " + name;
  return text;
}

// Every query of deploy/grafana/zeropool.json, and of its variables, as Grafana fills them in.
void ask_as_dashboard(const PrometheusProcess& prometheus,
                      std::chrono::steady_clock::time_point begin) {
  CommandResult answers;
  const auto ask = [&] {
    const std::chrono::duration<double> since = std::chrono::steady_clock::now() - begin;
    ProgramOptions options;
    options.arguments = {"python3",        "-B",      source_file("tests/e2e/dashboard_answers.py"),
                         prometheus.url(), "--since", std::to_string(since.count() + 1)};
    answers = run_command(options);
    return answers.exit_code == 0;
  };
  CHECK(eventually(ask, kPatience));
  std::printf("%s%s\n", answers.out.c_str(), answers.err.c_str());
}

void print_alerts(const PrometheusProcess& prometheus) {
  for (const char* instance : {"good", "bad", "gone"})
    std::printf("fired on %s:%s\n", instance, joined(alerts(prometheus, instance)).c_str());
}

// What is left of gets when what became of them is taken off: for every ring of every pool of every host.
constexpr const char* kIdentity = R"(
    sum by (instance, pool, node, class) (zeropool_gets_total)
  - sum by (instance, pool, node, class) (zeropool_tls_hits_total)
  - sum by (instance, pool, node, class) (zeropool_shared_hits_total)
  - sum by (instance, pool, node, class) (zeropool_allocations_total)
  - sum by (instance, pool, node, class) (zeropool_get_failures_total))";

}  // namespace

TEST_CASE("Prometheus sees what is so, and alerts on what is wrong and on nothing else") {
  DaemonProcess good(kGood);
  DaemonProcess bad(kBad);
  auto gone = std::make_unique<DaemonProcess>(kGood);
  PrometheusProcess prometheus;
  std::map<std::string, std::string> targets = {
      {"good", address_of(good)}, {"bad", address_of(bad)}, {"gone", address_of(*gone)}};
  prometheus.scrape(targets);

  const auto begin = std::chrono::steady_clock::now();
  ChildProcess worker([&](Link&) { work_steadily(good); });
  ChildProcess busy([&](Link&) { do_all_kinds(good, "frames"); });
  for (const char* instance : {"good", "bad", "gone"}) {
    CAPTURE(instance);
    REQUIRE(eventually(
        [&] { return prometheus.value(std::string("up{instance=\"") + instance + "\"}") == 1; },
        kPatience));
  }

  // What is right.
  CHECK(eventually(
      [&] { return prometheus.value("pool:zeropool_hit_ratio:rate5m{instance=\"good\"}") > 0.99; },
      kPatience));
  CHECK(prometheus.value("pool:zeropool_gets:rate5m{instance=\"good\"}") > 100);

  // What is wrong.
  ChildProcess holder([&](Link& parent) { take_everything(bad, parent); });
  holder.link().await(kPatience);
  ChildProcess waiter([&](Link&) { wait_for_a_buffer(bad); });
  ChildProcess misser([&](Link&) { miss_again_and_again(bad); });
  bad.rewrite_config(std::string(kBad) + "nonsense: 1\n");
  bad.send(SIGHUP);
  gone.reset();

  const std::set<std::string> expected = {"ZeropoolBudgetNearlySpent", "ZeropoolGetsFailing",
                                          "ZeropoolHitRateLow",        "ZeropoolOrdersWaiting",
                                          "ZeropoolReclaimsStorming",  "ZeropoolReloadFailed",
                                          "ZeropoolSmallPages"};
  std::set<std::string> seen;
  const bool fired = eventually(
      [&] {
        ChildProcess victim([&](Link& parent) {
          Pool pool = bad.open("dying").value();
          const Buffer held = pool.get(4096);
          parent.signal();
          parent.await(10min);
        });
        victim.link().await();
        victim.kill();
        seen = alerts(prometheus, "bad");
        return seen == expected;
      },
      kPatience);
  CHECK_MESSAGE(fired, "firing on bad:", joined(seen));
  CHECK(eventually(
      [&] { return alerts(prometheus, "gone") == std::set<std::string>{"ZeropoolDown"}; },
      kPatience));

  // A restart in between: the daemon of "good" is killed, the next one has another port.
  const double before = good.metric("zeropool_gets_total");
  good.kill9();
  good.start_again();
  targets["good"] = address_of(good);
  prometheus.scrape(targets);
  CHECK(eventually(
      [&] { return prometheus.value("sum(zeropool_gets_total{instance=\"good\"})") > before; },
      kPatience));
  const auto counters = prometheus.query(
      "count by (__name__) ({__name__=~\"zeropool_.+_(total|seconds_count)\", instance=\"good\"})");
  CHECK(counters.size() > 30);
  for (const auto& counter : counters) {
    const std::string name = counter.at("metric").at("__name__");
    CHECK_MESSAGE(prometheus.query("resets(" + name + "[30m]) > 0").empty(), name);
  }

  // At every moment of it all.
  CHECK(prometheus.always(kIdentity, "30m", 0));
  CHECK(prometheus.query(std::string("count(") + kIdentity + ")").size() == 1);
  CHECK(
      prometheus.always("sum by (instance) (zeropool_budget_committed_bytes)"
                        " <= bool sum by (instance) (zeropool_budget_bytes)",
                        "30m", 1));
  CHECK(eventually(
      [&] {
        const double used =
            prometheus.value("instance:zeropool_budget_used:ratio{instance=\"bad\"}");
        return used > 0.9 && used <= 1;
      },
      kPatience));
  CHECK(eventually(
      [&] {
        const double up = prometheus.value("job:zeropool_up:ratio");
        return prometheus.value("job:zeropool_budget_bytes:sum") == 2 * (64 << 20) && up > 0.66 &&
               up < 0.67;
      },
      kPatience));

  // Whatever the dashboard asks has an answer.
  ask_as_dashboard(prometheus, begin);

  // Of nothing else anybody was told.
  print_alerts(prometheus);
  const std::set<std::string> of_good = alerts(prometheus, "good");
  CHECK_MESSAGE(of_good.empty(), "firing on good:", joined(of_good));

  for (ChildProcess* child : {&holder, &waiter, &misser}) child->kill();
  // What killed it, if anything did, was this test.
  CHECK_MESSAGE(busy.kill().signal == SIGKILL, busy.failure());
  CHECK_MESSAGE(worker.kill().signal == SIGKILL, worker.failure());
}
