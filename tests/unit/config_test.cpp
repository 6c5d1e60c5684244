#include "daemon/config.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include <doctest/doctest.h>

#include "daemon/config_keys.hpp"
#include "tests/unit/config_testing.hpp"

using namespace zeropool::daemon;
using namespace zeropool::daemon::config_testing;
using namespace std::chrono_literals;

namespace {

std::filesystem::path source_dir() {
  if (const char* given = std::getenv("ZEROPOOL_SOURCE_DIR")) return given;
#ifdef ZEROPOOL_SOURCE_DIR
  return ZEROPOOL_SOURCE_DIR;
#else
  return std::filesystem::path(__FILE__).parent_path().parent_path().parent_path();
#endif
}

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "zeropool-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::string file(std::string_view name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace

TEST_SUITE("config") {
  TEST_CASE("an empty file, a comment, a null and an empty map are the defaults") {
    for (const char* text : {"", "\n", "# nothing\n", "---\n", "~", "{}", "---\n...\n", "pools:\n",
                             "pools: {}", "socket:\nlog:\n", "\xEF\xBB\xBF# with a BOM\n"}) {
      CAPTURE(std::string(text));
      CHECK(parsed(text) == Config{});
    }
  }

  TEST_CASE("the defaults are one pool with four classes and a quarter of memory") {
    const Config config;
    REQUIRE(config.pools.size() == 1);
    CHECK(config.pools[0].name == "default");
    CHECK(config.pools[0].classes == std::vector<std::uint64_t>{4096, 65536, 1 << 20, 4 << 20});
    CHECK(config.pools[0].handoff_lease == 60s);
    CHECK(config.pools[0].wait.timeout == 5s);
    CHECK(config.budget_bytes(64 * kGiB) == 16 * kGiB);
    CHECK(config.metrics.listen == std::vector<std::string>{"127.0.0.1:9977", "[::1]:9977"});
  }

  TEST_CASE("the file that is shipped loads and is the defaults") {
    const ConfigOutcome outcome = load_config((source_dir() / "config/zeropoold.yaml").string());
    for (const ConfigError& error : outcome.errors) MESSAGE(error.to_string());
    REQUIRE(outcome.ok());
    CHECK(*outcome.config == Config{});
  }

  TEST_CASE("the examples that the shipped file comments out load too") {
    std::ifstream file(source_dir() / "config/zeropoold.yaml");
    std::string text;
    for (std::string line; std::getline(file, line);) {
      const std::size_t hash = line.find_first_not_of(' ');
      const bool commented = hash != std::string::npos && line.compare(hash, 2, "# ") == 0;
      const std::size_t word = commented ? line.find_first_not_of(' ', hash + 2) : 0;
      for (const char* key :
           {"budget: ", "path: ", "group: ", "limit: ", "limit_max: ", "client_quota: ", "pages:",
            "size: [1", "access:", "users: ", "groups: "}) {
        if (commented && line.compare(word, std::string_view(key).size(), key) == 0) {
          line.erase(hash, 2);
          break;
        }
      }
      text += line + "\n";
    }
    const Config config = parsed(text);
    CHECK(config.budget == Amount::percent_hundredths(2500));
    CHECK(config.socket.path == "/run/zeropool/zeropoold.sock");
    CHECK(config.socket.group == "zeropool");
    CHECK(config.pools[0].limit_bytes == 6 * kGiB);
    CHECK(config.pools[0].client_quota_bytes == 2 * kGiB);
    CHECK(config.pools[0].page_sizes->front() == PageSize::kHuge1GiB);
    CHECK(config.pools[0].access->users == std::vector<std::string>{"video"});
  }

  TEST_CASE("every key that the interface names is read") {
    const Config config = parsed(R"(
budget: 8GiB
socket: {path: /run/zeropool/zeropoold.sock, mode: "0600", group: zeropool}
pages: {size: [1GiB, 4KiB], reserve: true}
metrics: {listen: ["box.example:1", "[fe80::1%eth0]:0"], web_config: /etc/web.yaml}
limits: {clients: 7, threads: 8, pending_attaches: 9}
log: {level: debug}
pools:
  frames:
    reserved: 1GiB
    limit: 6GiB
    limit_max: 7GiB
    client_quota: 2GiB
    nodes: [1, 0]
    placement: local_only
    classes: [64KiB, 4KiB]
    thread_cache: 0
    thread_cache_idle: 90s
    hot_set: 8MiB
    pages: {size: [thp]}
    watermarks: {low: 64MiB, high: 256MiB}
    release: {window: 2m, rate: 256MiB}
    wait: {timeout: 50ms, orders: 65535}
    handoff: {lease: 1.5s}
    scrub: always
    access: {users: [video, "1000"], groups: []}
  other:
)");
    CHECK(config.budget == Amount::bytes(8 * kGiB));
    CHECK(config.socket == SocketConfig{"/run/zeropool/zeropoold.sock", 0600, "zeropool"});
    CHECK(config.pages == PagesConfig{{PageSize::kHuge1GiB, PageSize::kSmall4KiB}, true});
    CHECK(config.metrics ==
          MetricsConfig{{"box.example:1", "[fe80::1%eth0]:0"}, std::string("/etc/web.yaml")});
    CHECK(config.limits == LimitsConfig{7, 8, 9});
    CHECK(config.log.level == "debug");
    PoolConfig frames;
    frames.name = "frames";
    frames.reserved_bytes = kGiB;
    frames.limit_bytes = 6 * kGiB;
    frames.limit_max_bytes = 7 * kGiB;
    frames.client_quota_bytes = 2 * kGiB;
    frames.nodes = {0, 1};
    frames.placement = Placement::kLocalOnly;
    frames.classes = {4 * kKiB, 64 * kKiB};
    frames.thread_cache_bytes = 0;
    frames.thread_cache_idle = 90s;
    frames.hot_set_bytes = 8 * kMiB;
    frames.page_sizes = {PageSize::kThp};
    frames.watermarks = {64 * kMiB, 256 * kMiB};
    frames.release = {2min, 256 * kMiB};
    frames.wait = {50ms, 65535};
    frames.handoff_lease = 1500ms;
    frames.scrub = Scrub::kAlways;
    frames.access = AccessConfig{{"video", "1000"}, {}};
    REQUIRE(config.pools.size() == 2);
    CHECK(config.pools[0] == frames);
    PoolConfig other;
    other.name = "other";
    CHECK(config.pools[1] == other);
  }

  TEST_CASE("an unknown key is refused with its place, its neighbours and the nearest key") {
    check_refused("bugdet: 1GiB\n", 1, 1, "bugdet",
                  {"unknown key 'bugdet'", "did you mean 'budget'?",
                   "allowed here: budget, socket, pages, metrics, limits, log, pools"});
    check_refused("log:\n  levl: info\n", 2, 3, "log.levl", {"'level'", "allowed here: level"});
    check_refused("socket: {paht: /x}", 1, 10, "socket.paht", {"did you mean 'path'?"});
    check_refused("metrics:\n    web-config: /x\n", 2, 5, "metrics.web-config", {"'web_config'?"});
    check_refused("limits: {Clients: 5}", 1, 10, "limits.Clients", {"'clients'?"});
    check_refused("pools:\n  a:\n    resrved: 1GiB\n", 3, 5, "pools.a.resrved",
                  {"did you mean 'reserved'?", "thread_cache"});
    check_refused("pools:\n  a:\n    wait: {timeuot: 1s}\n", 3, 12, "pools.a.wait.timeuot",
                  {"did you mean 'timeout'?"});
    check_refused("pages: {sizes: [thp]}", 1, 9, "pages.sizes", {"'size'?"});
    for (const char* section : {"watermarks", "release", "handoff", "access", "pages", "wait"}) {
      check_pool_refused(std::string(section) + ": {zzzzzzzz: 1}",
                         std::string(section) + ".zzzzzzzz", {"unknown key", "allowed here: "});
    }
  }

  TEST_CASE("a key far from all known ones gets no guess") {
    const ConfigOutcome outcome = parse("completely_different: 1");
    REQUIRE(outcome.errors.size() == 1);
    CHECK_FALSE(holds(outcome.errors[0].message, "did you mean"));
  }

  TEST_CASE("nearest keys are within three edits and keep something of the word") {
    const std::vector<std::string_view> known = {"limit", "limit_max", "log"};
    CHECK(nearest_key("limits", known) == "limit");
    CHECK(nearest_key("limit-max", known) == "limit_max");
    CHECK(nearest_key("LOG", known) == "log");
    CHECK(nearest_key("limitxyz", known) == "limit");
    CHECK_FALSE(nearest_key("limitwxyz_", known));
    CHECK_FALSE(nearest_key("x", known));
    CHECK_FALSE(nearest_key("", known));
    CHECK(edit_distance("kitten", "sitting") == 3);
    CHECK(edit_distance("", "abc") == 3);
    CHECK(edit_distance("same", "same") == 0);
  }

  TEST_CASE("a key given twice is refused at the second, naming the first") {
    check_refused("log: {level: info}\nlog: {level: warn}\n", 2, 1, "log", {"twice", "line 1"});
    check_refused("pools:\n  a:\n  a:\n", 3, 3, "pools.a", {"twice", "line 2"});
    check_refused("pools:\n  a:\n    limit: 1GiB\n    \"limit\": 2GiB\n", 4, 5, "pools.a.limit",
                  {"twice", "line 3"});
  }

  TEST_CASE("all errors of a file are found in one pass") {
    const ConfigOutcome outcome = parse(
        "budgt: 1\nlog: {level: loud}\nlimits: {clients: 0}\n"
        "pools:\n  A:\n    limit: 5MB\n  b:\n    scrub: no\n");
    std::vector<std::string> keys;
    for (const ConfigError& error : outcome.errors) keys.push_back(error.key);
    CHECK(keys == std::vector<std::string>{"budgt", "log.level", "limits.clients", "pools.A",
                                           "pools.A.limit", "pools.b.scrub"});
    CHECK_FALSE(outcome.config);
  }

  TEST_CASE("errors are listed up to a bound") {
    std::string text;
    for (int i = 0; i < 1000; ++i) text += "zz" + std::to_string(i) + ": 1\n";
    const ConfigOutcome outcome = parse(text);
    CHECK(outcome.errors.size() == 51);
    CHECK(holds(outcome.errors.back().message, "too many errors"));
  }

  TEST_CASE("an error is written as file:line:column: key: message") {
    CHECK(ConfigError{"f.yaml", 3, 5, "log.level", "bad"}.to_string() ==
          "f.yaml:3:5: log.level: bad");
    CHECK(ConfigError{"f.yaml", 0, 0, "", "cannot be opened"}.to_string() ==
          "f.yaml: cannot be opened");
  }

  TEST_CASE("a value of the wrong shape is refused, naming what belongs there") {
    check_refused("budget: [1GiB]", 1, 9, "budget", {"one value, not a list", "allowed: 1MiB"});
    check_refused("budget: {a: 1}", 1, 9, "budget", {"one value, not a map"});
    check_refused("log: info", 1, 6, "log", {"map of keys", "allowed here: level"});
    check_refused("log:\n  level: [info]\n", 2, 10, "log.level", {"not a list", "trace, debug"});
    check_refused("metrics: {listen: \"a:1\"}", 1, 19, "metrics.listen", {"must be a list"});
    check_refused("metrics: {listen: [[\"a:1\"]]}", 1, 20, "metrics.listen[0]", {"not a list"});
    check_refused("metrics: {listen: [~]}", 1, 20, "metrics.listen[0]", {"not nothing"});
    check_refused("pages: {size: thp}", 1, 15, "pages.size", {"must be a list", "[2MiB, thp"});
    check_refused("pages: {reserve: yes}", 1, 18, "pages.reserve", {"'yes'", "true, false"});
    check_refused("pools: [a]", 1, 8, "pools", {"map of pools"});
    check_refused("pools: {a: 5}", 1, 12, "pools.a", {"map of keys", "reserved"});
    check_refused("- a\n", 1, 1, "", {"map of keys"});
    check_refused("just text", 1, 1, "", {"map of keys"});
    check_refused("? [a]\n: 1\n", 1, 3, "", {"key that is not a word"});
    check_refused("~: 1\n", 1, 1, "", {"key that is not a word"});
  }

  TEST_CASE("words are taken from their lists only, with the nearest named") {
    check_refused("log: {level: inof}", 1, 14, "log.level", {"'inof'", "did you mean 'info'?"});
    check_pool_refused("placement: lcal", "placement", {"'local'", "local_only, interleave"});
    check_pool_refused("scrub: sometimes", "scrub", {"never, on_user_change, always"});
    check_refused("pages: {size: [2MB]}", 1, 16, "pages.size[0]", {"'2MiB'?", "1GiB, 2MiB"});
    check_refused("pages: {size: [thp, thp]}", 1, 21, "pages.size[1]", {"twice"});
    check_refused("pages: {size: []}", 1, 15, "pages.size", {"empty"});
    for (const char* level : {"trace", "debug", "info", "warn", "error", "critical", "off"}) {
      CHECK(parsed(std::string("log: {level: ") + level + "}").log.level == level);
    }
  }

  TEST_CASE("a value out of range is refused with the range") {
    check_refused("budget: 4KiB", 1, 9, "budget", {"'4KiB'", "out of range", "1MiB to 64TiB"});
    check_refused("budget: 65TiB", 1, 9, "budget", {"out of range"});
    check_refused("limits: {threads: 0}", 1, 19, "limits.threads", {"'0'", "1 to 65535"});
    check_refused("limits: {pending_attaches: 1.5}", 1, 28, "limits.pending_attaches",
                  {"whole number"});
    check_refused("limits: {clients: 010}", 1, 19, "limits.clients", {"whole number"});
    check_refused("limits: {clients: -1}", 1, 19, "limits.clients", {"whole number"});
    check_refused("limits: {clients: \"\"}", 1, 19, "limits.clients", {"whole number"});
    check_pool_refused("limit: 0", "limit", {"1MiB to 64TiB"});
    check_pool_refused("client_quota: 0", "client_quota", {"4KiB to 64TiB"});
    check_pool_refused("thread_cache: 1025MiB", "thread_cache", {"0 to 1GiB"});
    check_pool_refused("thread_cache_idle: 999ms", "thread_cache_idle", {"1s to 24h"});
    check_pool_refused("thread_cache_idle: 25h", "thread_cache_idle", {"1s to 24h"});
    check_pool_refused("hot_set: 2TiB", "hot_set", {"0 to 1TiB"});
    check_pool_refused("wait: {timeout: 61m}", "wait.timeout", {"0 to 1h"});
    check_pool_refused("wait: {orders: 0}", "wait.orders", {"1 to 65535"});
    check_pool_refused("wait: {orders: 65536}", "wait.orders", {"1 to 65535"});
    check_pool_refused("handoff: {lease: 99ms}", "handoff.lease", {"100ms to 24h"});
    check_pool_refused("handoff: {lease: 25h}", "handoff.lease", {"100ms to 24h"});
    CHECK(parsed_pool("wait: {timeout: 0, orders: 1}").wait == WaitConfig{0s, 1});
    CHECK(parsed_pool("handoff: {lease: 24h}").handoff_lease == 24h);
    CHECK(parsed_pool("thread_cache: 1GiB").thread_cache_bytes == kGiB);
  }

  TEST_CASE("classes come out ascending") {
    CHECK(parsed_pool("classes: [1MiB, 64, 1GiB, 4KiB]").classes ==
          std::vector<std::uint64_t>{64, 4 * kKiB, kMiB, kGiB});
  }

  TEST_CASE("classes are multiples of 64 bytes, from 64 bytes to 1GiB, 1 to 32, none twice") {
    check_pool_refused("classes: [100]", "classes[0]", {"'100'", "multiple of 64"});
    check_pool_refused("classes: [4KiB, 0]", "classes[1]", {"64B to 1GiB"});
    check_pool_refused("classes: [2GiB]", "classes[0]", {"64B to 1GiB"});
    check_pool_refused("classes: [4KiB, 1MiB, 4096]", "classes[2]", {"4KiB", "twice"});
    check_pool_refused("classes: []", "classes", {"empty", "1 to 32"});
    check_pool_refused("classes: 4KiB", "classes", {"must be a list"});
    std::string list = "64";
    for (int i = 1; i < 32; ++i) list += ", " + std::to_string(64 + 64 * i);
    CHECK(parsed_pool("classes: [" + list + "]").classes.size() == 32);
    check_pool_refused("classes: [" + list + ", 1GiB]", "classes", {"33 items", "at most 32"});
  }

  TEST_CASE("neighbouring classes nearer than 1/512 of their size are refused") {
    CHECK(parsed_pool("classes: [32768, 32832]").classes.size() == 2);
    CHECK(parsed_pool("classes: [65536, 65664]").classes.size() == 2);
    check_pool_refused("classes: [65600, 64KiB]", "classes[0]",
                       {"64KiB and 65600B", "1/512", "drop one"});
    check_pool_refused("classes: [1GiB, 1000MiB, 1073741760]", "classes[0]", {"1/512"});
  }

  TEST_CASE("pool names are short, lower-case and start with a letter or digit") {
    for (const char* name : {"a", "0", "frames", "a_b.c-d", "a-b"}) {
      CHECK(parsed(std::string("pools: {") + name + ": }").pools.at(0).name == name);
    }
    const std::string longest(48, 'a');
    CHECK(parsed("pools: {" + longest + ": }").pools.at(0).name == longest);
    check_refused("pools: {" + longest + "a: }", 1, 9, "pools." + longest + "a", {"pool name"});
    check_refused("pools: {Frames: }", 1, 9, "pools.Frames", {"'Frames'", "a-z"});
    check_refused("pools: {\"\": }", 1, 9, "pools.", {"pool name"});
    check_refused("pools: {_a: }", 1, 9, "pools._a", {"pool name"});
    check_refused("pools: {\"a/b\": }", 1, 9, "pools.a/b", {"pool name"});
    check_refused("pools: {\"a\\nb\": }", 1, 9, "pools.a\\x0ab", {"'a\\x0ab'"});
  }

  TEST_CASE("there are at most 64 pools") {
    std::string text = "pools:\n";
    for (int i = 0; i < 64; ++i) text += "  p" + std::to_string(i) + ":\n";
    CHECK(parsed(text).pools.size() == 64);
    check_refused(text + "  more:\n", 66, 3, "pools.more", {"at most 64"});
  }

  TEST_CASE("reserved is at most limit, and limit at most limit_max") {
    check_pool_refused("reserved: 2GiB, limit: 1GiB", "reserved", {"2GiB", "limit 1GiB"});
    check_pool_refused("reserved: 2GiB, limit_max: 1GiB", "reserved", {"limit_max 1GiB"});
    check_pool_refused("limit: 2GiB, limit_max: 1GiB", "limit", {"limit_max 1GiB"});
    CHECK(parsed_pool("reserved: 1GiB, limit: 1GiB, limit_max: 1GiB").limit_bytes == kGiB);
  }

  TEST_CASE("memory goes back by itself after a while, or never") {
    check_pool_refused("release: {window: 25h}", "release.window", {"24h"});
    check_pool_refused("release: {rate: 1KiB}", "release.rate", {"1MiB"});
    CHECK(parsed_pool("release: {window: 0s}").release.window == 0s);
    CHECK(parsed_pool("reserved: 0").release == ReleaseConfig{});
  }

  TEST_CASE("the low watermark is at most the high one") {
    check_pool_refused("watermarks: {low: 2MiB, high: 1MiB}", "watermarks.low",
                       {"low 2MiB is above high 1MiB"});
    CHECK(parsed_pool("watermarks: {low: 2MiB}").watermarks.low_bytes == 2 * kMiB);
    CHECK(parsed_pool("watermarks: {low: auto, high: 1}").watermarks ==
          WatermarksConfig{std::nullopt, 1});
  }

  TEST_CASE("reservations fit into the budget, at the latest when memory is known") {
    const std::string pools = "pools:\n  a: {reserved: 3GiB}\n  b: {reserved: 2GiB}\n";
    check_refused("budget: 4GiB\n" + pools, 4, 17, "pools.b.reserved",
                  {"5GiB together", "budget of 4GiB", "raise"});
    CHECK(parse("budget: 5GiB\n" + pools).ok());

    const ConfigOutcome by_share = parse(pools);
    REQUIRE(by_share.ok());
    CHECK(validate_against_machine(by_share, {20 * kGiB, {}}).ok());
    const ConfigOutcome refused = validate_against_machine(by_share, {16 * kGiB, {}});
    CHECK_FALSE(refused.ok());
    REQUIRE(refused.errors.size() == 1);
    CHECK(refused.errors[0].to_string() ==
          "test.yaml:3:17: pools.b.reserved: the pools reserve 5GiB together, above the budget of "
          "4GiB; lower a reservation or raise the budget");
  }

  TEST_CASE("sums of reservations do not wrap") {
    Config config;
    config.pools.resize(2);
    config.pools[0].reserved_bytes = std::numeric_limits<std::uint64_t>::max();
    config.pools[1].reserved_bytes = 5;
    ConfigOutcome outcome;
    outcome.config = config;
    CHECK_FALSE(validate_against_machine(outcome, {kGiB, {}}).ok());
  }

  TEST_CASE("a budget above the machine's memory, and nodes it has not, are refused") {
    const ConfigOutcome outcome = validate_against_machine(
        parse("budget: 8GiB\npools: {a: {nodes: [0, 3]}}"), {4 * kGiB, {0, 1}});
    REQUIRE(outcome.errors.size() == 2);
    CHECK(outcome.errors[0].line == 1);
    CHECK(outcome.errors[0].column == 9);
    CHECK(holds(outcome.errors[0].message, "more than this machine's memory, 4GiB"));
    CHECK(outcome.errors[1].key == "pools.a.nodes");
    CHECK(holds(outcome.errors[1].message, "no node 3; allowed: all, or of 0, 1"));
    CHECK(validate_against_machine(parse("budget: 8GiB"), {}).ok());
    CHECK_FALSE(validate_against_machine(parse("budget: 0.01%"), {kGiB, {}}).ok());
  }

  TEST_CASE("what failed to parse stays as it was against a machine") {
    const ConfigOutcome outcome = validate_against_machine(parse("nope: 1"), {kGiB, {}});
    CHECK(outcome.errors == parse("nope: 1").errors);
    CHECK_FALSE(outcome.ok());
  }

  TEST_CASE("nodes are all, or a list of different ones") {
    CHECK_FALSE(parsed_pool("nodes: all").nodes);
    CHECK(parsed_pool("nodes: [2, 0]").nodes == std::vector<std::uint32_t>{0, 2});
    check_pool_refused("nodes: []", "nodes", {"one node or more", "[0, 1]"});
    check_pool_refused("nodes: 0", "nodes", {"all, or a list"});
    check_pool_refused("nodes: {}", "nodes", {"all, or a list"});
    check_pool_refused("nodes: [0, 0]", "nodes[1]", {"twice"});
    check_pool_refused("nodes: [1024]", "nodes[0]", {"0 to 1023"});
    check_pool_refused("nodes: [a]", "nodes[0]", {"whole number"});
  }

  TEST_CASE("access that names nobody is nobody, and access left empty is refused") {
    CHECK_FALSE(parsed_pool("").access);
    CHECK(parsed_pool("access: {}").access == AccessConfig{});
    check_refused("pools:\n  p:\n    access:\n      # users: [a]\n", 2, 3, "pools.p.access",
                  {"is empty", "for nobody"});
    check_pool_refused("access: {users: video}", "access.users", {"must be a list"});
    check_pool_refused("access: {users: [a, a]}", "access.users[1]", {"'a'", "twice"});
    check_pool_refused("access: {groups: [\"\"]}", "access.groups[0]", {"empty"});
    check_pool_refused("access: {groups: [{a: b}]}", "access.groups[0]", {"not a map"});
  }

  TEST_CASE("socket paths are absolute and fit into a socket address") {
    const std::string longest = "/" + std::string(106, 'a');
    CHECK(parsed("socket: {path: " + longest + "}").socket.path == longest);
    check_refused("socket: {path: " + longest + "a}", 1, 16, "socket.path", {"long", "107 bytes"});
    check_refused("socket: {path: run/x}", 1, 16, "socket.path", {"absolute path"});
    check_refused("socket: {path: /run/}", 1, 16, "socket.path", {"absolute path of a file"});
    check_refused("socket: {path: \"@x\"}", 1, 16, "socket.path", {"absolute path"});
    check_refused("socket: {path: \"\"}", 1, 16, "socket.path", {"empty"});
    check_refused("metrics: {web_config: web.yaml}", 1, 23, "metrics.web_config", {"absolute"});
  }

  TEST_CASE("a socket's mode is four octal digits, with or without quotes") {
    CHECK(parsed("socket: {mode: \"0666\"}").socket.mode == 0666);
    CHECK(parsed("socket: {mode: 0600}").socket.mode == 0600);
    for (const char* mode : {"660", "0668", "01777", "1777", "rw-rw----", "0o660", "432", "\"\""}) {
      check_refused(std::string("socket: {mode: ") + mode + "}", 1, 16, "socket.mode",
                    {"not a file mode", "\"0660\""});
    }
  }

  TEST_CASE("listen addresses are checked for their form") {
    for (const char* address : {"127.0.0.1:9977", "[::]:0", "[fe80::1%eth0]:65535", "localhost:1",
                                "a.b-c.example:80", "[::ffff:1.2.3.4]:5"}) {
      CAPTURE(std::string(address));
      CHECK(parsed(std::string("metrics: {listen: [\"") + address + "\"]}").metrics.listen ==
            std::vector<std::string>{address});
    }
    for (const char* address : {"",
                                ":",
                                ":9977",
                                "9977",
                                "127.0.0.1",
                                "127.0.0.1:",
                                "127.0.0.1:65536",
                                "127.0.0.1:-1",
                                "127.0.0.1:99999999999",
                                "127.0.0.1:1x",
                                "127.0.0.256:1",
                                "1.2.3:1",
                                "::1:9977",
                                "[::1]",
                                "[::1:9977",
                                "::1]:9977",
                                "[]:1",
                                "[:1",
                                "[127.0.0.1]:1",
                                "[::1%]:1",
                                "[::g]:1",
                                "-a:1",
                                "a..b:1",
                                "a b:1",
                                "http://a:1",
                                ".:1"}) {
      CAPTURE(std::string(address));
      check_refused(std::string("metrics: {listen: [\"") + address + "\"]}", 1, 20,
                    "metrics.listen[0]", {"allowed: host:port or \"[IPv6]:port\""});
    }
    check_refused("metrics: {listen: [\"a:1\", \"a:1\"]}", 1, 27, "metrics.listen[1]", {"twice"});
    CHECK(parsed("metrics: {listen: []}").metrics.listen.empty());
  }

  TEST_CASE("a file that cannot be read is refused with the reason") {
    const TemporaryDirectory directory;
    const std::string missing = directory.file("missing.yaml");
    ConfigOutcome outcome = load_config(missing);
    REQUIRE(outcome.errors.size() == 1);
    CHECK(outcome.errors[0].to_string() ==
          missing + ": cannot be opened: No such file or directory");

    outcome = load_config(directory.file(""));
    REQUIRE(outcome.errors.size() == 1);
    CHECK(holds(outcome.errors[0].message, "not a regular file"));

    const std::string fifo = directory.file("fifo");
    REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
    CHECK(holds(load_config(fifo).errors.at(0).message, "not a regular file"));

    const std::string huge = directory.file("huge");
    std::ofstream(huge).close();
    std::filesystem::resize_file(huge, 100 * kGiB);
    CHECK(holds(load_config(huge).errors.at(0).message, "larger than 1MiB"));

    const std::string good = directory.file("good.yaml");
    std::ofstream(good) << "log: {level: off}\n";
    outcome = load_config(good);
    REQUIRE(outcome.ok());
    CHECK(outcome.config->log.level == "off");
    CHECK(outcome.positions.at("log.level") == ConfigPosition{1, 14});
  }
}
