// config/packet-buffers.yaml at work: bursts of 32 from a receiver to a worker, and drops where the worker is too slow.

#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"
#include "support/setup.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::Handle;
using zeropool::Pool;

namespace {

constexpr std::size_t kBurst = 32;
constexpr std::size_t kPacketBytes = 1518;

struct Burst {
  std::array<Handle, kBurst> handles;
  std::uint32_t count = 0;  // 0: the port is closed
};
struct Worked {
  std::uint64_t packets = 0;
  std::uint64_t out_of_order = 0;
};

void work(const DaemonProcess& daemon, Link& receiver) {
  auto pool = daemon.open("packets");
  expect(static_cast<bool>(pool), pool.error().sentence);
  receiver.signal();
  Worked worked;
  std::uint64_t last = 0;
  std::array<Buffer, kBurst> packets;
  for (Burst burst = receiver.receive<Burst>(); burst.count != 0;
       burst = receiver.receive<Burst>()) {
    for (std::uint32_t i = 0; i < burst.count; ++i) {
      packets[i] = pool->adopt(burst.handles[i]);
      expect(static_cast<bool>(packets[i]), packets[i].error().sentence);
      std::uint64_t number = 0;
      std::memcpy(&number, packets[i].data(), sizeof(number));
      if (number <= last) ++worked.out_of_order;
      last = number;
      ++worked.packets;
    }
    pool->put_batch(std::span(packets).first(burst.count));
  }
  receiver.send(worked);
}

}  // namespace

TEST_CASE(
    "bursts reach the worker in order, and what there is no buffer for is dropped and counted") {
  const DaemonProcess daemon(small_setup("packet-buffers", 16));
  ChildProcess worker([&](Link& receiver) { work(daemon, receiver); });
  worker.link().await();
  auto pool = daemon.open("packets");
  REQUIRE_MESSAGE(pool, pool.error().sentence);

  std::uint64_t arrived = 0;
  std::uint64_t forwarded = 0;
  std::uint64_t dropped = 0;
  std::array<Buffer, kBurst> packets;
  for (int burst = 0; burst < 4000; ++burst) {
    const std::size_t got = pool->get_batch(kPacketBytes, packets);
    Burst out;
    for (std::size_t i = 0; i < kBurst; ++i) {
      ++arrived;
      if (i >= got) {
        ++dropped;
        continue;
      }
      std::memcpy(packets[i].data(), &arrived, sizeof(arrived));
      out.handles[out.count] = std::move(packets[i]).release();
      REQUIRE(out.handles[out.count]);
      ++out.count;
    }
    forwarded += out.count;
    if (out.count != 0) worker.link().send(out);
  }
  worker.link().send(Burst{});
  const auto worked = worker.link().receive<Worked>();
  CHECK(worker.wait().well());
  CHECK(worker.failure() == "");
  CHECK(arrived == forwarded + dropped);
  CHECK(forwarded > arrived / 10);
  CHECK(worked.packets == forwarded);
  CHECK(worked.out_of_order == 0);
  CHECK(daemon.metric("zeropool_handoffs_total", {"pool=\"packets\""}) == forwarded);
  CHECK(daemon.metric("zeropool_handoffs_expired_total") == 0);
  *pool = Pool();  // what this thread keeps goes back
  CHECK(becomes_all_free(daemon));
}

TEST_CASE(
    "a receiver whose worker stands still drops, and what is on its way comes back by the lease") {
  const DaemonProcess daemon(small_setup("packet-buffers", 16));
  std::uint64_t lost = 0;
  std::thread([&] {
    auto pool = daemon.open("packets");
    REQUIRE_MESSAGE(pool, pool.error().sentence);
    std::array<Buffer, kBurst> packets;
    // Nobody adopts: at the end of the memory each packet is dropped, at once.
    for (int drops = 0; drops < 100;) {
      const std::size_t got = pool->get_batch(kPacketBytes, packets);
      for (std::size_t i = 0; i < got; ++i) {
        REQUIRE(std::move(packets[i]).release());
        ++lost;
      }
      if (got != 0) continue;
      ++drops;
      pause_briefly();
    }
    CHECK(lost > 1000);
  }).join();
  CHECK(becomes_all_free(daemon, 60s));
  CHECK(daemon.metric("zeropool_handoffs_expired_total", {"pool=\"packets\""}) == lost);
}
