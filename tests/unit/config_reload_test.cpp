#include "daemon/config_reload.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "tests/unit/config_testing.hpp"

using namespace zeropool::daemon;
using namespace zeropool::daemon::config_testing;
using namespace std::chrono_literals;

TEST_SUITE("config reload") {
  const std::string_view kRunning = R"(
budget: 8GiB
pools:
  a: {reserved: 1GiB, limit: 4GiB, limit_max: 6GiB}
  b: {reserved: 1GiB}
)";

  TEST_CASE("a file that has not changed changes nothing") {
    const Config running = fix_limit_max(parsed(kRunning), 64 * kGiB);
    const ReloadPlan plan = reload_diff(running, parsed(kRunning));
    CHECK(plan.applied.empty());
    CHECK(plan.refused.empty());
    CHECK(plan.effective == running);
  }

  TEST_CASE("what can change at run time is applied and named with both values") {
    const Config running = parsed(kRunning);
    Config wanted = running;
    wanted.budget = Amount::bytes(16 * kGiB);
    wanted.log.level = "debug";
    wanted.limits.pending_attaches = 5;
    PoolConfig& a = wanted.pools[0];
    a.reserved_bytes = 5 * kGiB;
    a.limit_bytes = 6 * kGiB;
    a.client_quota_bytes = kGiB;
    a.watermarks = {kMiB, 2 * kMiB};
    a.release = {1min, 2 * kMiB};
    a.thread_cache_bytes = kMiB;
    a.thread_cache_idle = 1min;
    a.wait = {1s, 5};
    a.handoff_lease = 2min;
    a.scrub = Scrub::kNever;
    a.access = AccessConfig{{"u"}, {}};
    const ReloadPlan plan = reload_diff(running, wanted);
    CHECK(plan.refused.empty());
    CHECK(plan.effective == wanted);
    CHECK(plan.applied.size() == 17);
    for (const char* line :
         {"budget: 8GiB -> 16GiB", "log.level: info -> debug", "limits.pending_attaches: 64 -> 5",
          "pools.a.reserved: 1GiB -> 5GiB", "pools.a.limit: 4GiB -> 6GiB",
          "pools.a.client_quota: default -> 1GiB", "pools.a.watermarks.high: default -> 2MiB",
          "pools.a.release.window: 30s -> 1m", "pools.a.release.rate: 1GiB -> 2MiB",
          "pools.a.thread_cache: 4MiB -> 1MiB", "pools.a.thread_cache_idle: 10s -> 1m",
          "pools.a.wait.timeout: 5s -> 1s", "pools.a.handoff.lease: 1m -> 2m",
          "pools.a.scrub: on_user_change -> never",
          "pools.a.access: default -> {users: [u], groups: []}"}) {
      CAPTURE(line);
      CHECK(std::count(plan.applied.begin(), plan.applied.end(), line) == 1);
    }
  }

  TEST_CASE("what needs a restart is named and stays as it is") {
    const Config running = parsed(kRunning);
    Config wanted = running;
    wanted.socket = {"/x", 0600, "g"};
    wanted.pages = {{PageSize::kThp}, true};
    wanted.metrics = {{}, "/w"};
    wanted.limits.clients = 5;
    wanted.limits.threads = 6;
    PoolConfig& a = wanted.pools[0];
    a.limit_max_bytes = 7 * kGiB;
    a.nodes = {0};
    a.placement = Placement::kInterleave;
    a.classes = {64};
    a.hot_set_bytes = 1;
    a.page_sizes = {PageSize::kThp};
    const ReloadPlan plan = reload_diff(running, wanted);
    CHECK(plan.applied.empty());
    CHECK(plan.effective == running);
    CHECK(plan.refused.size() == 15);
    for (const char* line :
         {"socket.path: default -> /x: needs a restart", "socket.mode: 0660 -> 0600: needs",
          "socket.group", "pages.size: [2MiB, thp, 4KiB] -> [thp]", "pages.reserve: false -> true",
          "metrics.listen: [127.0.0.1:9977, [::1]:9977] -> []", "metrics.web_config",
          "limits.clients: 1024 -> 5", "limits.threads", "pools.a.limit_max: 6GiB -> 7GiB",
          "pools.a.nodes: default -> [0]", "pools.a.placement: local -> interleave",
          "pools.a.classes: [4KiB, 64KiB, 1MiB, 4MiB] -> [64B]", "pools.a.hot_set",
          "pools.a.pages.size"}) {
      CAPTURE(line);
      CHECK(any_holds(plan.refused, line));
    }
  }

  TEST_CASE("pools are neither added nor removed, and their order does not matter") {
    const Config running = parsed(kRunning);
    Config wanted = running;
    std::swap(wanted.pools[0], wanted.pools[1]);
    CHECK(reload_diff(running, wanted).applied.empty());
    CHECK(reload_diff(running, wanted).refused.empty());
    wanted.pools[0].name = "c";
    const ReloadPlan plan = reload_diff(running, wanted);
    CHECK(plan.refused == std::vector<std::string>{"pools.b: cannot be removed: needs a restart",
                                                   "pools.c: cannot be added: needs a restart"});
    CHECK(plan.effective == running);
  }

  TEST_CASE("a limit above limit_max is refused, and what depended on it") {
    const Config running = parsed(kRunning);
    Config wanted = running;
    wanted.pools[0].limit_bytes = 7 * kGiB;
    wanted.pools[0].limit_max_bytes.reset();
    wanted.pools[0].reserved_bytes = 5 * kGiB;
    const ReloadPlan plan = reload_diff(running, wanted);
    CHECK(plan.applied.empty());
    CHECK(any_holds(plan.refused, "pools.a.limit: 4GiB -> 7GiB: above limit_max 6GiB"));
    CHECK(any_holds(plan.refused, "pools.a.reserved: 1GiB -> 5GiB: above the 4GiB"));
    CHECK(plan.effective == running);
  }

  TEST_CASE("a limit_max that was not given is what was laid out at start") {
    const Config running = fix_limit_max(parsed(kRunning), 64 * kGiB);
    CHECK(running.pools[0].limit_max_bytes == 6 * kGiB);
    CHECK(running.pools[1].limit_max_bytes == 8 * kGiB);
    Config wanted = parsed(kRunning);
    wanted.budget = Amount::bytes(16 * kGiB);
    wanted.pools[1].limit_bytes = 9 * kGiB;
    const ReloadPlan plan = reload_diff(running, wanted);
    CHECK(plan.applied == std::vector<std::string>{"budget: 8GiB -> 16GiB"});
    CHECK(any_holds(plan.refused, "pools.b.limit: default -> 9GiB: above limit_max 8GiB"));
  }

  TEST_CASE("a plan never leaves more reserved than the budget has") {
    const Config running = parsed(kRunning);
    // Alone it is consistent; but pool b, which it drops, goes on running.
    const Config wanted =
        parsed("budget: 2GiB\npools: {a: {reserved: 2GiB, limit: 2GiB, scrub: never}}");
    const ReloadPlan plan = reload_diff(running, wanted);
    CHECK(any_holds(plan.refused, "budget: 8GiB -> 2GiB: all pools that run reserve 3GiB"));
    CHECK(any_holds(plan.refused, "pools.a.reserved: 1GiB -> 2GiB"));
    CHECK(any_holds(plan.refused, "pools.b: cannot be removed"));
    CHECK(any_holds(plan.applied, "pools.a.scrub"));
    CHECK(plan.effective.budget == running.budget);
    CHECK(plan.effective.pools[0].reserved_bytes == kGiB);
    CHECK(plan.effective.pools[0].limit_bytes == 2 * kGiB);

    Config by_share = running;
    by_share.budget = Amount::percent_hundredths(100);
    CHECK(reload_diff(running, by_share).effective.budget == by_share.budget);
    CHECK(reload_diff(running, by_share, {100 * kGiB, {}}).effective.budget == running.budget);
  }
}
