// Pins: pages that stay where they are while buffers come and go, memory is released and committed again.

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <liburing.h>
#include <string>
#include <sys/uio.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool.h>
#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::ErrorCode;
using zeropool::Pin;
using zeropool::Pool;

namespace {

constexpr std::size_t kBytes = 64 << 10;
constexpr const char* kConfig =
    "budget: 64MiB\nlimits: {clients: 16, threads: 16}\npages: {size: [4KiB]}\n"
    "pools: {frames: {classes: [64KiB], thread_cache: 64KiB, wait: {timeout: 5s},\n"
    "                 watermarks: {low: 0, high: 1MiB}}}\n";

// This program looks at what it does not hold, to see what the kernel wrote there.
class Unwatched {
 public:
  Unwatched() { ::setenv("ZEROPOOL_DEBUG", "off", 1); }
  ~Unwatched() { ::unsetenv("ZEROPOOL_DEBUG"); }
  Unwatched(const Unwatched&) = delete;
  Unwatched& operator=(const Unwatched&) = delete;
};

// By a thread of its own, whose caches go back at its end: nothing else keeps memory from being released.
void by_a_thread(const std::function<void()>& work) { std::thread(work).join(); }

// Holds `bytes` of the pool, and puts it all: then that much is committed.
void ramp(Pool& pool, std::size_t bytes) {
  by_a_thread([&] {
    std::vector<Buffer> held;
    for (std::size_t got = 0; got < bytes; got += kBytes) {
      held.push_back(pool.get(kBytes));
      REQUIRE_MESSAGE(held.back(), held.back().error().sentence);
      std::memset(held.back().data(), 'r', kBytes);
    }
  });
}

double committed(const DaemonProcess& daemon) {
  return daemon.metric("zeropool_committed_bytes", {"pool=\"frames\""});
}

void trim(const DaemonProcess& daemon) {
  for (int i = 0; i < 5; ++i) REQUIRE(daemon.ctl({"trim"}).exit_code == 0);
}

}  // namespace

TEST_CASE("registered io_uring buffers keep their bytes through trim and recommit") {
  const Unwatched unwatched;
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  ramp(*pool, 32 << 20);
  const double before = committed(daemon);

  // Two buffers at different places are pinned and registered; then they go back into the pool.
  std::vector<Buffer> held;
  std::vector<Pin> pins;
  std::vector<iovec> registered;
  for (int i = 0; i < 2; ++i) {
    by_a_thread([&] { held.push_back(pool->get(kBytes)); });
    REQUIRE(held.back());
    std::memset(held.back().data(), 'A' + i, kBytes);
    registered.push_back({held.back().data(), kBytes});
    pins.push_back(pool->pin(held.back()));
    REQUIRE_MESSAGE(pins.back(), pins.back().error().sentence);
    ramp(*pool, 8 << 20);  // the next one lies elsewhere
  }
  io_uring ring{};
  REQUIRE(io_uring_queue_init(4, &ring, 0) == 0);
  REQUIRE(io_uring_register_buffers(&ring, registered.data(), 2) == 0);
  CHECK(daemon.metric("zeropool_pinned_bytes") == 2.0 * kBytes);
  by_a_thread([&] { held.clear(); });

  trim(daemon);
  CHECK(committed(daemon) < before / 2);
  CHECK(committed(daemon) >= 2.0 * kBytes);
  ramp(*pool, 32 << 20);  // committed again; whoever had the pinned slots wrote 'r' into them

  // The kernel writes through the registration: what this process sees there is what the kernel wrote.
  int files[2];
  REQUIRE(::pipe2(files, O_CLOEXEC) == 0);
  for (int i = 0; i < 2; ++i) {
    std::string text(4096, static_cast<char>('k' + i));
    REQUIRE(::write(files[1], text.data(), text.size()) == 4096);
    io_uring_prep_read_fixed(io_uring_get_sqe(&ring), files[0], registered[i].iov_base, 4096, 0, i);
    REQUIRE(io_uring_submit(&ring) == 1);
    io_uring_cqe* done = nullptr;
    REQUIRE(io_uring_wait_cqe(&ring, &done) == 0);
    CHECK(done->res == 4096);
    io_uring_cqe_seen(&ring, done);
    CHECK(std::memcmp(registered[i].iov_base, text.data(), text.size()) == 0);
  }
  io_uring_queue_exit(&ring);
  ::close(files[0]);
  ::close(files[1]);

  // Unpinned, all of it goes.
  pins.clear();
  CHECK(daemon.metric("zeropool_pinned_bytes") == 0);
  const double pinned_too = committed(daemon);
  trim(daemon);
  CHECK(committed(daemon) < pinned_too);
}

TEST_CASE(
    "without a pin the registration is of pages that nobody else sees: the test above can fail") {
  const Unwatched unwatched;
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  ramp(*pool, 32 << 20);
  iovec registered{};
  io_uring ring{};
  REQUIRE(io_uring_queue_init(4, &ring, 0) == 0);
  by_a_thread([&] {
    const Buffer buffer = pool->get(kBytes);
    REQUIRE(buffer);
    registered = {buffer.data(), kBytes};
    REQUIRE(io_uring_register_buffers(&ring, &registered, 1) == 0);
  });
  trim(daemon);
  ramp(*pool, 40 << 20);
  int files[2];
  REQUIRE(::pipe2(files, O_CLOEXEC) == 0);
  const std::string text(4096, 'k');
  REQUIRE(::write(files[1], text.data(), text.size()) == 4096);
  io_uring_prep_read_fixed(io_uring_get_sqe(&ring), files[0], registered.iov_base, 4096, 0, 0);
  REQUIRE(io_uring_submit(&ring) == 1);
  io_uring_cqe* done = nullptr;
  REQUIRE(io_uring_wait_cqe(&ring, &done) == 0);
  CHECK(done->res == 4096);
  io_uring_cqe_seen(&ring, done);
  CHECK(std::memcmp(registered.iov_base, text.data(), text.size()) != 0);
  io_uring_queue_exit(&ring);
  ::close(files[0]);
  ::close(files[1]);
}

TEST_CASE("pins die with their client, at whatever moment") {
  const DaemonProcess daemon(kConfig);
  ChildProcess child([&](Link& parent) {
    auto pool = daemon.open();
    expect(static_cast<bool>(pool), pool.error().sentence);
    std::vector<Pin> pins;
    for (int i = 0; i < 30; ++i) {
      const Buffer buffer = pool->get(kBytes);
      pins.push_back(pool->pin(buffer));
      expect(static_cast<bool>(pins.back()), pins.back().error().sentence);
    }
    parent.signal();
    ::pause();
  });
  child.link().await();
  CHECK(daemon.metric("zeropool_pinned_bytes") > 0);
  child.kill();
  CHECK(eventually([&] { return daemon.metric("zeropool_pinned_bytes") == 0; }));
}

TEST_CASE(
    "more pins than there are cells at first; all of them taken is said, and one let go is "
    "enough") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  const Buffer buffer = pool->get(kBytes);
  REQUIRE(buffer);
  std::vector<Pin> pins;
  for (;;) {
    pins.push_back(pool->pin(buffer));
    if (!pins.back()) break;
    REQUIRE(pins.size() < 100'000);
  }
  CHECK(pins.size() > 4000);
  CHECK(pins.back().error_code() == ErrorCode::too_many_pins);
  CHECK(pins.back().error().sentence.find("unpin") != std::string::npos);
  CHECK(daemon.metric("zeropool_pinned_bytes") == kBytes);
  pins.front().reset();
  CHECK(pool->pin(buffer));
}

TEST_CASE(
    "a pin keeps the attachment alive; what is not held cannot be pinned; a child's pin is the "
    "parent's") {
  const DaemonProcess daemon(kConfig);
  Pin pin;
  {
    auto pool = daemon.open();
    REQUIRE(pool);
    CHECK(pool->pin(Buffer()).error_code() == ErrorCode::invalid_argument);
    Buffer buffer = pool->get(kBytes);
    const zp_buffer copy = std::move(buffer).release_to_c();
    zp_buffer put = copy;
    REQUIRE(zp_put(&put) == 0);
    zp_pin_token token;
    CHECK(zp_pin(&copy, &token) == ZP_NOT_HELD);
    CHECK(token.pool == nullptr);
    CHECK(zp_pin(nullptr, &token) == ZP_INVALID_ARGUMENT);
    CHECK(zp_pin(&copy, nullptr) == ZP_INVALID_ARGUMENT);
    const Buffer held = pool->get(kBytes);
    pin = pool->pin(held);
    REQUIRE(pin);
  }
  CHECK(daemon.clients() == 1);
  CHECK(daemon.metric("zeropool_pinned_bytes") == kBytes);
  const auto outcome = run_in_child<bool>([&] {
    pin.reset();
    return true;
  });
  CHECK(outcome.end.well());
  CHECK(daemon.metric("zeropool_pinned_bytes") == kBytes);
  pin.reset();
  CHECK(eventually([&] { return daemon.clients() == 0; }));
  CHECK(daemon.metric("zeropool_pinned_bytes") == 0);
}
