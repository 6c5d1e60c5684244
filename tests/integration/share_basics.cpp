// Buffers that several processes read at once.

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
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
using zeropool::SharedBuffer;

namespace {

constexpr const char* kConfig = R"(budget: 64MiB
pools:
  frames:
    classes: [4KiB, 64KiB]
    wait: {timeout: 2s}
)";
constexpr const char* kShortLease = R"(budget: 64MiB
pools:
  frames:
    classes: [4KiB, 64KiB]
    wait: {timeout: 2s}
    handoff: {lease: 200ms}
)";

Pool open_or_throw(const DaemonProcess& daemon) {
  auto pool = daemon.open();
  expect(static_cast<bool>(pool), pool.error().sentence);
  return *pool;
}

bool same_bytes(const SharedBuffer& shared, std::byte value) {
  for (const std::byte byte : shared.span()) {
    if (byte != value) return false;
  }
  return true;
}

SharedBuffer share_filled(Pool& pool, std::size_t bytes, std::byte value) {
  Buffer buffer = pool.get(bytes);
  expect(static_cast<bool>(buffer), buffer.error().sentence);
  std::memset(buffer.data(), static_cast<int>(value), bytes);
  return std::move(buffer).share();
}

}  // namespace

TEST_CASE("sixteen processes read one buffer, and the last of them gives it back") {
  const DaemonProcess daemon(kConfig);
  std::vector<std::unique_ptr<ChildProcess>> readers;
  for (int r = 0; r < 16; ++r) {
    readers.push_back(std::make_unique<ChildProcess>([&](Link& parent) {
      Pool pool = open_or_throw(daemon);
      parent.signal();
      SharedBuffer shared = pool.adopt_shared(parent.receive<Handle>());
      expect(static_cast<bool>(shared), shared.error().sentence);
      expect(shared.size() == 5000 && same_bytes(shared, std::byte{7}), "the bytes have changed");
      parent.signal();
      parent.await();
      expect(same_bytes(shared, std::byte{7}), "the bytes have changed under a reader");
    }));
  }
  auto pool = daemon.open();
  REQUIRE(pool);
  for (auto& reader : readers) reader->link().await();
  SharedBuffer shared = share_filled(*pool, 5000, std::byte{7});
  REQUIRE(shared);
  const Handle handle = shared.handle(16);
  REQUIRE(handle);
  for (auto& reader : readers) reader->link().send(handle);
  for (auto& reader : readers) reader->link().await();
  auto audit = daemon.audit();
  CHECK(audit["shared"] == 1);
  CHECK(audit["held"] == 0);
  CHECK(daemon.metric("zeropool_slots", {"state=\"shared\""}) == 1);
  std::size_t holders = 0;
  const nlohmann::json document = daemon.ctl_json({"clients"});
  for (const auto& client : document["clients"]) {
    if (client["shared_bytes"] == 65536) ++holders;
  }
  CHECK_MESSAGE(holders == 17, document.dump());
  shared.reset();
  // The handle was good for sixteen.
  CHECK(pool->adopt_shared(handle).error_code() == ErrorCode::stale_handle);
  CHECK(daemon.audit()["shared"] == 1);
  for (auto& reader : readers) {
    reader->link().signal();
    CHECK(reader->wait().well());
    CHECK(reader->failure() == "");
  }
  CHECK(eventually([&] { return daemon.audit()["shared"] == 0; }));
  CHECK(daemon.audit()["held"] == 0);
  CHECK(daemon.audit()["lost"] == 0);
  CHECK(daemon.metric("zeropool_slots", {"state=\"shared\""}) == 0);
  CHECK(daemon.metric("zeropool_repairs_total") == 0);
}

TEST_CASE(
    "a shared buffer is its Buffer's bytes, read-only, and can be written again by its only "
    "holder") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  Buffer buffer = pool->get(4096);
  std::byte* const where = buffer.data();
  *buffer.as<std::uint64_t>() = 42;
  SharedBuffer shared = std::move(buffer).share();
  REQUIRE(shared);
  CHECK_FALSE(buffer);  // NOLINT(bugprone-use-after-move)
  CHECK(shared.data() == where);
  CHECK(shared.size() == 4096);
  CHECK(*shared.as<std::uint64_t>() == 42);
  CHECK(shared.node() != UINT32_MAX);
  static_assert(std::is_same_v<decltype(shared.data()), const std::byte*>);
  SharedBuffer copy = shared;
  CHECK(copy.data() == where);
  Buffer refused = std::move(shared).to_buffer();
  CHECK(refused.error_code() == ErrorCode::still_shared);
  CHECK(shared);  // NOLINT(bugprone-use-after-move)
  copy.reset();
  {
    const Handle out = shared.handle();
    CHECK(std::move(shared).to_buffer().error_code() == ErrorCode::still_shared);
    SharedBuffer back = pool->adopt_shared(out);
    CHECK(back);
  }
  Buffer again = std::move(shared).to_buffer();
  REQUIRE_MESSAGE(again, again.error().sentence);
  CHECK(again.data() == where);
  CHECK(again.size() == 4096);
  *again.as<std::uint64_t>() = 43;
  again.reset();
  CHECK(daemon.audit()["held"] == 0);
  CHECK(daemon.audit()["shared"] == 0);
  CHECK_FALSE(SharedBuffer().handle());
  CHECK_FALSE(Buffer().share());
  CHECK(Buffer().share().error_code() == ErrorCode::invalid_argument);
}

TEST_CASE("a handle of the other kind is refused with a sentence, and stays good") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  SharedBuffer shared = share_filled(*pool, 100, std::byte{1});
  const Handle of_share = shared.handle();
  const Handle of_buffer = pool->get(100).release();
  Buffer wrong = pool->adopt(of_share);
  CHECK(wrong.error_code() == ErrorCode::invalid_argument);
  CHECK(wrong.error().sentence.find("adopt_shared") != std::string::npos);
  SharedBuffer wrong_too = pool->adopt_shared(of_buffer);
  CHECK(wrong_too.error_code() == ErrorCode::invalid_argument);
  CHECK(wrong_too.error().sentence.find("adopt()") != std::string::npos);
  CHECK(pool->adopt_shared(of_share));
  CHECK(pool->adopt(of_buffer));
  CHECK(pool->adopt_shared(of_share).error_code() == ErrorCode::stale_handle);
  shared.reset();
  CHECK(pool->adopt(of_share).error_code() == ErrorCode::stale_handle);
}

TEST_CASE("handles of shares out of thin air are stale, and end nobody's share") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  SharedBuffer shared = share_filled(*pool, 4096, std::byte{9});
  const Handle good = shared.handle();
  Random random(11);
  for (int i = 0; i < 50000; ++i) {
    Handle forged = good;
    switch (i % 4) {
      case 0: forged.raw = zp_handle{{random(), random()}}; break;
      case 1: forged.raw.word[0] ^= std::uint64_t{1} << random.below(64); break;
      case 2: forged.raw.word[1] ^= std::uint64_t{1} << random.below(64); break;
      default: forged.raw.word[0] = (random() << 8) | 2; break;
    }
    if (forged == good) continue;
    const SharedBuffer got = pool->adopt_shared(forged);
    REQUIRE_FALSE(got);
    REQUIRE(got.error_code() == ErrorCode::stale_handle);
  }
  CHECK(same_bytes(shared, std::byte{9}));
  CHECK(pool->adopt_shared(good));
  shared.reset();
  CHECK(daemon.audit()["shared"] == 0);
}

TEST_CASE(
    "as many processes as a share has room for hold it; one more is told so, and gets it later") {
  const DaemonProcess daemon(kConfig);
  std::vector<std::unique_ptr<ChildProcess>> readers;
  auto pool = daemon.open();
  REQUIRE(pool);
  SharedBuffer shared = share_filled(*pool, 64, std::byte{3});
  const Handle handle = shared.handle(28);
  for (int r = 0; r < 27; ++r) {
    readers.push_back(std::make_unique<ChildProcess>([&](Link& parent) {
      Pool its = open_or_throw(daemon);
      SharedBuffer mine = its.adopt_shared(handle);
      expect(static_cast<bool>(mine), mine.error().sentence);
      parent.signal();
      parent.await();
    }));
    readers.back()->link().await();
  }
  ChildProcess late([&](Link& parent) {
    Pool its = open_or_throw(daemon);
    SharedBuffer refused = its.adopt_shared(handle);
    expect(refused.error_code() == ErrorCode::too_many_holders, "it has room");
    parent.signal();
    parent.await();
    SharedBuffer mine = its.adopt_shared(handle);
    expect(static_cast<bool>(mine), mine.error().sentence);
  });
  late.link().await();
  readers.front()->link().signal();
  CHECK(readers.front()->wait().well());
  late.link().signal();
  CHECK(late.wait().well());
  CHECK(late.failure() == "");
  for (std::size_t r = 1; r < readers.size(); ++r) readers[r]->link().signal();
  for (auto& reader : readers) CHECK(reader->wait().well());
  shared.reset();
  CHECK(daemon.audit()["shared"] == 0);
  CHECK(daemon.audit()["held"] == 0);
}

TEST_CASE(
    "more shares than there are cells at first: more come; what cannot be shared stays as it was") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  std::vector<SharedBuffer> shares;
  for (int i = 0; i < 1000; ++i) {
    shares.push_back(share_filled(*pool, 64, std::byte{5}));
    REQUIRE_MESSAGE(shares.back(), shares.back().error().sentence);
  }
  CHECK(daemon.audit()["shared"] == 1000);
  shares.clear();
  CHECK(daemon.audit()["shared"] == 0);
  CHECK(daemon.audit()["held"] == 0);
}

TEST_CASE(
    "an adoption that nobody makes within the lease is over, and a share without holds comes "
    "back") {
  const DaemonProcess daemon(kShortLease);
  auto pool = daemon.open();
  REQUIRE(pool);
  SharedBuffer kept = share_filled(*pool, 4096, std::byte{1});
  SharedBuffer left = share_filled(*pool, 4096, std::byte{2});
  const Handle of_kept = kept.handle(3);
  const Handle of_left = left.handle();
  left.reset();
  CHECK(daemon.audit()["shared"] == 2);
  CHECK(eventually([&] { return daemon.audit()["shared"] == 1; }));
  CHECK(pool->adopt_shared(of_left).error_code() == ErrorCode::stale_handle);
  CHECK(eventually([&] { return daemon.metric("zeropool_handoffs_expired_total") == 2; }));
  CHECK(pool->adopt_shared(of_kept).error_code() == ErrorCode::stale_handle);
  CHECK(same_bytes(kept, std::byte{1}));
  const Handle next = kept.handle();
  CHECK(pool->adopt_shared(next));
  kept.reset();
  CHECK(daemon.audit()["shared"] == 0);
}

TEST_CASE("a sender may end right after it has handed a share on") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  for (const bool killed : {false, true}) {
    ChildProcess sender([&](Link& parent) {
      Pool its = open_or_throw(daemon);
      SharedBuffer shared = share_filled(its, 3000, std::byte{8});
      parent.send(shared.handle(2));
      if (killed) ::kill(::getpid(), SIGKILL);
    });
    const Handle handle = sender.link().receive<Handle>();
    sender.wait();
    REQUIRE(eventually([&] { return daemon.clients() == 1; }));
    SharedBuffer one = pool->adopt_shared(handle);
    SharedBuffer two = pool->adopt_shared(handle);
    CHECK((one && two && same_bytes(one, std::byte{8})));
    one.reset();
    CHECK(daemon.audit()["shared"] == 1);
    two.reset();
    CHECK(daemon.audit()["shared"] == 0);
  }
}

TEST_CASE("threads of one process copy, hand on and drop one share without a loss") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  SharedBuffer shared = share_filled(*pool, 4096, std::byte{6});
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, copy = shared]() mutable {
      for (int i = 0; i < 5000; ++i) {
        SharedBuffer more = copy;
        SharedBuffer back = pool->adopt_shared(more.handle());
        if (!back || back.data()[17] != std::byte{6}) failures.fetch_add(1);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(failures.load() == 0);
  CHECK(daemon.audit()["shared"] == 1);
  threads.clear();
  shared.reset();
  CHECK(daemon.audit()["shared"] == 0);
  CHECK(daemon.audit()["lost"] == 0);
}

TEST_CASE("a shared buffer that a child inherits is inert there") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  SharedBuffer shared = share_filled(*pool, 4096, std::byte{4});
  const pid_t child = ::fork();
  if (child == 0) {
    SharedBuffer copy = shared;
    const bool inert = !copy && !shared.handle() && copy.error_code() == ErrorCode::wrong_process;
    shared.reset();
    ::_exit(inert ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  CHECK(daemon.audit()["shared"] == 1);
  CHECK(same_bytes(shared, std::byte{4}));
  shared.reset();
  CHECK(daemon.audit()["shared"] == 0);
}

TEST_CASE(
    "a pool that is closed before its shared buffers ends with the last of them, as does a "
    "thread") {
  const DaemonProcess daemon(kConfig);
  SharedBuffer shared;
  {
    auto pool = daemon.open();
    REQUIRE(pool);
    std::thread([&] { shared = share_filled(*pool, 4096, std::byte{2}); }).join();
  }
  REQUIRE(shared);
  CHECK(daemon.clients() == 1);
  CHECK(same_bytes(shared, std::byte{2}));
  shared.reset();
  CHECK(eventually([&] { return daemon.clients() == 0; }));
  CHECK(becomes_all_free(daemon));
}

TEST_CASE("a shared slot is charged to nobody until its last holder takes it") {
  const DaemonProcess daemon(
      "budget: 64MiB\npools: {frames: {classes: [64KiB], client_quota: 1MiB, thread_cache: "
      "64KiB}}\n");
  auto pool = daemon.open();
  REQUIRE(pool);
  std::vector<SharedBuffer> shares;
  for (int i = 0; i < 40; ++i) {
    shares.push_back(share_filled(*pool, 65536, std::byte{1}));
    REQUIRE_MESSAGE(shares.back(), shares.back().error().sentence);
  }
  Buffer more = pool->get(65536);
  CHECK(more);
  shares.clear();
  more.reset();
  CHECK(pool->get(65536));
}

TEST_CASE("the C surface shares, copies, takes back and refuses") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  zp_buffer buffer{};
  REQUIRE(zp_get(pool->c_pool(), 100, &buffer) == 0);
  const zp_buffer stale = buffer;
  zp_shared shared{};
  REQUIRE(zp_share(&buffer, &shared) == 0);
  CHECK(buffer.data == nullptr);
  CHECK(shared.size == 100);
  zp_buffer again = stale;
  CHECK(zp_put(&again) == ZP_NOT_HELD);  // it is shared now
  again = stale;
  zp_shared second{};
  CHECK(zp_share(&again, &second) == ZP_NOT_HELD);
  CHECK(again.data == stale.data);
  REQUIRE(zp_shared_copy(&shared, &second) == 0);
  zp_handle handle{};
  CHECK(zp_share_handle(&shared, 0, &handle) == ZP_INVALID_ARGUMENT);
  CHECK(zp_share_handle(&shared, 1U << 20, &handle) == ZP_INVALID_ARGUMENT);
  CHECK(zp_unshare(&shared, &buffer) == ZP_STILL_SHARED);
  CHECK(shared.data != nullptr);
  zp_shared twice = second;
  CHECK(zp_shared_put(&second) == 0);
  CHECK(second.data == nullptr);
  CHECK(zp_shared_put(&second) == 0);
  CHECK(zp_unshare(&shared, &buffer) == 0);
  CHECK(zp_shared_put(&twice) == ZP_NOT_HELD);
  CHECK(zp_put(&buffer) == 0);
  CHECK(zp_share(nullptr, &shared) == ZP_INVALID_ARGUMENT);
  CHECK(zp_adopt_shared(nullptr, handle, &shared) == ZP_INVALID_ARGUMENT);
  CHECK(zp_shared_copy(&shared, &second) == ZP_INVALID_ARGUMENT);
  CHECK(daemon.audit()["shared"] == 0);
  CHECK(daemon.audit()["held"] == 0);
}
