// What promtool says of the shipped configuration and of what zeropoold exports.

#include <cstdlib>
#include <filesystem>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "../integration/support/daemon_process.hpp"
#include "support/prometheus_process.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;

namespace {

std::string folder() {
  return std::string(std::getenv("ZEROPOOL_SOURCE_DIR")) + "/config/prometheus";
}

CommandResult shell(const std::string& command) {
  ProgramOptions options;
  options.arguments = {"sh", "-c", command};
  return run_command(options);
}

void check_clean(const std::string& command) {
  const CommandResult result = shell(command);
  INFO(command, "\n", result.out, result.err);
  CHECK(result.exit_code == 0);
}

// promtool's lint says what it dislikes, and exits with 0 or 3.
void check_metrics(const DaemonProcess& daemon) {
  const CommandResult result =
      shell("curl --silent --fail " + daemon.metrics_url() + " | promtool check metrics");
  INFO(result.out, result.err);
  CHECK(result.exit_code == 0);
  CHECK(result.out.empty());
  CHECK(result.err.empty());
}

std::set<std::string> alert_names() {
  std::set<std::string> names;
  const std::string text = shipped("alerts.yml");
  const std::regex alert("- alert: (\\w+)");
  for (std::sregex_iterator at(text.begin(), text.end(), alert), end; at != end; ++at) {
    names.insert((*at)[1]);
  }
  return names;
}

}  // namespace

TEST_CASE("promtool finds no fault with the shipped configuration and rules") {
  check_clean("cd " + folder() + " && promtool check config prometheus.yml");
  check_clean("cd " + folder() + " && promtool check rules recording_rules.yml alerts.yml");
  check_clean("cd " + folder() + " && promtool test rules tests/*.yml");
}

TEST_CASE("promtool's tests can fail: another threshold in any alert is found") {
  const TemporaryFolder copy;
  check_clean("cp -r " + folder() + "/. " + copy.path());
  const std::string alerts = read_file(copy.path() + "/alerts.yml");
  const std::regex threshold("(expr: .*[<>=] )([0-9.]+)");
  std::size_t found = 0;
  for (std::sregex_iterator at(alerts.begin(), alerts.end(), threshold), end; at != end;
       ++at, ++found) {
    // Never true any more.
    std::string changed = alerts;
    changed.replace(static_cast<std::size_t>(at->position(0)), (*at)[0].str().size(),
                    "expr: absent(up) == 7");
    write_file(copy.path() + "/alerts.yml", changed);
    INFO((*at)[0].str());
    CHECK(shell("cd " + copy.path() + " && promtool test rules tests/alerts_test.yml").exit_code !=
          0);
  }
  CHECK(found == alert_names().size());
}

TEST_CASE("every alert has a summary, a description, a remedy, and its tests") {
  const std::string text = shipped("alerts.yml");
  const std::string tests = shipped("tests/alerts_test.yml");
  CHECK(alert_names().size() >= 7);
  for (const std::string& name : alert_names()) {
    CAPTURE(name);
    const std::size_t begin = text.find("- alert: " + name + "\n");
    const std::string alert = text.substr(begin, text.find("- alert: ", begin + 1) - begin);
    for (const char* part : {"summary: ", "description: ", "remedy: ", "severity: ", "for: "}) {
      CHECK_MESSAGE(alert.find(part) != std::string::npos, part);
    }
    CHECK(tests.find("name: " + name + "\n") != std::string::npos);
    CHECK(tests.find("alertname=\"" + name + "\"") != std::string::npos);
  }
}

TEST_CASE("the rules name no metric that zeropoold does not export") {
  const DaemonProcess daemon("budget: 16MiB\n");
  const std::string scrape = daemon.scrape();
  const std::string rules = shipped("recording_rules.yml") + shipped("alerts.yml");
  const std::regex metric("(^|[^:\\w])(zeropool_[a-z_]+)");
  std::set<std::string> names;
  for (std::sregex_iterator at(rules.begin(), rules.end(), metric), end; at != end; ++at) {
    names.insert((*at)[2]);
  }
  for (const char* group :
       {"zeropool_pools", "zeropool_instances", "zeropool_fleet", "zeropool_alerts"}) {
    CHECK(names.erase(group) == 1);
  }
  CHECK(names.size() > 15);
  for (const std::string& name : names) {
    CHECK_MESSAGE(std::regex_search(scrape, std::regex("\n" + name + "(\\{| )")), name);
  }
}

TEST_CASE("promtool check metrics is content with an idle daemon and with a busy one") {
  const DaemonProcess daemon(R"(budget: 64MiB
metrics: {listen: ["127.0.0.1:0"], top_clients: 3}
pools:
  frames: {classes: [4KiB, 64KiB], wait: {timeout: 50ms}}
)");
  check_metrics(daemon);
  auto pool = daemon.open("frames");
  REQUIRE(pool);
  std::vector<Buffer> held;
  for (;;) {
    Buffer buffer = pool->get(65536);
    if (!buffer) break;
    held.push_back(std::move(buffer));
  }
  for (int i = 0; i < 1000; ++i) static_cast<void>(pool->get(0));
  held.resize(held.size() / 2);
  check_metrics(daemon);
  CHECK(daemon.metric("zeropool_client_held_bytes") >= static_cast<double>(held.size() * 65536));
}
