// Objects in slots, and their hand-off by type.

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <unistd.h>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::ErrorCode;
using zeropool::Handle;
using zeropool::Pool;
using zeropool::TypedBuffer;
using zeropool::TypedPool;

namespace {

struct Tick {
  std::uint64_t number;
  double price;
};
struct Trade {
  std::uint64_t number;
  double price;
};
struct LongTick {
  std::uint64_t number;
  double price;
  double more;
};
struct alignas(256) Aligned {
  char bytes[100];
};
struct Huge {
  char bytes[2 * 1024 * 1024];
};

int alive = 0;
struct Counted {
  explicit Counted(int its_value) : value(its_value), text(std::to_string(its_value)) {
    if (value == 13) throw std::runtime_error("13");
    ++alive;
  }
  Counted(Counted&&) = delete;
  ~Counted() { --alive; }
  int value;
  std::string text;
};

constexpr const char* kConfig = R"(budget: 64MiB
pages: {size: [4KiB]}
pools:
  records:
    classes: [64, 192, 512, 4KiB, 64KiB]
    wait: {timeout: 2s}
    handoff: {lease: 60s}
)";

Pool open(const DaemonProcess& daemon) {
  auto pool = daemon.open();
  if (!pool) throw std::runtime_error(pool.error().sentence);
  return *pool;
}
std::uint64_t held(Pool& pool) {
  const zeropool::PoolStats stats = pool.stats();
  return stats.gets + stats.adopted - stats.released - stats.failures - stats.puts;
}

template <typename T>
concept Releases = requires(TypedBuffer<T> t) {
  zeropool::HandOff<T>::name;
};

}  // namespace

template <>
struct zeropool::HandOff<Tick> {
  static constexpr const char* name = "test.Tick";
  static constexpr std::uint32_t version = 1;
};
template <>
struct zeropool::HandOff<Trade> {
  static constexpr const char* name = "test.Trade";
  static constexpr std::uint32_t version = 1;
};
template <>
struct zeropool::HandOff<LongTick> {  // grown, and the version forgotten
  static constexpr const char* name = "test.Tick";
  static constexpr std::uint32_t version = 1;
};
template <>
struct zeropool::HandOff<Aligned> {
  static constexpr const char* name = "test.Aligned";
  static constexpr std::uint32_t version = 1;
};

static_assert(!zeropool::HandsOff<Counted> && zeropool::HandsOff<Tick>);
static_assert(!Releases<std::string>);

TEST_CASE("the tag is a function of name and version, the same in C, and never plain bytes'") {
  CHECK(zeropool::type_tag("test.Tick", 1) == zp_type_tag("test.Tick", 1));
  CHECK(zeropool::type_tag("test.Tick", 1) != zeropool::type_tag("test.Tick", 2));
  CHECK(zeropool::type_tag("test.Tick", 1) != zeropool::type_tag("test.Trade", 1));
  CHECK(zp_type_tag(nullptr, 0) == zeropool::type_tag("", 0));
  // Other languages and other processes must come to the same: it never changes.
  CHECK(zeropool::type_tag("", 0) == 790389);
  CHECK(zeropool::type_tag("test.Tick", 1) == 1901937);
  std::vector<bool> seen(zeropool::kMaxTypeTag + 1);
  std::size_t distinct = 0;
  for (std::uint32_t version = 0; version < 50'000; ++version) {
    const std::uint32_t tag = zeropool::type_tag("type", version);
    REQUIRE(tag <= zeropool::kMaxTypeTag);
    REQUIRE((tag & 0x3fff) != 0);
    if (!seen[tag]) ++distinct;
    seen[tag] = true;
  }
  CHECK(distinct > 49'000);  // by chance some 49,400
}

TEST_CASE("an object is constructed in its slot and destroyed there, once") {
  const DaemonProcess daemon(kConfig);
  TypedPool<Counted> pool(open(daemon));
  REQUIRE_MESSAGE(pool, pool.error().sentence);
  {
    TypedBuffer<Counted> a = pool.get(7);
    REQUIRE(a);
    CHECK(a->text == "7");
    CHECK(pool.pool().owns(a.get()));
    TypedBuffer<Counted> b = std::move(a);
    CHECK_FALSE(a);  // NOLINT(bugprone-use-after-move)
    CHECK(alive == 1);
    b = pool.try_get(8);
    CHECK(b->value == 8);
    CHECK(alive == 1);
    b.reset();
    CHECK(alive == 0);
    b = pool.get_within(10ms, 9);
    CHECK(b->value == 9);
  }
  CHECK(alive == 0);
  CHECK(held(pool.pool()) == 0);
}

TEST_CASE("a constructor's exception comes out, and the slot goes back") {
  const DaemonProcess daemon(kConfig);
  TypedPool<Counted> pool(open(daemon));
  for (int i = 0; i < 100; ++i) CHECK_THROWS_AS(pool.get(13), std::runtime_error);
  CHECK(held(pool.pool()) == 0);
  std::array<TypedBuffer<Counted>, 10> batch;
  CHECK_THROWS_AS(pool.get_batch(batch, 13), std::runtime_error);
  CHECK(alive == 0);
  CHECK(held(pool.pool()) == 0);
}

TEST_CASE("a batch is constructed, destroyed and put whole") {
  const DaemonProcess daemon(kConfig);
  TypedPool<Counted> pool(open(daemon));
  std::vector<TypedBuffer<Counted>> batch(100);
  const std::size_t got = pool.get_batch(batch, 5);
  REQUIRE(got > 0);
  CHECK(alive == static_cast<int>(got));
  for (std::size_t i = 0; i < batch.size(); ++i) CHECK(static_cast<bool>(batch[i]) == (i < got));
  CHECK(held(pool.pool()) == got);
  pool.put_batch(batch);
  CHECK(alive == 0);
  CHECK(held(pool.pool()) == 0);
}

TEST_CASE("a T that fits no class, or no class's alignment, is said when the TypedPool is made") {
  const DaemonProcess daemon(kConfig);
  TypedPool<Huge> too_large(open(daemon));
  CHECK_FALSE(too_large);
  CHECK(too_large.error().code == ErrorCode::too_large);
  CHECK(too_large.error().sentence.find("add a class") != std::string::npos);
  CHECK(too_large.get().error_code() == ErrorCode::too_large);
  CHECK(too_large.try_get().error_code() == ErrorCode::too_large);
  std::array<TypedBuffer<Huge>, 3> none;
  CHECK(too_large.get_batch(none) == 0);
  struct alignas(8192) Wide {
    char byte;
  };
  TypedPool<Wide> too_aligned(open(daemon));
  CHECK_FALSE(too_aligned);
  CHECK(too_aligned.error().code == ErrorCode::invalid_argument);
  CHECK(too_aligned.error().sentence.find("alignment of 8192") != std::string::npos);
  CHECK(too_aligned.get().error_code() == ErrorCode::invalid_argument);
  TypedPool<Tick> closed{Pool()};
  CHECK(closed.error().code == ErrorCode::invalid_argument);
}

TEST_CASE("an alignment beyond 64 bytes chooses a class that has it") {
  const DaemonProcess daemon(kConfig);
  TypedPool<Aligned> pool(open(daemon));  // 256 bytes: the class of 512
  REQUIRE_MESSAGE(pool, pool.error().sentence);
  std::vector<TypedBuffer<Aligned>> held_ones;
  for (int i = 0; i < 20; ++i) {
    held_ones.push_back(pool.get());
    REQUIRE(held_ones.back());
    CHECK(reinterpret_cast<std::uintptr_t>(held_ones.back().get()) % 256 == 0);
  }
  TypedBuffer<Aligned> back = pool.adopt(std::move(held_ones[0]).release());
  CHECK(back);
}

TEST_CASE("an object travels between processes and comes back") {
  const DaemonProcess daemon(kConfig);
  ChildProcess other([&](Link& parent) {
    TypedPool<Tick> pool(open(daemon));
    parent.signal();
    for (std::uint64_t i = 0; i < 1000; ++i) {
      TypedBuffer<Tick> tick = pool.adopt(parent.receive<Handle>());
      expect(static_cast<bool>(tick), tick.error().sentence);
      expect(tick->number == i && tick->price == 0.5 * static_cast<double>(i), "another object");
      tick->number = ~i;
      parent.send(std::move(tick).release());
    }
  });
  TypedPool<Tick> pool(open(daemon));
  other.link().await();
  for (std::uint64_t i = 0; i < 1000; ++i) {
    TypedBuffer<Tick> tick = pool.get(Tick{i, 0.5 * static_cast<double>(i)});
    REQUIRE(tick);
    const Handle handle = std::move(tick).release();
    REQUIRE(handle);
    CHECK_FALSE(tick);  // NOLINT(bugprone-use-after-move)
    other.link().send(handle);
    TypedBuffer<Tick> back = pool.adopt(other.link().receive<Handle>());
    REQUIRE(back);
    REQUIRE(back->number == ~i);
  }
  CHECK(other.wait().well());
  CHECK(other.failure() == "");
  CHECK(held(pool.pool()) == 0);
  CHECK(daemon.audit()["in_transit"] == 0);
}

TEST_CASE(
    "adopting as another type, another size, or as bytes is refused, and the handle stays good") {
  const DaemonProcess daemon(kConfig);
  struct Outcome {
    ErrorCode as_trade, as_long, as_bytes, as_itself;
    std::uint64_t number;
    std::uint64_t stale_handles;
  };
  TypedPool<Tick> pool(open(daemon));
  ChildProcess other([&](Link& parent) {
    Pool bytes = open(daemon);
    TypedPool<Tick> ticks(bytes);
    TypedPool<Trade> trades(bytes);
    TypedPool<LongTick> longs(bytes);
    const auto handle = parent.receive<Handle>();
    Outcome outcome{};
    outcome.as_trade = trades.adopt(handle).error_code();
    outcome.as_long = longs.adopt(handle).error_code();
    Buffer plain = bytes.adopt(handle);
    outcome.as_bytes = plain.error_code();
    expect(plain.error().sentence.find("plain bytes") != std::string::npos, plain.error().sentence);
    TypedBuffer<Tick> tick = ticks.adopt(handle);
    outcome.as_itself = tick.error_code();
    outcome.number = tick ? tick->number : 0;
    outcome.stale_handles = bytes.stats().stale_handles;
    parent.send(outcome);
  });
  TypedBuffer<Tick> tick = pool.get(Tick{42, 1});
  other.link().send(std::move(tick).release());
  const auto outcome = other.link().receive<Outcome>();
  CHECK(other.wait().well());
  CHECK(other.failure() == "");
  CHECK(outcome.as_trade == ErrorCode::wrong_type);
  CHECK(outcome.as_long == ErrorCode::wrong_type);
  CHECK(outcome.as_bytes == ErrorCode::wrong_type);
  CHECK(outcome.as_itself == ErrorCode::ok);
  CHECK(outcome.number == 42);
  CHECK(outcome.stale_handles == 0);
}

TEST_CASE("plain bytes are no object; a releaser takes its own back by type, and once") {
  const DaemonProcess daemon(kConfig);
  Pool bytes = open(daemon);
  TypedPool<Tick> pool(bytes);
  const Handle plain = bytes.get(sizeof(Tick)).release();
  REQUIRE(plain);
  CHECK(pool.adopt(plain).error_code() == ErrorCode::wrong_type);
  CHECK(bytes.adopt(plain));
  TypedBuffer<Tick> tick = pool.get(Tick{1, 2});
  const Handle handle = std::move(tick).release();
  CHECK(pool.adopt(handle));
  CHECK(pool.adopt(handle).error_code() == ErrorCode::stale_handle);
  CHECK(bytes.adopt(handle).error_code() == ErrorCode::stale_handle);
  // The tag is in two places; a handle whose part is changed is refused, and stays good.
  tick = pool.get(Tick{3, 4});
  const Handle good = std::move(tick).release();
  for (int bit = 1; bit < 8; ++bit) {
    Handle forged = good;
    forged.raw.word[0] ^= std::uint64_t{1} << bit;
    CHECK(pool.adopt(forged).error_code() == ErrorCode::wrong_type);
  }
  CHECK(pool.adopt(good)->number == 3);
  CHECK(held(bytes) == 0);
}

TEST_CASE("a typed handle that nobody adopts comes back by its lease; a dead receiver's, at once") {
  const DaemonProcess daemon(R"(budget: 16MiB
pages: {size: [4KiB]}
pools:
  records: {classes: [64], handoff: {lease: 200ms}}
)");
  TypedPool<Tick> pool(open(daemon));
  TypedBuffer<Tick> tick = pool.get(Tick{1, 2});
  const Handle handle = std::move(tick).release();
  {
    ChildProcess releaser([&](Link& parent) {
      TypedPool<Tick> its(open(daemon));
      TypedBuffer<Tick> one = its.get(Tick{5, 6});
      parent.send(std::move(one).release());
      pause();
    });
    const auto from_the_dead = releaser.link().receive<Handle>();
    CHECK(pool.adopt(handle));
    releaser.kill();
    CHECK(eventually([&] { return daemon.audit()["in_transit"] == 0; }, 60s));
    CHECK(pool.adopt(from_the_dead).error_code() == ErrorCode::stale_handle);
  }
}

TEST_CASE("an object inherited by fork is neither destroyed nor put by the child") {
  const DaemonProcess daemon(kConfig);
  TypedPool<Counted> pool(open(daemon));
  TypedBuffer<Counted> mine = pool.get(3);
  ChildProcess child([&](Link&) {
    mine.reset();  // before the child has attached
    expect(alive == 1, "the child has destroyed the parent's object");
    TypedBuffer<Counted> own = pool.get(4);
    expect(static_cast<bool>(own), own.error().sentence);
    expect(own->text == "4", "the child's object is another");
  });
  CHECK(child.wait().well());
  CHECK(child.failure() == "");
  CHECK(mine->text == "3");
  mine.reset();
  CHECK(alive == 0);
}

TEST_CASE("C programs hand typed buffers to C++ ones and back; what is no such type is refused") {
  const DaemonProcess daemon(kConfig);
  Pool bytes = open(daemon);
  TypedPool<Tick> pool(bytes);
  const zp_type type{zp_type_tag("test.Tick", 1), alignof(Tick), sizeof(Tick)};
  zp_buffer raw{};
  zp_handle handle{};
  REQUIRE(zp_get(bytes.c_pool(), sizeof(Tick), &raw) == 0);
  const Tick sent{77, 1.5};
  std::memcpy(raw.data, &sent, sizeof(sent));
  zp_type bad = type;
  bad.bytes += 8;
  CHECK(zp_release_as(&raw, 0, &bad, &handle) == ZP_INVALID_ARGUMENT);
  bad = type;
  bad.alignment = 3;
  CHECK(zp_release_as(&raw, 0, &bad, &handle) == ZP_INVALID_ARGUMENT);
  bad = type;
  bad.tag = 0;
  CHECK(zp_release_as(&raw, 0, &bad, &handle) == ZP_INVALID_ARGUMENT);
  CHECK(zp_release_as(&raw, 0, nullptr, &handle) == ZP_INVALID_ARGUMENT);
  REQUIRE(raw.data != nullptr);
  REQUIRE(zp_release_as(&raw, 0, &type, &handle) == 0);
  CHECK(raw.data == nullptr);
  CHECK(zp_adopt(bytes.c_pool(), handle, &raw) == ZP_WRONG_TYPE);
  CHECK(std::string(zp_strerror(ZP_WRONG_TYPE)) == "wrong_type");
  TypedBuffer<Tick> tick = pool.adopt(Handle{handle});
  REQUIRE(tick);
  CHECK(tick->number == 77);
  handle = std::move(tick).release().raw;
  CHECK(zp_adopt_as(bytes.c_pool(), handle, nullptr, &raw) == ZP_INVALID_ARGUMENT);
  CHECK(zp_adopt_as(nullptr, handle, &type, &raw) == ZP_INVALID_ARGUMENT);
  CHECK(zp_adopt_as(bytes.c_pool(), handle, &type, nullptr) == ZP_INVALID_ARGUMENT);
  REQUIRE(zp_adopt_as(bytes.c_pool(), handle, &type, &raw) == 0);
  CHECK(raw.size == sizeof(Tick));
  CHECK(zp_inherited(&raw) == 0);
  CHECK(zp_owns(bytes.c_pool(), raw.data) == 1);
  CHECK(zp_owns(bytes.c_pool(), &raw) == 0);
  CHECK(zp_put(&raw) == 0);
  CHECK(held(bytes) == 0);
}

TEST_CASE("threads get, hand over within the process, and put typed objects at once") {
  const DaemonProcess daemon(kConfig);
  TypedPool<Tick> pool(open(daemon));
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t i = 0; i < 5000; ++i) {
        TypedBuffer<Tick> tick = pool.get(Tick{t * 1'000'000 + i, 0});
        if (!tick || tick->number != t * 1'000'000 + i) ++wrong;
        if (i % 4 != 0 || !tick) continue;
        TypedBuffer<Tick> back = pool.adopt(std::move(tick).release());
        if (!back || back->number != t * 1'000'000 + i) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(held(pool.pool()) == 0);
}
