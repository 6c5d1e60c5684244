// Configuration read again while clients work.

#include <atomic>
#include <chrono>
#include <signal.h>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/daemon_process.hpp"
#include "support/pattern.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::ErrorCode;
using zeropool::Pool;

namespace {

constexpr std::uint64_t kMiB = 1024 * 1024;

std::string config(int budget_mib, const std::string& more = "") {
  return "budget: " + std::to_string(budget_mib) +
         "MiB\npools:\n  frames:\n    classes: [64KiB, 1MiB]\n    limit_max: 256MiB\n" + more;
}

std::uint64_t budget_of(const DaemonProcess& daemon) {
  return daemon.ctl_json({"status"})["budget_bytes"];
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

TEST_CASE("a larger budget serves at once, also those who wait already") {
  for (const bool by_signal : {true, false}) {
    DaemonProcess daemon(config(32));
    auto pool = daemon.open();
    REQUIRE(pool);
    std::vector<Buffer> held = take_all(*pool, kMiB);
    REQUIRE(held.size() > 10);
    REQUIRE(held.size() < 32);
    bool served = false;
    std::thread waiter([&] { served = static_cast<bool>(pool->get(kMiB, 20s)); });
    REQUIRE(eventually([&] { return daemon.pool()["orders_waiting"] == 1; }));
    daemon.rewrite_config(config(64));
    if (by_signal) {
      daemon.send(SIGHUP);
    } else {
      const CommandResult reload = daemon.ctl({"reload"});
      CHECK_MESSAGE(reload.exit_code == 0, reload.err);
    }
    waiter.join();
    CHECK(served);
    CHECK(budget_of(daemon) == 64 * kMiB);
    CHECK(daemon.metric("zeropool_budget_bytes") == 64 * kMiB);
    CHECK(take_all(*pool, kMiB).size() > 20);
  }
}

TEST_CASE("a smaller budget takes nothing away, and grants no more") {
  DaemonProcess daemon(config(64));
  auto pool = daemon.open();
  REQUIRE(pool);
  std::vector<Buffer> held;
  for (std::uint64_t i = 0; i < 40; ++i) {
    held.push_back(pool->get(kMiB));
    REQUIRE(held.back());
    write_pattern(held.back(), i, 4096);
  }
  daemon.rewrite_config(config(24));
  REQUIRE(daemon.ctl({"reload"}).exit_code == 0);
  CHECK(budget_of(daemon) == 24 * kMiB);
  for (std::uint64_t i = 0; i < 40; ++i) CHECK(has_pattern(held[i], i, 4096));
  std::vector<Buffer> more = take_all(*pool, kMiB);
  CHECK(more.size() < 24);  // what was ready before
  more.clear();
  held.clear();
  *pool = Pool();
  REQUIRE(becomes_all_free(daemon));
  REQUIRE(daemon.ctl({"trim"}).exit_code == 0);
  CHECK(daemon.ctl_json({"status"})["committed_bytes"].get<std::uint64_t>() <= 24 * kMiB);
  auto again = daemon.open();
  REQUIRE(again);
  CHECK(take_all(*again, kMiB).size() <= 24);
}

TEST_CASE("a bad file changes nothing and says why") {
  DaemonProcess daemon(config(32));
  auto pool = daemon.open();
  REQUIRE(pool);
  for (const char* bad : {"budget: lots\n", "budget: 64MiB\npools: {frames: {clases: [4KiB]}}\n",
                          "budget: 64MiB\npools: {frames: [\n"}) {
    daemon.rewrite_config(bad);
    const CommandResult reload = daemon.ctl({"reload"});
    CAPTURE(reload.err);
    CHECK(reload.exit_code != 0);
    CHECK(reload.err.find(daemon.config_path() + ":") != std::string::npos);
    CHECK(budget_of(daemon) == 32 * kMiB);
    CHECK(daemon.metric("zeropool_config_last_reload_successful") == 0);
    CHECK(pool->get(65536));
    CHECK(daemon.ctl_json({"status"})["last_reload_successful"] == false);
  }
  daemon.send(SIGHUP);
  CHECK(eventually([&] { return daemon.log().rfind("nothing was changed") != std::string::npos; }));
  daemon.rewrite_config(config(40));
  CHECK(daemon.ctl({"reload"}).exit_code == 0);
  CHECK(budget_of(daemon) == 40 * kMiB);
  CHECK(daemon.metric("zeropool_config_last_reload_successful") == 1);
}

TEST_CASE("what takes a restart is named and left, the rest is applied") {
  DaemonProcess daemon(config(32));
  auto pool = daemon.open();
  REQUIRE(pool);
  daemon.rewrite_config(
      "budget: 48MiB\npools:\n  frames:\n    classes: [64KiB, 2MiB]\n    limit_max: 256MiB\n"
      "  another: {classes: [4KiB]}\n");
  const CommandResult reload = daemon.ctl({"reload"});
  CHECK(reload.exit_code == 0);
  CAPTURE(reload.out);
  CHECK(reload.out.find("classes") != std::string::npos);
  CHECK(reload.out.find("another") != std::string::npos);
  CHECK(reload.out.find("restart") != std::string::npos);
  CHECK(budget_of(daemon) == 48 * kMiB);
  CHECK(pool->get(2 * kMiB).error_code() == ErrorCode::too_large);
  CHECK(daemon.open("another").error().code == ErrorCode::no_such_pool);
}

TEST_CASE("how long a get waits follows a reload") {
  DaemonProcess daemon(config(24, "    wait: {timeout: 30s}\n"));
  auto pool = daemon.open();
  REQUIRE(pool);
  const std::vector<Buffer> held = take_all(*pool, kMiB);
  daemon.rewrite_config(config(24, "    wait: {timeout: 150ms}\n"));
  REQUIRE(daemon.ctl({"reload"}).exit_code == 0);
  const auto begin = std::chrono::steady_clock::now();
  CHECK_FALSE(pool->get(kMiB));
  CHECK(std::chrono::steady_clock::now() - begin < 2s);
}

TEST_CASE("a hundred reloads under load disturb nobody") {
  DaemonProcess daemon(config(48));
  auto pool = daemon.open();
  REQUIRE(pool);
  std::atomic<bool> stop{false};
  std::atomic<int> failed{0};
  std::thread worker([&] {
    Random random(1);
    while (!stop) {
      Buffer buffer = pool->get(1 + random.below(65536));
      if (!buffer) ++failed;
    }
  });
  for (int i = 0; i < 100; ++i) {
    daemon.rewrite_config(config(i % 2 == 0 ? 64 : 48));
    daemon.send(SIGHUP);
  }
  CHECK(daemon.ctl({"reload"}).exit_code == 0);
  stop = true;
  worker.join();
  CHECK(failed == 0);
  CHECK(budget_of(daemon) == 48 * kMiB);
}
