// What one thread of one process sees: gets, puts, batches, sizes, errors, counts.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/daemon_process.hpp"
#include "support/pattern.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::ErrorCode;
using zeropool::Pool;
using zeropool::PoolStats;

namespace {

constexpr std::size_t kKiB = 1024;
constexpr std::size_t kMiB = 1024 * kKiB;

constexpr const char* kConfig = R"(budget: 128MiB
pools:
  frames:
    classes: [4KiB, 64KiB, 1MiB]
    wait: {timeout: 2s}
)";

std::uint64_t served_or_failed(const PoolStats& stats) {
  return stats.tls_hits + stats.shared_hits + stats.allocations + stats.failures;
}

// Holds everything that can be had, in the largest class.
std::vector<Buffer> take_all(Pool& pool, std::size_t bytes) {
  std::vector<Buffer> held;
  for (;;) {
    Buffer buffer = pool.get(bytes, 200ms);
    if (!buffer) return held;
    held.push_back(std::move(buffer));
    REQUIRE(held.size() < 10000);
  }
}

}  // namespace

TEST_CASE("a pool opens by its name, and as the only one by no name") {
  const DaemonProcess daemon(kConfig);
  auto named = daemon.open("frames");
  REQUIRE(named);
  auto unnamed = daemon.open();
  REQUIRE(unnamed);
  CHECK(named->name() == "frames");
  CHECK(unnamed->name() == "frames");
  CHECK(named->client_id() != 0);
}

TEST_CASE("a pool opened twice is one attachment") {
  const DaemonProcess daemon(kConfig);
  auto first = daemon.open("frames");
  auto second = daemon.open("frames");
  REQUIRE(first);
  REQUIRE(second);
  CHECK(first->client_id() == second->client_id());
  CHECK(daemon.clients() == 1);
}

TEST_CASE("buffers of all sizes are apart from each other and keep their bytes") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  std::vector<std::size_t> sizes;
  for (const std::size_t border : {std::size_t{64}, 4 * kKiB, 64 * kKiB, kMiB}) {
    for (const std::size_t size : {border - 1, border, border + 1}) {
      if (size <= kMiB) sizes.push_back(size);
    }
  }
  for (std::size_t size = 1; size < kMiB; size = size * 5 / 3 + 1) sizes.push_back(size);

  std::vector<Buffer> held;
  for (const std::size_t size : sizes) {
    Buffer buffer = pool->get(size);
    REQUIRE_MESSAGE(buffer, buffer.error().sentence);
    CHECK(buffer.size() == size);
    CHECK(buffer.span().size() == size);
    CHECK(buffer.capacity() >= size);
    CHECK(reinterpret_cast<std::uintptr_t>(buffer.data()) % 4096 == 0);
    write_pattern(buffer, held.size(), 8);
    held.push_back(std::move(buffer));
  }
  for (std::size_t i = 0; i < held.size(); ++i) CHECK(has_pattern(held[i], i, 8));
  std::sort(held.begin(), held.end(),
            [](const Buffer& a, const Buffer& b) { return a.data() < b.data(); });
  for (std::size_t i = 1; i < held.size(); ++i) {
    CHECK(held[i - 1].data() + held[i - 1].capacity() <= held[i].data());
  }
  const auto audit = daemon.audit();
  CHECK(audit["held"] == held.size());
  held.clear();
  CHECK(daemon.audit()["held"] == 0);
}

TEST_CASE("the smallest class that fits serves a size") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  CHECK(pool->get(1).capacity() == 4 * kKiB);
  CHECK(pool->get(4 * kKiB).capacity() == 4 * kKiB);
  CHECK(pool->get(4 * kKiB + 1).capacity() == 64 * kKiB);
  CHECK(pool->get(64 * kKiB + 1).capacity() == kMiB);
  CHECK(Buffer().capacity() == 0);
}

TEST_CASE("sizes that no class serves are refused with the reason") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  const Buffer nothing = pool->get(0);
  CHECK(nothing.error_code() == ErrorCode::invalid_size);
  for (const std::size_t size :
       {kMiB + 1, std::size_t{1} << 32, (std::size_t{1} << 32) + 1, SIZE_MAX - 4095, SIZE_MAX}) {
    CAPTURE(size);
    const Buffer buffer = pool->get(size);
    CHECK_FALSE(buffer);
    CHECK(buffer.error_code() == ErrorCode::too_large);
    CHECK(buffer.error().sentence.find("1 MiB") != std::string::npos);
    CHECK(pool->try_get(size).error_code() == ErrorCode::too_large);
    CHECK(pool->get(size, 1ms).error_code() == ErrorCode::too_large);
    const std::array sizes = {std::size_t{1}, size};
    CHECK(pool->get_batch(sizes).error_code() == ErrorCode::too_large);
    std::array<Buffer, 3> into;
    CHECK(pool->get_batch(size, into) == 0);
  }
  CHECK(pool->get(1));
  CHECK(daemon.audit()["held"] == 0);
}

TEST_CASE("resize stays within the capacity") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  Buffer buffer = pool->get(100);
  REQUIRE(buffer);
  CHECK(buffer.resize(4096));
  CHECK(buffer.size() == 4096);
  CHECK_FALSE(buffer.resize(4097));
  CHECK_FALSE(buffer.resize(0));
  CHECK_FALSE(buffer.resize(SIZE_MAX));
  CHECK(buffer.size() == 4096);
  Buffer empty;
  CHECK_FALSE(empty.resize(1));
}

TEST_CASE("a buffer can be read as a type that fits into it") {
  struct Header {
    std::uint64_t number;
    std::uint32_t kind;
  };
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  Buffer buffer = pool->get(sizeof(Header));
  REQUIRE(buffer);
  *buffer.as<Header>() = Header{77, 3};
  CHECK(buffer.as<Header>()->number == 77);
  CHECK(buffer.as<Header>()->kind == 3);
  REQUIRE(buffer.resize(sizeof(Header) - 1));
  CHECK(buffer.as<Header>() == nullptr);
  CHECK(Buffer().as<Header>() == nullptr);
}

TEST_CASE("options of a get: zeroed bytes, a node") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  for (int i = 0; i < 3; ++i) {
    Buffer dirty = pool->get(4096);
    std::fill(dirty.span().begin(), dirty.span().end(), std::byte{0xab});
    const std::byte* const where = dirty.data();
    dirty.reset();
    Buffer clean = pool->get(4096, {.zero = true});
    REQUIRE(clean);
    CHECK(clean.data() == where);  // what was put last is got first
    CHECK(std::all_of(clean.span().begin(), clean.span().end(),
                      [](std::byte b) { return b == std::byte{0}; }));
  }
  const Buffer here = pool->get(4096);
  const Buffer same = pool->get(4096, {.node = here.node()});
  REQUIRE(same);
  CHECK(same.node() == here.node());
  const Buffer nowhere = pool->get(4096, {.node = 777});
  CHECK(nowhere.error_code() == ErrorCode::invalid_argument);
  CHECK(nowhere.error().sentence.find("777") != std::string::npos);
}

TEST_CASE("a moved-from buffer is empty, a self-move changes nothing") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  Buffer first = pool->get(100);
  std::byte* const where = first.data();
  Buffer second = std::move(first);
  CHECK_FALSE(first);  // NOLINT(bugprone-use-after-move): what is left is the test
  CHECK(first.data() == nullptr);
  CHECK(first.size() == 0);
  CHECK(first.error_code() == ErrorCode::ok);
  first.reset();
  Buffer& alias = second;
  second = std::move(alias);
  CHECK(second.data() == where);
  CHECK(second.size() == 100);
  second = pool->get(200);
  CHECK(second.size() == 200);
  CHECK(daemon.audit()["held"] == 1);
  second = Buffer();
  CHECK(daemon.audit()["held"] == 0);
  CHECK(pool->stats().double_puts == 0);
}

TEST_CASE("try_get ends at once with would_wait when nothing is at hand") {
  const DaemonProcess daemon("budget: 24MiB\npools: {frames: {classes: [1MiB]}}\n");
  auto pool = daemon.open();
  REQUIRE(pool);
  std::vector<Buffer> held = take_all(*pool, kMiB);
  REQUIRE(!held.empty());
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 1000; ++i) {
    const Buffer buffer = pool->try_get(kMiB);
    CHECK(buffer.error_code() == ErrorCode::would_wait);
  }
  CHECK(std::chrono::steady_clock::now() - begin < 3s);
  held.pop_back();
  // zeropoold hears in a moment that nobody waits any more.
  CHECK(eventually([&] { return static_cast<bool>(pool->try_get(kMiB)); }));
}

TEST_CASE("a get waits as long as it was told, not longer") {
  const DaemonProcess daemon(
      "budget: 24MiB\npools: {frames: {classes: [1MiB], wait: {timeout: 1500ms}}}\n");
  auto pool = daemon.open();
  REQUIRE(pool);
  const std::vector<Buffer> held = take_all(*pool, kMiB);
  const auto time_of = [&](auto get) {
    const auto begin = std::chrono::steady_clock::now();
    const Buffer buffer = get();
    const auto took = std::chrono::steady_clock::now() - begin;
    CHECK_FALSE(buffer);
    const ErrorCode code = buffer.error_code();
    CHECK((code == ErrorCode::budget_exhausted || code == ErrorCode::timed_out));
    return took;
  };
  CHECK(time_of([&] { return pool->get(kMiB, 0ms); }) < 1400ms);
  CHECK(time_of([&] { return pool->get(kMiB, -5ms); }) < 1400ms);
  const auto short_wait = time_of([&] { return pool->get(kMiB, 100ms); });
  CHECK(short_wait >= 100ms);
  CHECK(short_wait < 1400ms);
  const auto pool_wait = time_of([&] { return pool->get(kMiB); });
  CHECK(pool_wait >= 1500ms);
  CHECK(pool_wait < 6s);
}

TEST_CASE("a batch of mixed sizes is all or none") {
  const DaemonProcess daemon(
      "budget: 64MiB\npools: {frames: {classes: [4KiB, 64KiB, 1MiB], wait: {timeout: 200ms}}}\n");
  auto pool = daemon.open();
  REQUIRE(pool);
  const std::array<std::size_t, 7> sizes = {1, 5000, 4096, kMiB, 70000, 64 * kKiB, 1};
  {
    auto batch = pool->get_batch(sizes);
    REQUIRE_MESSAGE(batch, batch.error().sentence);
    REQUIRE(batch.size() == sizes.size());
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      CHECK(batch[i].size() == sizes[i]);
      write_pattern(batch[i], i);
    }
    for (std::size_t i = 0; i < sizes.size(); ++i) CHECK(has_pattern(batch[i], i));
    CHECK(daemon.audit()["held"] == sizes.size());
  }
  CHECK(daemon.audit()["held"] == 0);

  std::vector<std::size_t> too_many(100, kMiB);
  too_many.push_back(1);
  const PoolStats before = pool->stats();
  auto none = pool->get_batch(too_many);
  CHECK_FALSE(none);
  CHECK(none.size() == 0);
  CHECK((none.error_code() == ErrorCode::budget_exhausted ||
         none.error_code() == ErrorCode::too_large || none.error_code() == ErrorCode::timed_out));
  CHECK_FALSE(none.error().sentence.empty());
  CHECK(daemon.audit()["held"] == 0);
  const PoolStats after = pool->stats();
  CHECK(after.failures > before.failures);
  CHECK(after.gets == served_or_failed(after));
  CHECK(pool->get_batch(std::span<const std::size_t>()).error_code() == ErrorCode::invalid_size);
  CHECK(pool->get_batch(sizes));
}

TEST_CASE("many of one size come and go as a span") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  std::vector<Buffer> buffers(500);
  for (int round = 0; round < 20; ++round) {
    std::size_t got = 0;
    while (got < buffers.size()) {
      const std::size_t more = pool->get_batch(3000, std::span(buffers).subspan(got));
      REQUIRE(more > 0);
      got += more;
    }
    for (std::size_t i = 0; i < got; ++i) {
      REQUIRE(buffers[i].size() == 3000);
      write_pattern(buffers[i], i);
    }
    for (std::size_t i = 0; i < got; ++i) REQUIRE(has_pattern(buffers[i], i));
    pool->put_batch(buffers);
    for (const Buffer& buffer : buffers) REQUIRE_FALSE(buffer);
  }
  const PoolStats stats = pool->stats();
  CHECK(stats.gets == served_or_failed(stats));
  CHECK(stats.gets - stats.failures == 20 * buffers.size());
  CHECK(stats.puts == 20 * buffers.size());
  CHECK(daemon.audit()["held"] == 0);
}

TEST_CASE("a span put with empty, mixed and repeated buffers puts each once") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  std::vector<Buffer> buffers(9);
  for (std::size_t i = 0; i < buffers.size(); i += 2)
    buffers[i] = pool->get(i % 4 == 0 ? 1 : 70000);
  pool->put_batch(buffers);
  CHECK(daemon.audit()["held"] == 0);
  pool->put_batch(buffers);
  pool->put_batch({});
  CHECK(pool->stats().double_puts == 0);
  CHECK(pool->stats().puts == 5);

  zp_buffer twice[2];
  REQUIRE(zp_get(pool->c_pool(), 1, &twice[0]) == 0);
  twice[1] = twice[0];
  zp_put_batch(twice, 2);
  CHECK(pool->stats().double_puts == 1);
  CHECK(all_free(daemon.audit()) == false);  // the thread's cache has it
  CHECK(daemon.audit()["doubled"] == 0);
  CHECK(daemon.audit()["held"] == 0);
}

TEST_CASE("the counts add up, and the hit rates come from them") {
  const DaemonProcess daemon(kConfig);
  auto pool = daemon.open();
  REQUIRE(pool);
  CHECK(pool->hit_rate() == 0.0);
  constexpr std::uint64_t kGets = 10000;
  for (std::uint64_t i = 0; i < kGets; ++i) REQUIRE(pool->get(1 + i % 5000));
  CHECK_FALSE(pool->get(0));
  CHECK_FALSE(pool->get(SIZE_MAX));
  const PoolStats stats = pool->stats();
  CHECK(stats.gets == kGets + 2);
  CHECK(stats.gets == served_or_failed(stats));
  CHECK(stats.failures == 2);
  CHECK(stats.puts == kGets);
  CHECK(stats.tls_hits > kGets * 9 / 10);
  const auto served = static_cast<double>(kGets);
  CHECK(pool->hit_rate() ==
        doctest::Approx(static_cast<double>(stats.tls_hits + stats.shared_hits) / served));
  CHECK(stats.tls_hit_rate() == doctest::Approx(static_cast<double>(stats.tls_hits) / served));
  CHECK(stats.released == 0);
  CHECK(stats.adopted == 0);
}

TEST_CASE("two pools in one thread share nothing") {
  const DaemonProcess daemon(
      "budget: 128MiB\npools:\n  a: {classes: [4KiB]}\n  b: {classes: [4KiB, 8KiB]}\n");
  auto a = daemon.open("a");
  auto b = daemon.open("b");
  REQUIRE(a);
  REQUIRE(b);
  for (std::uint64_t i = 0; i < 2000; ++i) {
    Buffer of_a = a->get(4096);
    Buffer of_b = b->get(i % 2 == 0 ? 4096 : 8192);
    REQUIRE(of_a);
    REQUIRE(of_b);
    write_pattern(of_a, 2 * i);
    write_pattern(of_b, 2 * i + 1);
    REQUIRE(has_pattern(of_a, 2 * i));
    REQUIRE(has_pattern(of_b, 2 * i + 1));
    if (i % 3 == 0) of_a.reset();
  }
  CHECK(a->stats().gets == 2000);
  CHECK(b->stats().gets == 2000);
  CHECK(daemon.pool("a")["clients"] == 1);
  Buffer of_a = a->get(1);
  const zeropool::Handle handle = std::move(of_a).release();
  REQUIRE(handle);
  CHECK(b->adopt(handle).error_code() == ErrorCode::stale_handle);
  CHECK(a->adopt(handle));
}

TEST_CASE("the 65th pool of a process is refused with the reason") {
  std::string config = "budget: 512MiB\nlimits: {clients: 80, threads: 16}\npools:\n";
  for (int i = 0; i < 33; ++i) config += "  p" + std::to_string(i) + ": {classes: [4KiB]}\n";
  const DaemonProcess daemon(config);
  // The same pools by another way to the same socket are other attachments.
  auto options = daemon.options();
  std::vector<Pool> pools;
  for (int i = 0; i < 64; ++i) {
    if (i == 33) options.socket = daemon.folder() + "/./zeropoold.sock";
    auto pool = Pool::open("p" + std::to_string(i % 33), options);
    REQUIRE_MESSAGE(pool, pool.error().sentence);
    pools.push_back(*pool);
  }
  auto refused = Pool::open("p32", options);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::system);
  CHECK(refused.error().sentence.find("64 pools") != std::string::npos);
  for (Pool& pool : pools) CHECK(pool.get(1));
  pools.pop_back();
  auto again = Pool::open("p32", options);
  REQUIRE(again);
  CHECK(again->get(1));
}
