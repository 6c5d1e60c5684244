// Who leaks? `zeropoolctl holders` names the client, the class, how many and for how long, without the client's help; and the
// place in the program, where the client samples its gets. Buffers that are put, and clients that are killed, are not there
// any more; samples outlive the daemon; what clients write into them harms nobody.

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <signal.h>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"
#include "support/segment_view.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
namespace lib = zeropool::lib;
using nlohmann::json;
using zeropool::Buffer;
using zeropool::Pool;

// Where the leaking function is: the linker's, by the name of its section.
extern "C" const char __start_leaky_code[];
extern "C" const char __stop_leaky_code[];

namespace {

constexpr const char* kConfig = R"(budget: 64MiB
limits: {clients: 16, threads: 64}
pages: {size: [4KiB]}
pools:
  frames: {classes: [4KiB, 64KiB]}
)";

[[gnu::noinline, gnu::section("leaky_code")]] void leak(Pool& pool, std::vector<Buffer>& leaked) {
  leaked.push_back(pool.get(4096));
}

bool in_leak(std::uint64_t address) {
  return address >= reinterpret_cast<std::uintptr_t>(__start_leaky_code) &&
         address < reinterpret_cast<std::uintptr_t>(__stop_leaky_code);
}

// One buffer in ten is never put.
void leak_some(Pool& pool, std::vector<Buffer>& leaked, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    for (int i = 0; i < 9; ++i) expect(static_cast<bool>(pool.get(4096)), "a get failed");
    leak(pool, leaked);
  }
}

json holders(const DaemonProcess& daemon, std::vector<std::string> more = {}) {
  more.insert(more.begin(), "holders");
  return daemon.ctl_json(more);
}

// Buffers of that client and class, 0 for none.
std::uint64_t buffers_of(const json& document, pid_t pid, const std::string& cls) {
  for (const json& row : document["holders"]) {
    if (row["pid"] == pid && row["class"] == cls) return row["buffers"];
  }
  return 0;
}
double oldest_of(const json& document, pid_t pid) {
  double oldest = 0;
  for (const json& row : document["holders"]) {
    if (row["pid"] == pid) oldest = std::max(oldest, row["oldest_seconds"].get<double>());
  }
  return oldest;
}
// By stacks that lead through leak().
std::uint64_t leaked_by_stacks(const json& document, pid_t pid) {
  std::uint64_t buffers = 0;
  for (const json& stack : document["stacks"]) {
    bool there = false;
    for (const json& frame : stack["frames"]) there = there || in_leak(frame.get<std::uint64_t>());
    if (stack["pid"] == pid && there) buffers += stack["buffers"].get<std::uint64_t>();
  }
  return buffers;
}

// A client that samples each get, and has its cells.
Pool open_sampled(const DaemonProcess& daemon) {
  zeropool::OpenOptions options = daemon.options();
  options.sample_gets = 1;
  Pool pool = Pool::open("frames", options).value();
  static_cast<void>(pool.get(4096));  // makes the thread's record
  const SegmentView segment;
  expect(eventually([&] { return segment.control().header().samples_published.load() > 0; }, 60s),
         "no cells for samples were published");
  return pool;
}

}  // namespace

TEST_CASE(
    "a client that leaks one buffer in ten is found, without its help; what is put, or whose "
    "holder died, is not") {
  const DaemonProcess daemon(kConfig);
  ChildProcess leaker([&](Link& parent) {
    Pool pool = daemon.open("frames").value();
    std::vector<Buffer> leaked;
    leak_some(pool, leaked, 50);
    parent.signal();
    parent.await(10min);
    leaked.resize(30);
    parent.signal();
    parent.await(10min);
  });
  leaker.link().await();
  Pool other = daemon.open("frames").value();
  const Buffer honest = other.get(65536);
  json document = holders(daemon);
  CHECK(buffers_of(document, leaker.pid(), "4KiB") == 50);
  CHECK(buffers_of(document, leaker.pid(), "64KiB") == 0);
  CHECK(buffers_of(document, ::getpid(), "64KiB") == 1);
  CHECK(document["holders"][0]["exact"] == true);
  CHECK(document["stacks"].empty());
  // Each is there when it is old enough, and not before.
  CHECK(eventually(
      [&] {
        return buffers_of(holders(daemon, {"--older-than", "2s"}), leaker.pid(), "4KiB") == 50;
      },
      60s));
  CHECK(oldest_of(holders(daemon, {"--older-than", "2s"}), leaker.pid()) >= 2.0);
  CHECK(buffers_of(holders(daemon, {"--older-than", "1h"}), leaker.pid(), "4KiB") == 0);
  const CommandResult none = daemon.ctl({"holders", "--older-than", "1h"});
  CHECK(none.exit_code == 0);
  CHECK(none.out.find("nobody holds a buffer for longer than 1 h") != std::string::npos);
  CHECK(none.out.find("has watched pool frames for") != std::string::npos);
  // By client and pool.
  const auto id = std::to_string(document["holders"][0]["client"].get<std::uint64_t>());
  CHECK(holders(daemon, {"--client", id})["holders"].size() == 1);
  CHECK(holders(daemon, {"--pool", "frames"})["holders"].size() == 2);
  const std::string table = daemon.ctl({"holders"}).out;
  CHECK(table.find("4KiB") != std::string::npos);
  CHECK(table.find("ZEROPOOL_SAMPLE_STACKS") != std::string::npos);

  leaker.link().signal();
  leaker.link().await();
  CHECK(buffers_of(holders(daemon), leaker.pid(), "4KiB") == 30);
  leaker.kill();
  CHECK(eventually([&] { return buffers_of(holders(daemon), leaker.pid(), "4KiB") == 0; }, 60s));
  CHECK(buffers_of(holders(daemon), ::getpid(), "64KiB") == 1);
}

TEST_CASE("sampled gets name the function that leaks, and outlive the daemon") {
  DaemonProcess daemon(kConfig);
  ChildProcess leaker([&](Link& parent) {
    Pool pool = open_sampled(daemon);
    std::vector<Buffer> leaked;
    leak_some(pool, leaked, 20);
    parent.signal();
    parent.await(10min);
    leaked.resize(5);
    parent.signal();
    parent.await(10min);
  });
  leaker.link().await();
  json document = holders(daemon);
  CHECK(buffers_of(document, leaker.pid(), "4KiB") == 20);
  CHECK(leaked_by_stacks(document, leaker.pid()) == 20);
  for (const json& stack : document["stacks"]) {
    CHECK(in_leak(
        stack["frames"][0].get<std::uint64_t>()));  // the innermost: nothing of the library's own
  }
  REQUIRE(eventually(
      [&] {
        return buffers_of(holders(daemon, {"--older-than", "2s"}), leaker.pid(), "4KiB") == 20;
      },
      60s));
  const double age = oldest_of(holders(daemon), leaker.pid());

  daemon.kill9();
  daemon.start_again();
  document = holders(daemon, {"--older-than", "2s"});
  CHECK(buffers_of(document, leaker.pid(), "4KiB") == 20);
  CHECK(leaked_by_stacks(document, leaker.pid()) == 20);
  CHECK(oldest_of(document, leaker.pid()) >= age);

  leaker.link().signal();
  leaker.link().await();
  CHECK(leaked_by_stacks(holders(daemon), leaker.pid()) == 5);
  leaker.kill();
  CHECK(eventually([&] { return holders(daemon)["stacks"].empty(); }, 60s));
}

TEST_CASE("a wish for samples that its daemon was killed with is heard by the next one") {
  DaemonProcess daemon(kConfig);
  zeropool::OpenOptions options = daemon.options();
  options.sample_gets = 1;
  Pool pool = Pool::open("frames", options).value();
  const SegmentView segment;
  lib::ControlHeader& header = segment.control().header();
  daemon.send(SIGSTOP);
  CHECK(pool.get(4096));                          // makes the thread's cache, and asks
  CHECK(header.samples_wanted.exchange(0) == 1);  // as the daemon does, which then is killed
  REQUIRE(header.samples_published.load() == 0);
  daemon.kill9();
  daemon.start_again();
  CHECK(eventually([&] { return pool.get(4096) && header.samples_published.load() > 0; }, 60s));
}

TEST_CASE(
    "one get in three stands for three: the estimate of what thousands of gets leak is near") {
  const DaemonProcess daemon(kConfig, std::nullopt);
  ChildProcess leaker([&](Link& parent) {
    ::setenv("ZEROPOOL_SAMPLE_STACKS", "3", 1);
    Pool pool = daemon.open("frames").value();
    static_cast<void>(pool.get(4096));
    const SegmentView segment;
    expect(eventually([&] { return segment.control().header().samples_published.load() > 0; }, 60s),
           "no cells for samples were published");
    std::vector<Buffer> leaked;
    leak_some(pool, leaked, 2000);
    parent.signal();
    parent.await(10min);
  });
  leaker.link().await();
  const json document = holders(daemon);
  CHECK(buffers_of(document, leaker.pid(), "4KiB") == 2000);
  // Sixteen samples or so are left, which weigh alike: a factor of eight is far beyond what chance does.
  const std::uint64_t estimate = leaked_by_stacks(document, leaker.pid());
  CHECK(estimate > 2000 / 8);
  CHECK(estimate <= 2000);  // never more than it holds
}

TEST_CASE("forged samples claim no more than their client holds, and harm nobody") {
  const DaemonProcess daemon(kConfig);
  Pool pool = open_sampled(daemon);
  const Buffer held = pool.get(4096);
  const SegmentView segment;
  const lib::ControlHeader& header = segment.control().header();
  std::mt19937_64 random(7);
  const lib::HoldSample<std::atomic>* real = nullptr;
  for (const auto& cell : segment.control().samples(0).cells) {
    lib::SampledGet get;
    if (lib::read_sample(cell, get)) real = &cell;
  }
  REQUIRE(real != nullptr);
  const std::uint64_t mark = real->mark.load();
  const std::uint32_t slot = real->slot.load();
  for (int round = 0; round < 20; ++round) {
    for (std::uint32_t thread = 0; thread < header.samples_published.load(); ++thread) {
      for (auto& cell : segment.control().samples(thread).cells) {
        auto* words = reinterpret_cast<std::atomic<std::uint64_t>*>(&cell);
        for (std::size_t w = 0; w < sizeof(cell) / 8; ++w) words[w].store(random());
        if (random() % 2 != 0) continue;
        cell.mark.store(mark);
        cell.slot.store(slot);
        cell.weight.store(0xffffffffU);
        cell.tag.store(0);
      }
    }
    const json document = holders(daemon);
    REQUIRE(document["holders"].size() == 1);
    CHECK(document["holders"][0]["buffers"] == 1);
    for (const json& stack : document["stacks"]) CHECK(stack["buffers"] == 1);
    CHECK(daemon.ctl({"holders", "--pprof", daemon.folder() + "/forged.pb.gz"}).exit_code == 0);
  }
  // Its own gets, in a block full of this.
  for (int i = 0; i < 1000; ++i) CHECK(pool.get(4096));
  CHECK(daemon.audit()["held"] == 1);
}

TEST_CASE("the profile is one that a reader of the format understands: values, places, modules") {
  const DaemonProcess daemon(kConfig);
  Pool pool = open_sampled(daemon);
  std::vector<Buffer> leaked;
  for (int i = 0; i < 12; ++i) leak(pool, leaked);
  Pool unsampled = daemon.open("frames").value();
  const Buffer other = unsampled.get(65536);
  const std::string file = daemon.folder() + "/holds.pb.gz";
  const CommandResult written = daemon.ctl({"holders", "--pprof", file});
  REQUIRE_MESSAGE(written.exit_code == 0, written.err);
  CHECK(written.out.find("leaky") == std::string::npos);
  CHECK(written.out.find("test_holders+0x") != std::string::npos);
  const std::string text = daemon.folder() + "/holds.txt";
  const char* source = std::getenv("ZEROPOOL_SOURCE_DIR");
  REQUIRE(source != nullptr);
  const std::string decode =
      "gzip -dc " + file + " | protoc -I " + source +
      "/tests/integration/pprof --decode=zeropool.pprof.Profile profile.proto > " + text;
  REQUIRE(std::system(decode.c_str()) == 0);
  const std::string profile = read_file(text);
  const auto has = [&](const std::string& part) { return profile.find(part) != std::string::npos; };
  CHECK(has("value: 12\n  value: 49152"));
  CHECK(has("value: 1\n  value: 65536"));
  CHECK(has("string_table: \"space\""));
  CHECK(has("string_table: \"frames\""));
  CHECK(has("not sampled"));
  CHECK(has("test_holders\""));  // the module
  CHECK(has("build_id: "));
  bool leaking_place = false;
  for (std::size_t at = profile.find("  address: "); at != std::string::npos;
       at = profile.find("  address: ", at + 1)) {
    leaking_place = leaking_place || in_leak(std::stoull(profile.substr(at + 11)));
  }
  CHECK(leaking_place);
  CHECK(profile.find("\n1", 0) == std::string::npos);  // no field that the format does not have
}

TEST_CASE("a wrong question is told so") {
  const DaemonProcess daemon(kConfig);
  for (const char* duration : {"5x", "five", "", "-5m", "1e99h"}) {
    CAPTURE(duration);
    const CommandResult result = daemon.ctl({"holders", "--older-than", duration});
    CHECK(result.exit_code == 2);
    CHECK(result.err.find("--older-than") != std::string::npos);
  }
  for (const char* duration : {"5m", "0.5s", "90", "1 h", "250ms"}) {
    CAPTURE(duration);
    CHECK(daemon.ctl({"holders", "--older-than", duration}).exit_code == 0);
  }
  const CommandResult pool = daemon.ctl({"holders", "--pool", "nothing"});
  CHECK(pool.exit_code == 1);
  CHECK(pool.err.find("there is no pool 'nothing'") != std::string::npos);
  CHECK(daemon.ctl({"holders", "--client", "0"}).exit_code == 2);
  const CommandResult file =
      daemon.ctl({"holders", "--pprof", daemon.folder() + "/no/such/folder"});
  CHECK(file.exit_code == 1);
  CHECK(file.err.find("cannot write") != std::string::npos);
  CHECK(daemon.ctl({"holders"}).out == "nobody holds a buffer\n");
}
