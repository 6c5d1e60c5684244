// A daemon killed with SIGKILL and started again, or replaced while it runs: clients notice nothing.

#include <atomic>
#include <chrono>
#include <deque>
#include <filesystem>
#include <signal.h>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"
#include "support/pattern.hpp"
#include "support/stepped_child.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::ErrorCode;
using zeropool::Handle;
using zeropool::Pool;

namespace {

constexpr const char* kConfig = R"(budget: 64MiB
pools:
  frames: {classes: [4KiB, 64KiB, 1MiB], wait: {timeout: 30s}, handoff: {lease: 500ms}}
  other: {classes: [8KiB]}
)";

std::vector<Buffer> take_all(Pool& pool, std::size_t bytes) {
  std::vector<Buffer> held;
  for (;;) {
    Buffer buffer = pool.get(bytes, 100ms);
    if (!buffer) return held;
    held.push_back(std::move(buffer));
  }
}

// Bytes of the pools' segments as the kernel counts them, by way of the daemon's descriptors.
std::uint64_t segment_bytes(pid_t pid) {
  std::uint64_t bytes = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
    std::error_code gone;
    const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
    struct stat info {};
    if (target.rfind("/memfd:zeropool-", 0) == 0 && ::stat(entry.path().c_str(), &info) == 0) {
      bytes += static_cast<std::uint64_t>(info.st_blocks) * 512;
    }
  }
  return bytes;
}

// Between its marks: from no pool to a held buffer.
SteppedChild::Body attach_and_get(const DaemonProcess& daemon) {
  return [&daemon](const SteppedChild::Marks& marks) {
    marks.begin();
    auto pool = daemon.open("frames");
    expect(static_cast<bool>(pool), pool ? "" : pool.error().sentence);
    Buffer buffer = pool->get(4096);
    expect(static_cast<bool>(buffer), buffer.error().sentence);
    marks.end();
  };
}

}  // namespace

TEST_CASE("what clients hold, cache and hand on is theirs through a kill of the daemon") {
  DaemonProcess daemon(kConfig);
  auto pool = daemon.open("frames");
  REQUIRE_MESSAGE(pool, pool.error().sentence);
  std::deque<Buffer> held;
  for (std::uint64_t i = 0; i < 100; ++i) {
    held.push_back(pool->get(i % 3 == 0 ? 65536 : 4096));
    REQUIRE(held.back());
    write_pattern(held.back(), i, 4096);
  }
  Buffer handed = pool->get(1 << 20);
  write_pattern(handed, 7777, 4096);
  const Handle handle = std::move(handed).release(pool->client_id());
  REQUIRE(handle);
  const nlohmann::json before = daemon.audit();

  daemon.kill9();
  daemon.start_again();

  const nlohmann::json after = daemon.audit();  // the ring may have grown meanwhile
  for (const char* count : {"held", "cached", "in_transit", "lost", "doubled", "broken"}) {
    CHECK_MESSAGE(after[count] == before[count], count);
  }
  CHECK(daemon.clients() == 1);
  Buffer adopted = pool->adopt(handle);
  REQUIRE(adopted);
  CHECK(has_pattern(adopted, 7777, 4096));
  for (std::uint64_t i = 0; i < held.size(); ++i) CHECK(has_pattern(held[i], i, 4096));
  // Growing goes on where it was: the new daemon serves this client's orders.
  std::vector<Buffer> more = take_all(*pool, 1 << 20);
  CHECK(more.size() > 8);
  more.clear();
  held.clear();
  adopted.reset();
  *pool = Pool();
  CHECK(becomes_all_free(daemon));
  CHECK(daemon.clients() == 0);  // it has connected again, and detached in order
}

TEST_CASE("an order that waits while the daemon is killed is served by the next one") {
  DaemonProcess daemon(kConfig);
  auto pool = daemon.open("frames");
  REQUIRE(pool);
  std::vector<Buffer> held = take_all(*pool, 1 << 20);
  REQUIRE(held.size() > 4);
  ErrorCode code = ErrorCode::system;
  std::thread waiter([&] {
    const Buffer buffer = pool->get(1 << 20, 20s);
    code = buffer.error_code();
  });
  REQUIRE(eventually([&] { return daemon.pool("frames")["orders_waiting"] == 1; }));
  daemon.kill9();
  daemon.start_again();
  REQUIRE(eventually([&] { return daemon.pool("frames")["orders_waiting"] == 1; }));
  held.pop_back();
  waiter.join();
  CHECK(code == ErrorCode::ok);
}

TEST_CASE("a client that ends while no daemon runs is reclaimed by the next one") {
  DaemonProcess daemon(kConfig);
  ChildProcess client([&](Link& parent) {
    auto pool = daemon.open("frames");
    expect(static_cast<bool>(pool), pool.error().sentence);
    std::vector<Buffer> held(50);
    for (Buffer& buffer : held) buffer = pool->get(4096);
    Buffer handed = pool->get(4096);
    expect(static_cast<bool>(std::move(handed).release()), "not released");
    parent.signal();
    parent.await();
  });
  client.link().await();
  REQUIRE(daemon.audit()["held"] == 50);
  daemon.kill9();
  client.kill();
  daemon.start_again();
  CHECK(becomes_all_free(daemon));  // what it had released, by the lease
  CHECK(daemon.clients() == 0);
}

TEST_CASE("the budget counts the same bytes before and after, and the kernel agrees") {
  DaemonProcess daemon(kConfig);
  auto pool = daemon.open("frames");
  REQUIRE(pool);
  std::vector<Buffer> held = take_all(*pool, 1 << 20);
  const double committed = daemon.metric("zeropool_committed_bytes");
  held.resize(held.size() / 2);
  daemon.kill9();
  daemon.start_again();
  CHECK(daemon.metric("zeropool_committed_bytes") == committed);
  CHECK(static_cast<double>(segment_bytes(daemon.pid())) <= 64.0 * 1024 * 1024);
  // And what is free can be trimmed: the new daemon knows which slots are in the ring.
  held.clear();
  *pool = Pool();
  REQUIRE(becomes_all_free(daemon));
  const double all = daemon.metric("zeropool_committed_bytes");
  CHECK(daemon.ctl({"trim"}).exit_code == 0);
  CHECK(daemon.metric("zeropool_committed_bytes") < all / 2);
  CHECK(becomes_all_free(daemon));
}

TEST_CASE(
    "killed again and again under load, nothing is lost and no get fails that could be served") {
  DaemonProcess daemon(kConfig);
  struct Shared {
    std::atomic<bool> end{false};
    std::atomic<std::uint64_t> gets{0};
    std::atomic<std::uint64_t> failed{0};
    std::atomic<std::uint64_t> broken{0};
    std::atomic<int> code{0};
  };
  void* memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  auto* shared = ::new (memory) Shared();
  std::vector<std::unique_ptr<ChildProcess>> clients;
  for (std::uint64_t c = 0; c < 4; ++c) {
    clients.push_back(std::make_unique<ChildProcess>([&, c](Link& parent) {
      auto pool = daemon.open("frames");
      expect(static_cast<bool>(pool), pool.error().sentence);
      parent.signal();
      Random random(c);
      std::deque<std::pair<Buffer, std::uint64_t>> held;
      while (!shared->end) {
        if (held.size() > 3) {
          if (!has_pattern(held.front().first, held.front().second, 512)) ++shared->broken;
          held.pop_front();
        }
        const std::size_t sizes[] = {4096, 65536, 1 << 20};
        Buffer buffer = pool->get(sizes[random.below(3)]);
        ++shared->gets;
        if (!buffer) {
          ++shared->failed;
          shared->code = static_cast<int>(buffer.error_code());
          continue;
        }
        const std::uint64_t pattern = random();
        write_pattern(buffer, pattern, 512);
        held.emplace_back(std::move(buffer), pattern);
      }
    }));
    clients.back()->link().await();
  }
  for (int kill = 0; kill < 15; ++kill) {
    const std::uint64_t seen = shared->gets;
    CHECK(eventually([&] { return shared->gets > seen + 1000; }));
    daemon.kill9();
    daemon.start_again();
  }
  shared->end = true;
  for (const auto& client : clients) CHECK(client->wait().well());
  CHECK(shared->broken == 0);
  CHECK_MESSAGE(shared->failed == 0, "failed with code ", shared->code.load());
  CHECK(shared->gets > 15000);
  CHECK(becomes_all_free(daemon));
  ::munmap(memory, sizeof(Shared));
}

TEST_CASE("a daemon that is stopped in order leaves nothing to the next one") {
  DaemonProcess daemon(kConfig);
  auto pool = daemon.open("frames");
  REQUIRE(pool);
  const Buffer held = pool->get(4096);
  CHECK(daemon.stop().well());
  struct stat info {};
  CHECK(eventually([&] { return ::stat((daemon.socket() + ".holder").c_str(), &info) != 0; }));
  daemon.start_again();
  CHECK(daemon.clients() == 0);
  CHECK(daemon.audit()["held"] == 0);
}

TEST_CASE(
    "a start that fails leaves no holder where nothing was kept, and the kept where something "
    "was") {
  const TemporaryFolder folder;
  const std::string socket = folder.path() + "/z.sock";
  write_file(folder.path() + "/bad.yaml",
             "socket: {path: " + socket + ", group: no-such-group}\nmetrics: {listen: []}\n");
  ProgramOptions options;
  options.arguments = {daemon_program(), "--config", folder.path() + "/bad.yaml"};
  CHECK(run_command(options).exit_code == 1);
  struct stat info {};
  CHECK(eventually([&] { return ::stat((socket + ".holder").c_str(), &info) != 0; }));

  DaemonProcess daemon(kConfig);
  auto pool = daemon.open("frames");
  REQUIRE(pool);
  Buffer held = pool->get(4096);
  write_pattern(held, 3, 4096);
  daemon.kill9();
  write_file(folder.path() + "/bad.yaml", "socket: {path: " + daemon.socket() +
                                              ", group: no-such-group}\nmetrics: {listen: []}\n");
  CHECK(run_command(options).exit_code == 1);
  daemon.start_again();
  CHECK(daemon.clients() == 1);
  CHECK(daemon.audit()["held"] == 1);
  CHECK(has_pattern(held, 3, 4096));
}

TEST_CASE("a pool that is taken out of the configuration lives on for its clients") {
  DaemonProcess daemon(kConfig);
  auto pool = daemon.open("other");
  REQUIRE(pool);
  Buffer held = pool->get(8192);
  daemon.kill9();
  daemon.rewrite_config(
      "budget: 64MiB\npools: {frames: {classes: [4KiB, 64KiB, 1MiB]}, new: {classes: [16KiB]}}\n");
  daemon.start_again();
  CHECK(daemon.log().find("'other' is not configured any more") != std::string::npos);
  held.reset();
  CHECK(pool->get(8192));
  auto fresh = daemon.open("new");
  REQUIRE(fresh);
  CHECK(fresh->get(16384));
}

TEST_CASE(
    "another daemon takes over from one that runs: no get fails, who connects meanwhile waits") {
  DaemonProcess daemon(kConfig);
  auto pool = daemon.open("frames");
  REQUIRE(pool);
  Buffer held = pool->get(65536);
  write_pattern(held, 5, 4096);
  std::atomic<bool> end{false};
  std::atomic<int> refused{0};
  std::atomic<int> opened{0};
  std::thread opener([&] {
    while (!end) {
      auto other = daemon.open("other");
      if (!other)
        ++refused;
      else
        ++opened;
    }
  });
  const pid_t before = daemon.pid();
  daemon.take_over();
  CHECK(daemon.pid() != before);
  CHECK(eventually([&] { return opened > 3; }));
  end = true;
  opener.join();
  CHECK(refused == 0);
  CHECK(has_pattern(held, 5, 4096));
  held.reset();
  CHECK(take_all(*pool, 1 << 20).size() > 8);
  *pool = Pool();
  CHECK(becomes_all_free(daemon));
}

TEST_CASE("a holder that was killed is replaced, with all that it had") {
  DaemonProcess daemon(kConfig);
  auto pool = daemon.open("frames");
  REQUIRE(pool);
  Buffer held = pool->get(4096);
  write_pattern(held, 9, 4096);
  const pid_t holder = daemon.holder();
  REQUIRE(holder > 0);
  ::kill(holder, SIGKILL);
  REQUIRE(eventually(
      [&] { return daemon.log().find("a new one has everything") != std::string::npos; }));
  CHECK(daemon.holder() != holder);
  daemon.kill9();
  daemon.start_again();
  CHECK(daemon.clients() == 1);
  CHECK(daemon.audit()["held"] == 1);
  CHECK(has_pattern(held, 9, 4096));
}

TEST_CASE(
    "a client that was stopped while it attached, and whose daemon was killed, attaches again by "
    "itself") {
  REQUIRE(SteppedChild::permitted());
  DaemonProcess daemon(kConfig);
  SteppedChild child(attach_and_get(daemon));
  // The daemon has answered; the client has not read it.
  while (daemon.clients() == 0) REQUIRE(child.step_calls(1) == 1);
  daemon.kill9();
  daemon.start_again();
  CHECK(daemon.clients() == 1);  // it lives, and had its answer
  CHECK(eventually([&] { return daemon.clients() == 0; }, 30s));
  CHECK(daemon.log().find("has not come to the end of its attach") != std::string::npos);
  child.finish();
  CHECK(daemon.clients() == 1);
  CHECK(daemon.audit()["held"] == 1);
  child.kill();
  CHECK(becomes_all_free(daemon));
}

TEST_CASE("a client stopped while it attached that goes on in time stays the client that it is") {
  REQUIRE(SteppedChild::permitted());
  DaemonProcess daemon(kConfig);
  SteppedChild child(attach_and_get(daemon));
  while (daemon.clients() == 0) REQUIRE(child.step_calls(1) == 1);
  const auto id = daemon.ctl_json({"clients"})["clients"][0]["id"];
  daemon.kill9();
  daemon.start_again();
  child.finish();
  std::this_thread::sleep_for(
      11s);  // the look at suspects: there is no event to wait for, it finds nothing
  REQUIRE(daemon.clients() == 1);
  CHECK(daemon.ctl_json({"clients"})["clients"][0]["id"] == id);
  child.kill();
  CHECK(becomes_all_free(daemon));
}
