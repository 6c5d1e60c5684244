// The C functions: the same operations, codes and sentences; and what a C caller can get wrong.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool.h>
#include <zeropool/lib/wire.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"
#include "support/pattern.hpp"

using namespace zeropool::testing;

namespace {

constexpr const char* kConfig =
    "budget: 128MiB\npools: {frames: {classes: [4KiB, 64KiB], wait: {timeout: 1s}}}\n";

// Closes at the end of its scope.
struct OpenPool {
  explicit OpenPool(const DaemonProcess& daemon) {
    const std::string socket = daemon.socket();
    zp_open_options options{};
    options.struct_bytes = sizeof(options);
    options.socket = socket.c_str();
    options.fd = -1;
    code = zp_open("frames", &options, &pool);
  }
  ~OpenPool() { zp_close(pool); }
  OpenPool(const OpenPool&) = delete;
  OpenPool& operator=(const OpenPool&) = delete;

  int code = -1;
  zp_pool* pool = nullptr;
};

std::byte* bytes_of(const zp_buffer& buffer) { return static_cast<std::byte*>(buffer.data); }

}  // namespace

TEST_CASE("the C functions get, put, batch and count as the C++ ones do") {
  const DaemonProcess daemon(kConfig);
  OpenPool open(daemon);
  REQUIRE(open.code == ZP_OK);
  zp_pool* pool = open.pool;
  CHECK(std::string(zp_pool_name(pool)) == "frames");
  CHECK(zp_client_id(pool) != 0);

  zp_buffer buffer;
  REQUIRE(zp_get(pool, 5000, &buffer) == ZP_OK);
  CHECK(buffer.size == 5000);
  CHECK(zp_capacity(&buffer) == 65536);
  CHECK(zp_node(&buffer) == 0);
  write_pattern(bytes_of(buffer), buffer.size, 1);
  zp_buffer other;
  REQUIRE(zp_get_for(pool, 5000, 1'000'000'000, &other) == ZP_OK);
  write_pattern(bytes_of(other), other.size, 2);
  CHECK(broken_at(bytes_of(buffer), buffer.size, 1) == buffer.size);
  CHECK(zp_put(&buffer) == ZP_OK);
  CHECK(buffer.data == nullptr);
  CHECK(zp_put(&buffer) == ZP_OK);  // empty is fine
  REQUIRE(zp_try_get(pool, 5000, &buffer) == ZP_OK);
  CHECK(zp_put(&buffer) == ZP_OK);
  CHECK(zp_put(&other) == ZP_OK);

  const std::array<std::size_t, 3> sizes = {1, 60000, 4096};
  std::array<zp_buffer, 3> batch{};
  REQUIRE(zp_get_batch(pool, sizes.data(), sizes.size(), batch.data()) == ZP_OK);
  for (std::size_t i = 0; i < sizes.size(); ++i) CHECK(batch[i].size == sizes[i]);
  zp_put_batch(batch.data(), batch.size());
  for (const zp_buffer& one : batch) CHECK(one.data == nullptr);
  std::array<zp_buffer, 40> many{};
  const std::size_t got = zp_get_many(pool, 100, many.size(), many.data());
  CHECK(got > 0);
  zp_put_batch(many.data(), many.size());

  zp_stats_data stats{};
  REQUIRE(zp_stats(pool, &stats) == ZP_OK);
  CHECK(stats.gets == stats.tls_hits + stats.shared_hits + stats.allocations + stats.failures);
  CHECK(stats.puts == 6 + got);
  CHECK(stats.gets == stats.puts + stats.failures);
  CHECK(daemon.audit()["held"] == 0);
}

TEST_CASE("a put by address takes any address inside the buffer") {
  const DaemonProcess daemon(kConfig);
  OpenPool open(daemon);
  REQUIRE(open.code == ZP_OK);
  for (const std::size_t offset : {0, 1, 4095, 65535}) {
    zp_buffer buffer;
    REQUIRE(zp_get(open.pool, 65536, &buffer) == ZP_OK);
    CHECK(zp_put_ptr(open.pool, bytes_of(buffer) + offset) == ZP_OK);
    CHECK(zp_put_ptr(open.pool, bytes_of(buffer) + offset) == ZP_NOT_HELD);
  }
  int on_the_stack = 0;
  CHECK(zp_put_ptr(open.pool, &on_the_stack) == ZP_NOT_HELD);
  CHECK(zp_put_ptr(open.pool, nullptr) == ZP_NOT_HELD);
  CHECK(zp_put_ptr(nullptr, &on_the_stack) == ZP_INVALID_ARGUMENT);
  CHECK(daemon.audit()["held"] == 0);
}

TEST_CASE("a double put is refused, counted, and harms nobody") {
  const DaemonProcess daemon(kConfig);
  OpenPool open(daemon);
  REQUIRE(open.code == ZP_OK);
  zp_buffer buffer;
  REQUIRE(zp_get(open.pool, 100, &buffer) == ZP_OK);
  zp_buffer copy = buffer;
  CHECK(zp_put(&buffer) == ZP_OK);
  CHECK(zp_put(&copy) == ZP_NOT_HELD);
  CHECK(std::string(zp_last_error()).find("put it once") != std::string::npos);
  CHECK(zp_last_error_code() == ZP_NOT_HELD);

  // Also when the slot is out again, to somebody else.
  REQUIRE(zp_get(open.pool, 100, &buffer) == ZP_OK);
  copy = buffer;
  CHECK(zp_put(&buffer) == ZP_OK);
  REQUIRE(zp_get(open.pool, 100, &buffer) == ZP_OK);
  REQUIRE(copy.data == buffer.data);
  write_pattern(bytes_of(buffer), 100, 9);
  CHECK(zp_put(&copy) == ZP_NOT_HELD);
  zp_buffer next;
  REQUIRE(zp_get(open.pool, 100, &next) == ZP_OK);
  CHECK(next.data != buffer.data);
  CHECK(broken_at(bytes_of(buffer), 100, 9) == 100);
  CHECK(zp_put(&next) == ZP_OK);
  CHECK(zp_put(&buffer) == ZP_OK);

  zp_stats_data stats{};
  REQUIRE(zp_stats(open.pool, &stats) == ZP_OK);
  CHECK(stats.double_puts == 2);
  CHECK(daemon.metric("zeropool_double_puts_total") == 2);
  const auto audit = daemon.audit();
  CHECK(audit["held"] == 0);
  CHECK(audit["doubled"] == 0);
  CHECK(audit["lost"] == 0);
}

TEST_CASE("a put of another client's buffer is refused and counted") {
  const DaemonProcess daemon(kConfig);
  ChildProcess holder([&](Link& parent) {
    OpenPool open(daemon);
    expect(open.code == ZP_OK, zp_last_error());
    zp_buffer buffer;
    expect(zp_get(open.pool, 4096, &buffer) == ZP_OK, zp_last_error());
    write_pattern(bytes_of(buffer), 4096, 5);
    parent.send(buffer);
    parent.await();
    expect(broken_at(bytes_of(buffer), 4096, 5) == 4096, "the bytes have changed");
    expect(zp_put(&buffer) == ZP_OK, zp_last_error());
  });
  OpenPool open(daemon);
  REQUIRE(open.code == ZP_OK);
  auto foreign = holder.link().receive<zp_buffer>();
  foreign.pool = open.pool;  // the holder's words, this process's pool
  zp_buffer for_release = foreign;
  CHECK(zp_put(&foreign) == ZP_NOT_HELD);
  CHECK(std::string(zp_last_error()).find("not by this process") != std::string::npos);
  zp_handle handle{};
  CHECK(zp_release(&for_release, 0, &handle) == ZP_NOT_HELD);
  CHECK(handle.word[0] == 0);
  zp_buffer mine;
  REQUIRE(zp_get(open.pool, 4096, &mine) == ZP_OK);
  CHECK(mine.slot != foreign.slot);
  CHECK(zp_put(&mine) == ZP_OK);
  CHECK(daemon.audit()["held"] == 1);
  holder.link().signal();
  CHECK(holder.wait().well());
  CHECK(holder.failure() == "");
  CHECK(daemon.metric("zeropool_foreign_puts_total") == 2);
  CHECK(daemon.audit()["held"] == 0);
}

TEST_CASE("buffer words out of thin air are refused and harm nobody") {
  const DaemonProcess daemon(kConfig);
  OpenPool open(daemon);
  REQUIRE(open.code == ZP_OK);
  zp_buffer held;
  REQUIRE(zp_get(open.pool, 4096, &held) == ZP_OK);
  write_pattern(bytes_of(held), 4096, 3);
  Random random(1);
  for (int i = 0; i < 100000; ++i) {
    zp_buffer forged = held;
    switch (i % 4) {
      case 0: forged.word = random(); break;
      case 1: forged.slot = static_cast<std::uint32_t>(random()); break;
      case 2: forged.word ^= std::uint64_t{1} << (8 + random.below(56)); break;
      default: forged.slot ^= 1U << random.below(32); break;
    }
    if (forged.word == held.word && forged.slot == held.slot) continue;
    const int code = zp_put(&forged);
    REQUIRE((code == ZP_NOT_HELD || code == ZP_WRONG_PROCESS));
  }
  CHECK(daemon.audit()["held"] == 1);
  CHECK(broken_at(bytes_of(held), 4096, 3) == 4096);
  CHECK(zp_put(&held) == ZP_OK);
  CHECK(daemon.audit()["held"] == 0);
  CHECK(daemon.audit()["doubled"] == 0);
}

TEST_CASE("null arguments are refused, never followed") {
  const DaemonProcess daemon(kConfig);
  OpenPool open(daemon);
  REQUIRE(open.code == ZP_OK);
  zp_pool* pool = open.pool;
  zp_buffer buffer{};
  zp_handle handle{};
  zp_stats_data stats{};
  const std::size_t size = 1;

  CHECK(zp_open("frames", nullptr, nullptr) == ZP_INVALID_ARGUMENT);
  CHECK(zp_get(nullptr, 1, &buffer) == ZP_INVALID_ARGUMENT);
  CHECK(zp_get(pool, 1, nullptr) == ZP_INVALID_ARGUMENT);
  CHECK(zp_get_for(nullptr, 1, 0, &buffer) == ZP_INVALID_ARGUMENT);
  CHECK(zp_get_for(pool, 1, 0, nullptr) == ZP_INVALID_ARGUMENT);
  CHECK(zp_try_get(nullptr, 1, &buffer) == ZP_INVALID_ARGUMENT);
  CHECK(zp_try_get(pool, 1, nullptr) == ZP_INVALID_ARGUMENT);
  CHECK(zp_put(nullptr) == ZP_OK);
  CHECK(zp_get_batch(nullptr, &size, 1, &buffer) == ZP_INVALID_ARGUMENT);
  CHECK(zp_get_batch(pool, nullptr, 1, &buffer) == ZP_INVALID_ARGUMENT);
  CHECK(zp_get_batch(pool, &size, 1, nullptr) == ZP_INVALID_ARGUMENT);
  CHECK(zp_get_many(nullptr, 1, 1, &buffer) == 0);
  CHECK(zp_get_many(pool, 1, 1, nullptr) == 0);
  zp_put_batch(nullptr, 7);
  CHECK(zp_release(nullptr, 0, &handle) == ZP_INVALID_ARGUMENT);
  CHECK(zp_release(&buffer, 0, &handle) == ZP_INVALID_ARGUMENT);
  CHECK(zp_adopt(nullptr, handle, &buffer) == ZP_INVALID_ARGUMENT);
  CHECK(zp_adopt(pool, handle, nullptr) == ZP_INVALID_ARGUMENT);
  CHECK(zp_adopt(pool, handle, &buffer) == ZP_STALE_HANDLE);
  CHECK(zp_capacity(nullptr) == 0);
  CHECK(zp_capacity(&buffer) == 0);
  CHECK(zp_node(nullptr) == UINT32_MAX);  // none
  CHECK(zp_client_id(nullptr) == 0);
  CHECK(std::string(zp_pool_name(nullptr)).empty());
  CHECK(zp_stats(nullptr, &stats) == ZP_INVALID_ARGUMENT);
  CHECK(zp_stats(pool, nullptr) == ZP_INVALID_ARGUMENT);
  zp_close(nullptr);

  REQUIRE(zp_get(pool, 1, &buffer) == ZP_OK);
  CHECK(zp_release(&buffer, 0, nullptr) == ZP_INVALID_ARGUMENT);
  CHECK(zp_release(&buffer, UINT32_MAX, &handle) == ZP_INVALID_ARGUMENT);
  REQUIRE(buffer.data != nullptr);
  CHECK(zp_put(&buffer) == ZP_OK);
}

TEST_CASE("options of another size are refused") {
  zp_open_options options{};
  options.struct_bytes = sizeof(options) - 1;
  zp_pool* pool = nullptr;
  CHECK(zp_open("frames", &options, &pool) == ZP_INVALID_ARGUMENT);
  CHECK(pool == nullptr);
}

TEST_CASE("options of a program that knows no flags are taken, unknown flags are refused") {
  const DaemonProcess daemon(kConfig);
  zp_open_options options{};
  const std::string socket = daemon.socket();
  options.socket = socket.c_str();
  options.fd = -1;
  options.struct_bytes = offsetof(zp_open_options, flags);
  options.flags = 0xffffffffU;  // behind its end: not looked at
  options.sample_gets = 7;
  zp_pool* pool = nullptr;
  REQUIRE_MESSAGE(zp_open("frames", &options, &pool) == ZP_OK, zp_last_error());
  zp_close(pool);
  options.struct_bytes = sizeof(options);
  CHECK(zp_open("frames", &options, &pool) == ZP_INVALID_ARGUMENT);
  options.flags = ZP_OPEN_DIRECT_IO;
  options.sample_gets = 0;
  REQUIRE_MESSAGE(zp_open("frames", &options, &pool) == ZP_OK, zp_last_error());
  CHECK(daemon.ctl_json({"clients"})["clients"][0]["direct_io"] == true);
  CHECK(daemon.ctl({"clients"}).out.find("direct I/O") != std::string::npos);
  // Without it the same pool is another attachment: what is held there goes back at once.
  options.flags = 0;
  zp_pool* other = nullptr;
  REQUIRE(zp_open("frames", &options, &other) == ZP_OK);
  CHECK(other != pool);
  CHECK(zp_client_id(other) != zp_client_id(pool));
  zp_close(other);
  zp_close(pool);
}

TEST_CASE("every code has a name") {
  for (int code = ZP_OK; code <= ZP_DRAINING; ++code) {
    CHECK(std::string(zp_strerror(code)) != "unknown");
  }
  for (const int code : {-1, ZP_DRAINING + 1, INT32_MAX, INT32_MIN}) {
    CHECK(std::string(zp_strerror(code)) == "unknown");
  }
}

TEST_CASE("a thread's last error is its own") {
  const DaemonProcess daemon(kConfig);
  OpenPool open(daemon);
  REQUIRE(open.code == ZP_OK);
  zp_buffer buffer;
  REQUIRE(zp_get(open.pool, 0, &buffer) == ZP_INVALID_SIZE);
  std::thread([&] {
    zp_buffer too_large;
    CHECK(zp_get(open.pool, SIZE_MAX, &too_large) == ZP_TOO_LARGE);
    CHECK(zp_last_error_code() == ZP_TOO_LARGE);
  }).join();
  CHECK(zp_last_error_code() == ZP_INVALID_SIZE);
}

TEST_CASE("a client that is turned away before it asks says why") {
  namespace lib = zeropool::lib;
  for (const bool with_reason : {true, false}) {
    int ends[2] = {-1, -1};
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    if (with_reason) {
      auto reply = lib::make_message<lib::AttachReply>(lib::MessageType::kAttachReply);
      reply.code = lib::ErrorCode::too_many_clients;
      lib::set_text(reply.sentence, "come again later");
      REQUIRE(lib::send_message(ends[1], &reply, sizeof(reply)));
    }
    ::close(ends[1]);
    zp_open_options options{};
    options.struct_bytes = sizeof(options);
    options.fd = ends[0];
    zp_pool* pool = nullptr;
    CHECK(zp_open("frames", &options, &pool) == (with_reason ? ZP_TOO_MANY_CLIENTS : ZP_NO_DAEMON));
    CHECK((std::string(zp_last_error()) == "come again later") == with_reason);
    ::close(ends[0]);
  }
}

TEST_CASE("a connected descriptor opens a pool later") {
  const DaemonProcess daemon(kConfig);
  const int fd = zp_open_fd(daemon.socket().c_str());
  REQUIRE(fd >= 0);
  zp_open_options options{};
  options.struct_bytes = sizeof(options);
  options.socket = "/nowhere/at/all";
  options.fd = fd;
  zp_pool* pool = nullptr;
  REQUIRE(zp_open("frames", &options, &pool) == ZP_OK);
  zp_buffer buffer;
  CHECK(zp_get(pool, 1, &buffer) == ZP_OK);
  CHECK(zp_put(&buffer) == ZP_OK);
  zp_close(pool);
  ::close(fd);
  CHECK(zp_open_fd("/nowhere/at/all") == -1);
  CHECK(zp_last_error_code() == ZP_NO_DAEMON);
}
