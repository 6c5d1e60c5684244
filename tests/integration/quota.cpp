// What a client may hold and cache at most: by gets, by hand-offs, after deaths and reloads.

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"
#include "support/pattern.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::ErrorCode;
using zeropool::Handle;
using zeropool::Pool;

namespace {

constexpr std::size_t kBytes = 65536;
constexpr std::uint64_t kQuotaSlots = 64;

std::string config(const std::string& quota = "client_quota: 4MiB,") {
  return "budget: 64MiB\npages: {size: [4KiB]}\npools:\n  frames: {" + quota +
         " classes: [64KiB], wait: {timeout: 2s}}\n";
}

struct Charge {
  std::uint64_t held = 0;
  std::uint64_t cached = 0;
  std::uint64_t charged = 0;
};

Charge charge_of(const DaemonProcess& daemon, std::uint32_t client) {
  const nlohmann::json document = daemon.ctl_json({"clients"});
  for (const auto& entry : document["clients"]) {
    if (entry["id"] != client) continue;
    return {entry["held_bytes"], entry["cached_bytes"], entry["charged_bytes"]};
  }
  return {};
}

// Until refused.
std::vector<Buffer> take(Pool& pool, ErrorCode& code, std::string& sentence) {
  std::vector<Buffer> held;
  for (;;) {
    Buffer buffer = pool.get(kBytes);
    if (!buffer) {
      code = buffer.error_code();
      sentence = buffer.error().sentence;
      return held;
    }
    held.push_back(std::move(buffer));
  }
}

// By a thread that ends, so that what it cached goes back.
std::size_t take_count(Pool& pool) {
  std::size_t count = 0;
  std::thread([&] {
    ErrorCode code{};
    std::string sentence;
    count = take(pool, code, sentence).size();
  }).join();
  return count;
}

// A client in a process of its own: takes what it is told to, and does what it is told with it.
struct Told {
  enum What { kTake, kPutAll, kRelease, kAdopt, kEnd } what = kEnd;
  std::size_t count = 0;
  Handle handle{};
};
struct Answer {
  std::uint32_t client = 0;
  std::size_t held = 0;
  ErrorCode code = ErrorCode::ok;
  Handle handle{};
};

std::unique_ptr<ChildProcess> start_client(const DaemonProcess& daemon) {
  return std::make_unique<ChildProcess>([&daemon](Link& parent) {
    auto pool = daemon.open();
    expect(static_cast<bool>(pool), pool.error().sentence);
    std::vector<Buffer> held;
    for (;;) {
      const Told told = parent.receive<Told>();
      Answer answer;
      answer.client = pool->client_id();
      switch (told.what) {
        case Told::kTake:
          while (held.size() < told.count) {
            Buffer buffer = pool->get(kBytes);
            answer.code = buffer.error_code();
            if (!buffer) break;
            held.push_back(std::move(buffer));
          }
          break;
        case Told::kPutAll: held.clear(); break;
        case Told::kRelease:
          answer.handle = std::move(held.back()).release();
          held.pop_back();
          break;
        case Told::kAdopt: {
          Buffer buffer = pool->adopt(told.handle);
          answer.code = buffer.error_code();
          if (buffer) held.push_back(std::move(buffer));
          break;
        }
        case Told::kEnd: return;
      }
      answer.held = held.size();
      parent.send(answer);
    }
  });
}

Answer tell(ChildProcess& child, Told told) {
  child.link().send(told);
  return child.link().receive<Answer>();
}

}  // namespace

TEST_CASE("a client has no more than its quota, is told so, and others go on") {
  const DaemonProcess daemon(config());
  auto pool = daemon.open();
  REQUIRE(pool);
  ErrorCode code{};
  std::string sentence;
  const auto begun = std::chrono::steady_clock::now();
  std::vector<Buffer> held = take(*pool, code, sentence);
  CHECK(held.size() == kQuotaSlots);
  CHECK(code == ErrorCode::quota_exceeded);
  CHECK(std::chrono::steady_clock::now() - begun < 2s);  // no waiting for what cannot come
  CAPTURE(sentence);
  CHECK(sentence.find("quota of 4 MiB") != std::string::npos);
  CHECK(sentence.find("4 MiB held, 0 bytes cached") != std::string::npos);
  CHECK(sentence.find("client_quota in zeropoold.yaml") != std::string::npos);
  CHECK(pool->try_get(kBytes).error_code() == ErrorCode::quota_exceeded);
  const Charge charge = charge_of(daemon, pool->client_id());
  CHECK(charge.held == kQuotaSlots * kBytes);
  CHECK(charge.charged == kQuotaSlots * kBytes);

  auto other = start_client(daemon);
  CHECK(tell(*other, {Told::kTake, 50, {}}).held == 50);
  other->link().send(Told{});

  // One back is one to have.
  held.pop_back();
  CHECK(pool->get(kBytes));
  held.clear();
  CHECK(take(*pool, code, sentence).size() == kQuotaSlots);  // what it caches is its own
  CHECK(daemon.metric("zeropool_get_failures_total", {"reason=\"quota_exceeded\""}) >= 2);
}

TEST_CASE("what a client's other threads cache is asked for before it is refused") {
  const DaemonProcess daemon(config());
  auto pool = daemon.open();
  REQUIRE(pool);
  std::atomic<bool> stop{false};
  std::atomic<bool> cached{false};
  std::thread busy([&] {
    std::vector<Buffer> buffers;
    for (int i = 0; i < 40; ++i) buffers.push_back(pool->get(kBytes));
    buffers.clear();
    cached = true;
    while (!stop) {
      pool->try_get(kBytes);
      std::this_thread::sleep_for(200us);
    }
  });
  while (!cached) std::this_thread::sleep_for(1ms);
  CHECK(charge_of(daemon, pool->client_id()).cached > 8 * kBytes);
  ErrorCode code{};
  std::string sentence;
  const std::vector<Buffer> held = take(*pool, code, sentence);
  CHECK(code == ErrorCode::quota_exceeded);
  CHECK(held.size() >= kQuotaSlots - 1);  // one is on its way in the other thread
  stop = true;
  busy.join();
}

TEST_CASE(
    "a hand-off takes the charge with it, and an adopter without room leaves the handle to "
    "others") {
  const DaemonProcess daemon(config());
  auto one = start_client(daemon);
  auto full = start_client(daemon);
  auto third = start_client(daemon);
  const std::uint32_t id = tell(*one, {Told::kTake, 10, {}}).client;
  const std::uint32_t third_id = tell(*third, {Told::kTake, 1, {}}).client;
  CHECK(tell(*full, {Told::kTake, 1000, {}}).held == kQuotaSlots);

  const Charge before = charge_of(daemon, id);
  const Charge third_before = charge_of(daemon, third_id);
  const Handle handle = tell(*one, {Told::kRelease, 0, {}}).handle;
  CHECK(charge_of(daemon, id).charged == before.charged - kBytes);
  CHECK(tell(*full, {Told::kAdopt, 0, handle}).code == ErrorCode::quota_exceeded);
  CHECK(tell(*third, {Told::kAdopt, 0, handle}).code == ErrorCode::ok);
  CHECK(charge_of(daemon, third_id).charged == third_before.charged + kBytes);

  // Nor is the releaser without it.
  const Handle back = tell(*one, {Told::kRelease, 0, {}}).handle;
  CHECK(tell(*full, {Told::kAdopt, 0, back}).code == ErrorCode::quota_exceeded);
  CHECK(tell(*one, {Told::kAdopt, 0, back}).code == ErrorCode::ok);
  CHECK(charge_of(daemon, id).charged == before.charged - kBytes);
  // A stale handle costs nothing.
  CHECK(tell(*third, {Told::kAdopt, 0, back}).code == ErrorCode::stale_handle);
  CHECK(charge_of(daemon, third_id).charged == third_before.charged + kBytes);
  CHECK(charge_of(daemon, third_id).charged ==
        charge_of(daemon, third_id).held + charge_of(daemon, third_id).cached);
}

TEST_CASE("the charge of a killed client is gone, and a forked child has a quota of its own") {
  const DaemonProcess daemon(config());
  auto killed = start_client(daemon);
  CHECK(tell(*killed, {Told::kTake, 1000, {}}).held == kQuotaSlots);
  killed->kill();
  REQUIRE(becomes_all_free(daemon));
  auto pool = daemon.open();
  REQUIRE(pool);
  ErrorCode code{};
  std::string sentence;
  const std::vector<Buffer> held = take(*pool, code, sentence);
  CHECK(held.size() == kQuotaSlots);
  const auto child = run_in_child<std::size_t>([&] { return take_count(*pool); });
  CHECK(child.failure == "");
  CHECK(child.value == kQuotaSlots);
}

TEST_CASE("a reload sets, changes and lifts the quota") {
  DaemonProcess daemon(config(""));
  auto pool = daemon.open();
  REQUIRE(pool);
  std::vector<Buffer> held;
  for (int i = 0; i < 100; ++i) held.push_back(pool->get(kBytes));
  const auto reload = [&](const std::string& quota) {
    daemon.rewrite_config(config(quota));
    const CommandResult result = daemon.ctl({"reload"});
    REQUIRE_MESSAGE(result.exit_code == 0, result.err);
  };
  reload("client_quota: 4MiB,");
  // What it has stays its own, what its thread caches included; it gets no more until it is below.
  CHECK(take_count(*pool) == 0);
  held.resize(20);
  const Charge cached = charge_of(daemon, pool->client_id());
  CHECK(cached.charged == cached.held + cached.cached);
  CHECK(cached.charged <= kQuotaSlots * kBytes);  // what was put above the quota was not kept
  CHECK(take_count(*pool) <= kQuotaSlots - 20);
  CHECK(take_count(*pool) >= kQuotaSlots - 20 - cached.cached / kBytes);
  reload("client_quota: 2MiB,");
  CHECK(take_count(*pool) <= kQuotaSlots / 2 - 20);
  reload("");
  std::vector<Buffer> more;
  for (int i = 0; i < 200; ++i) more.push_back(pool->get(kBytes));
  CHECK(more.back());
}

TEST_CASE("a charge is what marks and magazines show, however a client's threads have worked") {
  const DaemonProcess daemon(config("client_quota: 32MiB,"));
  auto pool = daemon.open();
  REQUIRE(pool);
  std::vector<Buffer> kept;
  for (int i = 0; i < 7; ++i) kept.push_back(pool->get(kBytes));
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Random random(t + 1);
      std::vector<Buffer> mine;
      for (int step = 0; step < 20000; ++step) {
        switch (random.below(4)) {
          case 0:
          case 1:
            if (mine.size() < 100) mine.push_back(pool->get(kBytes));
            break;
          case 2:
            if (!mine.empty()) mine.pop_back();
            break;
          default:
            if (!mine.empty()) mine.back() = pool->adopt(std::move(mine.back()).release());
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const Charge charge = charge_of(daemon, pool->client_id());
  CHECK(charge.held == 7 * kBytes);
  CHECK(charge.charged == charge.held + charge.cached);
}
