// A pool taken out of service: nobody new comes in, nobody who is in notices, and the operator sees when all is home.

#include <chrono>
#include <signal.h>
#include <string>
#include <thread>
#include <utility>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"
#include "support/segment_view.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::ErrorCode;
using zeropool::Handle;
using zeropool::Pool;

namespace {

constexpr const char* kConfig = R"(budget: 64MiB
pools:
  frames: {classes: [64KiB, 1MiB], wait: {timeout: 30s}, handoff: {lease: 1s}}
  other: {classes: [8KiB]}
)";

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

nlohmann::json state(const DaemonProcess& daemon, const std::string& pool) {
  const nlohmann::json status = daemon.ctl_json({"status"});
  for (const auto& entry : status["pools"]) {
    if (entry["name"] == pool) return entry;
  }
  return {};
}

bool warns_of_drain(const DaemonProcess& daemon) {
  const nlohmann::json status = daemon.ctl_json({"status"});
  for (const auto& warning : status["warnings"]) {
    if (warning["code"] == "draining") return true;
  }
  return false;
}

// By a process of its own: a second open of a process that is attached already is nobody new.
ErrorCode open_elsewhere(const DaemonProcess& daemon, const std::string& pool) {
  const auto child = run_in_child<int>([&] {
    const auto opened = daemon.open(pool);
    if (opened) return static_cast<int>(ErrorCode::ok);
    expect(opened.error().code != ErrorCode::draining ||
               has(opened.error().sentence, "pool '" + pool + "' is being drained"),
           opened.error().sentence);
    return static_cast<int>(opened.error().code);
  });
  CHECK_MESSAGE(child.end.well(), child.failure);
  return static_cast<ErrorCode>(child.value);
}

bool is_refused(const DaemonProcess& daemon, const std::string& pool) {
  return open_elsewhere(daemon, pool) == ErrorCode::draining;
}
bool is_attached(const DaemonProcess& daemon, const std::string& pool) {
  return open_elsewhere(daemon, pool) == ErrorCode::ok;
}

}  // namespace

TEST_CASE("while a pool is drained nobody new is attached, and who is attached goes on") {
  DaemonProcess daemon(kConfig);
  auto pool = daemon.open("frames");
  REQUIRE(pool);
  Buffer held = pool->get(65536);
  REQUIRE(held);
  const CommandResult drain = daemon.ctl({"drain", "frames"});
  REQUIRE_MESSAGE(drain.exit_code == 0, drain.err);
  CHECK(has(drain.out, "draining"));
  CHECK(is_refused(daemon, "frames"));
  CHECK(is_attached(daemon, "other"));
  CHECK(daemon.metric("zeropool_rejections_total", {"reason=\"draining\""}) == 1);

  // What is not at hand is still granted: 20 MiB more than was committed.
  std::vector<Buffer> more;
  for (int i = 0; i < 20; ++i) {
    more.push_back(pool->get(1 << 20));
    REQUIRE_MESSAGE(more.back(), more.back().error().sentence);
  }
  const Handle handle = std::move(held).release();
  CHECK(pool->adopt(handle));

  CHECK(state(daemon, "frames")["draining"] == true);
  CHECK(state(daemon, "other")["draining"] == false);
  CHECK(warns_of_drain(daemon));
  CHECK(has(daemon.ctl({"status"}).out, "zeropoolctl drain --stop frames"));
  CHECK(daemon.http("GET", "/-/ready").status == 200);  // another pool attaches
}

TEST_CASE("a daemon whose pools are all drained is not ready, and is again after the drain") {
  DaemonProcess daemon(kConfig);
  CHECK(daemon.http("GET", "/-/ready").status == 200);
  REQUIRE(daemon.ctl({"drain"}).exit_code == 0);
  CHECK(daemon.http_once("GET", "/-/ready").status == 503);
  CHECK(daemon.http("GET", "/-/healthy").status == 200);
  CHECK(is_refused(daemon, "frames"));
  CHECK(is_refused(daemon, "other"));
  const CommandResult stop = daemon.ctl({"drain", "--stop", "other"});
  REQUIRE_MESSAGE(stop.exit_code == 0, stop.err);
  CHECK(daemon.http("GET", "/-/ready").status == 200);
  CHECK(is_attached(daemon, "other"));
  CHECK(is_refused(daemon, "frames"));
  REQUIRE(daemon.ctl({"drain", "--stop"}).exit_code == 0);
  CHECK(is_attached(daemon, "frames"));
  CHECK(!warns_of_drain(daemon));
}

TEST_CASE("--wait ends when the last client has gone and every buffer is home") {
  DaemonProcess daemon(kConfig);
  ChildProcess client([&](Link& parent) {
    auto pool = daemon.open("frames");
    expect(static_cast<bool>(pool), "cannot open the pool");
    Buffer held = pool->get(1 << 20);
    // In transit after the client's end, until its lease is over.
    const Handle handle = pool->get(65536).release();
    expect(static_cast<bool>(held) && handle != Handle{}, "no buffers");
    parent.send(1);
    parent.receive<int>();
  });
  REQUIRE(client.link().receive<int>() == 1);

  const CommandResult early = daemon.ctl({"drain", "--wait", "10ms", "frames"});
  CHECK(early.exit_code == 1);
  CHECK(has(early.err, "not drained within the time allowed"));
  CHECK(has(early.out, "draining"));
  CHECK(!has(daemon.log(), "every buffer is home"));

  CommandResult waited;
  std::thread waiter([&] { waited = daemon.ctl({"drain", "--wait", "55s", "frames"}); });
  const End end = client.kill();
  waiter.join();
  CHECK(end.signal == SIGKILL);
  CHECK_MESSAGE(waited.exit_code == 0, waited.err);
  CHECK(has(waited.out, "drained"));
  CHECK(eventually([&] {
    return has(daemon.log(),
               "pool 'frames' is empty: its last client has gone, and every buffer is home");
  }));
  const nlohmann::json document = daemon.ctl_json({"drain", "frames"});
  CHECK(document["drained"] == true);
  CHECK(document["pools"][0]["in_transit_bytes"] == 0);
}

// A kill between an operation's commit and its count (hot_path.hpp), as if there had been many of both kinds.
TEST_CASE(
    "a pool is drained when its marks say so, whatever killed clients did not come to count") {
  DaemonProcess daemon(kConfig);
  for (const bool puts : {true, false}) {
    CAPTURE(puts);
    ChildProcess client([&](Link& parent) {
      auto pool = daemon.open("frames");
      expect(static_cast<bool>(pool), "cannot open the pool");
      expect(static_cast<bool>(pool->get(65536)), "no buffer");
      const SegmentView segment;
      zeropool::lib::SharedRingRecord& record =
          zeropool::lib::ControlView::rings_of(segment.control().thread(0))[0];
      auto& base = record.tallies[(record.loaded.load() >> 32) & 1];
      (puts ? base.puts : base.hits) += 5;
      record.adopted += puts ? 3 : 0;
      record.released += puts ? 0 : 3;
      const Handle handle = pool->get(65536).release();  // in transit, for a second
      expect(handle != Handle{}, "not released");
      parent.send(1);
      parent.receive<int>();
    });
    REQUIRE(client.link().receive<int>() == 1);
    client.kill();
    CHECK(daemon.ctl({"drain", "--wait", "1ms", "frames"}).exit_code == 1);  // the hand-off
    const CommandResult waited = daemon.ctl({"drain", "--wait", "55s", "frames"});
    CHECK_MESSAGE(waited.exit_code == 0, waited.err);
    REQUIRE(daemon.ctl({"drain", "--stop", "frames"}).exit_code == 0);
  }
}

TEST_CASE("who waits for a drain that somebody else ends is told so") {
  DaemonProcess daemon(kConfig);
  auto pool = daemon.open("frames");
  REQUIRE(pool);
  CommandResult waited;
  std::thread waiter([&] { waited = daemon.ctl({"drain", "frames", "--wait", "55s"}); });
  const bool begun = eventually([&] { return state(daemon, "frames")["draining"] == true; });
  const int stopped = daemon.ctl({"drain", "--stop", "frames"}).exit_code;
  waiter.join();
  REQUIRE(begun);
  CHECK(stopped == 0);
  CHECK(waited.exit_code == 1);
  CHECK(has(waited.err, "somebody has ended the drain of frames"));
  CHECK(state(daemon, "frames")["draining"] == false);
}

TEST_CASE(
    "a drain outlives a daemon that is killed or replaced, and ends with one that is stopped") {
  DaemonProcess daemon(kConfig);
  auto pool = daemon.open("frames");
  REQUIRE(pool);
  REQUIRE(daemon.ctl({"drain", "frames"}).exit_code == 0);
  daemon.kill9();
  daemon.start_again();
  CHECK(is_refused(daemon, "frames"));
  CHECK(is_attached(daemon, "other"));
  CHECK(has(daemon.log(), "pool 'frames' is still being drained"));
  daemon.take_over();
  CHECK(is_refused(daemon, "frames"));
  CHECK(pool->get(65536));  // its client is one of before
  CHECK(pool->get(1 << 20));
  REQUIRE(daemon.ctl({"drain", "--stop", "frames"}).exit_code == 0);
  CHECK(is_attached(daemon, "frames"));

  REQUIRE(daemon.ctl({"drain"}).exit_code == 0);
  daemon.stop();
  daemon.start_again();
  CHECK(is_attached(daemon, "frames"));
  CHECK(daemon.http("GET", "/-/ready").status == 200);
}

TEST_CASE("a forked child of a client is a new client, and turned away; its parent goes on") {
  DaemonProcess daemon(kConfig);
  auto pool = daemon.open("frames");
  REQUIRE(pool);
  REQUIRE(pool->get(65536));
  REQUIRE(daemon.ctl({"drain", "frames"}).exit_code == 0);
  const auto child = run_in_child<int>([&] {
    const Buffer buffer = pool->get(65536);
    return buffer ? 0 : static_cast<int>(buffer.error_code());
  });
  CHECK_MESSAGE(child.value == static_cast<int>(ErrorCode::draining), child.failure);
  CHECK(pool->get(65536));
}

TEST_CASE("what cannot be drained, or waited for, is refused with a sentence") {
  DaemonProcess daemon(kConfig);
  const CommandResult unknown = daemon.ctl({"drain", "nowhere"});
  CHECK(unknown.exit_code == 1);
  CHECK(has(unknown.err, "there is no pool"));
  for (const char* wrong : {"5", "soon", "-1s", "5d", "99999999999999999999s", "9999999h", ""}) {
    CAPTURE(wrong);
    CHECK(daemon.ctl({"drain", "--wait", wrong, "frames"}).exit_code == 2);
  }
  CHECK(daemon.ctl({"drain", "--stop", "--wait", "1s"}).exit_code == 2);
  CHECK(state(daemon, "frames")["draining"] == false);
  CHECK(is_attached(daemon, "frames"));
  daemon.stop();
  CHECK(daemon.ctl({"drain", "--wait", "1s"}).exit_code == 3);
}
