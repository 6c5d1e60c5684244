// What a buffer shows of its earlier holders, with processes of real users: never, on_user_change, always.

#include <algorithm>
#include <cstring>
#include <grp.h>
#include <set>
#include <string>
#include <unistd.h>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::Handle;
using zeropool::Pool;

namespace {

constexpr unsigned kOne = 12301;
constexpr unsigned kOther = 12302;
constexpr std::size_t kBytes = 16384;  // more than one magazine of them fits the budget below

std::string config(const std::string& scrub) {
  return "budget: 16MiB\nlimits: {clients: 16, threads: 16}\n"
         "pages: {size: [4KiB]}\n"
         "pools: {frames: {classes: [16KiB], thread_cache: 1MiB, wait: {timeout: 5s}, scrub: " +
         scrub + "}}\n";
}

bool root_is_needed() {
  if (::geteuid() == 0) return false;
  MESSAGE("not run: it takes root to become another user");
  return true;
}

void become(unsigned user) {
  expect(::setgroups(0, nullptr) == 0 && ::setgid(user) == 0 && ::setuid(user) == 0,
         "cannot become another user");
}

struct Seen {
  std::uint64_t buffers = 0;
  std::uint64_t with_old_bytes = 0;
};

enum class Then { kPut, kDie };

// Everything that the pool has, as that user: how many show bytes that are not 0. All of it is then filled with `letter`
// and put, or held to the process's death.
Seen fill_as(const DaemonProcess& daemon, unsigned user, char letter, Then then) {
  ChildProcess child([&](Link& parent) {
    become(user);
    auto pool = daemon.open();
    expect(static_cast<bool>(pool), pool.error().sentence);
    std::vector<Buffer> held;
    Seen seen;
    for (;;) {
      Buffer buffer = pool->get(kBytes, 300ms);
      if (!buffer) break;
      ++seen.buffers;
      const auto* bytes = reinterpret_cast<const char*>(buffer.data());
      if (std::any_of(bytes, bytes + kBytes, [](char c) { return c != 0; })) ++seen.with_old_bytes;
      std::memset(buffer.data(), letter, kBytes);
      held.push_back(std::move(buffer));
    }
    if (then == Then::kPut) held.clear();
    parent.send(seen);
    if (then == Then::kDie) ::pause();
  });
  const Seen seen = child.link().receive<Seen>();
  if (then == Then::kDie) {
    child.kill();
  } else {
    CHECK(child.wait().well());
    CHECK(child.failure() == "");
  }
  CHECK(eventually([&] { return daemon.clients() == 0; }));
  return seen;
}

}  // namespace

TEST_CASE(
    "on_user_change: another user never sees old bytes, put or left at a death; the same user "
    "does") {
  if (root_is_needed()) return;
  const DaemonProcess daemon(config("on_user_change"));
  const Seen first = fill_as(daemon, kOne, 'a', Then::kPut);
  CHECK(first.buffers > 500);
  CHECK(first.with_old_bytes == 0);  // new pages
  const Seen same = fill_as(daemon, kOne, 'b', Then::kPut);
  CHECK(same.with_old_bytes > same.buffers / 2);  // nothing is cleared that need not be
  CHECK(fill_as(daemon, kOther, 'c', Then::kPut).with_old_bytes == 0);
  CHECK(fill_as(daemon, kOne, 'd', Then::kDie).with_old_bytes == 0);
  CHECK(fill_as(daemon, kOther, 'e', Then::kDie).with_old_bytes == 0);
  // Extents go and come: what is put back after a trim is nobody's in particular.
  daemon.ctl({"trim"});
  CHECK(fill_as(daemon, kOne, 'f', Then::kPut).with_old_bytes == 0);
  const nlohmann::json audit = daemon.audit();
  CHECK_MESSAGE(audit["lost"] == 0, audit.dump());
  CHECK_MESSAGE(audit["doubled"] == 0, audit.dump());
}

TEST_CASE(
    "on_user_change: a daemon that was killed and started again knows whose bytes are whose") {
  if (root_is_needed()) return;
  DaemonProcess daemon(config("on_user_change"));
  fill_as(daemon, kOne, 'a', Then::kPut);
  daemon.kill9();
  daemon.start_again();
  CHECK(fill_as(daemon, kOther, 'b', Then::kDie).with_old_bytes == 0);
  daemon.kill9();
  daemon.start_again();
  CHECK(fill_as(daemon, kOne, 'c', Then::kPut).with_old_bytes == 0);
}

TEST_CASE("users whose ids are nobody's in particular are taken for different ones") {
  if (root_is_needed()) return;
  const DaemonProcess daemon(config("on_user_change"));
  constexpr unsigned kNobody = 65534;
  fill_as(daemon, kNobody, 'a', Then::kPut);
  CHECK(fill_as(daemon, kNobody, 'b', Then::kPut).with_old_bytes == 0);
}

TEST_CASE("never: the next user sees them; and a reload puts an end to it") {
  if (root_is_needed()) return;
  DaemonProcess daemon(config("never"));
  fill_as(daemon, kOne, 'a', Then::kPut);
  CHECK(fill_as(daemon, kOther, 'b', Then::kPut).with_old_bytes > 0);
  daemon.rewrite_config(config("on_user_change"));
  CHECK(daemon.ctl({"reload"}).exit_code == 0);
  CHECK(fill_as(daemon, kOne, 'c', Then::kPut).with_old_bytes == 0);
}

TEST_CASE(
    "always: no get shows old bytes, of the same process neither, whatever the size asked for") {
  const DaemonProcess daemon(config("always"));
  auto pool = daemon.open();
  REQUIRE(pool);
  const auto clean_and_filled = [](Buffer& buffer) {
    REQUIRE(buffer);
    REQUIRE(buffer.resize(buffer.capacity()));
    const auto* bytes = reinterpret_cast<const char*>(buffer.data());
    const bool clean = std::all_of(bytes, bytes + kBytes, [](char c) { return c == 0; });
    std::memset(buffer.data(), 'x', kBytes);
    return clean;
  };
  std::set<const void*> addresses;
  for (int round = 0; round < 200; ++round) {
    Buffer buffer = pool->get(1);
    addresses.insert(buffer.data());
    CHECK(clean_and_filled(buffer));
  }
  CHECK(addresses.size() < 200);  // some of them were got again
  std::vector<Buffer> many(48);
  for (int round = 0; round < 4; ++round) {
    REQUIRE(pool->get_batch(100, many) == many.size());
    for (Buffer& buffer : many) CHECK(clean_and_filled(buffer));
    pool->put_batch(many);
  }
  const std::vector<std::size_t> sizes = {1, 5000, kBytes};
  auto batch = pool->get_batch(sizes);
  REQUIRE(batch);
  for (std::size_t i = 0; i < sizes.size(); ++i) CHECK(clean_and_filled(batch[i]));
  // A hand-off passes bytes on.
  Buffer sent = pool->get(kBytes);
  std::memset(sent.data(), 'y', kBytes);
  const Handle handle = std::move(sent).release();
  const Buffer adopted = pool->adopt(handle);
  REQUIRE(adopted);
  CHECK(*reinterpret_cast<const char*>(adopted.data()) == 'y');
}
