#include "all_kinds.hpp"

#include <thread>
#include <vector>

#include <zeropool.h>
#include <zeropool/zeropool.hpp>

#include "../../integration/support/child_process.hpp"

namespace zeropool::testing {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kBytes = 4096;
constexpr std::size_t kLargeBytes = 65536;
constexpr int kBurst = 64;           // more than lies in the ring: the pool grows
constexpr auto kBetweenBursts = 3s;  // longer than two scrapes: nobody is to think that orders wait
constexpr auto kBetweenRounds = 200ms;

// The daemon may be killed and started again meanwhile, and that may take longer than a get waits for it.
Buffer got(Pool& pool, std::size_t bytes) {
  for (;;) {
    Buffer buffer = pool.get(bytes);
    if (buffer) return buffer;
    expect(buffer.error_code() == ErrorCode::no_daemon, zp_last_error());
  }
}

void hand_off(Pool& pool) {
  const Handle handle = got(pool, kBytes).release();
  pool.adopt(handle).reset();  // or it has expired: this machine may have other things to do
  expect(!pool.adopt(handle), "a handle was adopted twice");                // a stale handle
  expect(static_cast<bool>(got(pool, kBytes).release()), zp_last_error());  // expires
}

// By the copy of a held buffer that another process has been sent as it is, and by one of a buffer that was put.
void put_wrongly(Pool& pool, ChildProcess& other) {
  zp_buffer mine{};
  while (zp_get(pool.c_pool(), kBytes, &mine) != 0)
    expect(zp_last_error_code() == ZP_NO_DAEMON, zp_last_error());
  other.link().send(mine);
  other.link().await();
  zp_buffer copy = mine;
  expect(zp_put(&mine) == 0, zp_last_error());
  expect(zp_put(&copy) != 0, "a buffer was put twice");
}

void put_what_is_sent(const DaemonProcess& daemon, const std::string& name, Link& parent) {
  Pool pool = daemon.open(name).value();
  for (;;) {
    auto theirs = parent.receive<zp_buffer>(10min);
    theirs.pool = pool.c_pool();
    expect(zp_put(&theirs) != 0, "what another process holds was put");
    parent.signal();
  }
}

// Takes more than there is, gives it back, and has the daemon give it to the system.
void grow_and_trim(const DaemonProcess& daemon, Pool& pool) {
  std::thread([&] {  // its caches go with it
    std::vector<Buffer> held;
    for (int i = 0; i < kBurst; ++i) held.push_back(got(pool, kLargeBytes));
  })
      .join();
  static_cast<void>(daemon.ctl({"trim"}));  // or there is no daemon now
}

}  // namespace

void do_all_kinds(const DaemonProcess& daemon, const std::string& name) {
  ChildProcess other([&](Link& parent) { put_what_is_sent(daemon, name, parent); });
  Pool pool = daemon.open(name).value();
  std::thread idle([&pool] {
    for (;;) {
      got(pool, kLargeBytes).reset();
      std::this_thread::sleep_for(5s);  // its caches are taken meanwhile
    }
  });
  const Buffer pinned = got(pool, kBytes);
  const Pin pin = pool.pin(pinned);
  expect(static_cast<bool>(pin), zp_last_error());
  const SharedBuffer shared = got(pool, kBytes).share();
  expect(static_cast<bool>(shared), zp_last_error());
  auto next_burst = std::chrono::steady_clock::now();
  for (;;) {
    hand_off(pool);
    put_wrongly(pool, other);
    expect(!daemon.open("nothing"), "a pool that is not there was opened");
    if (std::chrono::steady_clock::now() >= next_burst) {
      grow_and_trim(daemon, pool);
      next_burst = std::chrono::steady_clock::now() + kBetweenBursts;
    }
    std::this_thread::sleep_for(kBetweenRounds);
  }
}

}  // namespace zeropool::testing
