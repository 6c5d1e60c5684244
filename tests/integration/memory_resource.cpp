// A pool under std::pmr containers.

#include <cstdint>
#include <cstring>
#include <list>
#include <memory>
#include <memory_resource>
#include <new>
#include <string>
#include <thread>
#include <unistd.h>
#include <unordered_map>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"
#include "support/pattern.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::ErrorCode;
using zeropool::MemoryResource;
using zeropool::MemoryResourceOptions;
using zeropool::Pool;
using zeropool::WhenExhausted;

namespace {

constexpr const char* kConfig = R"(budget: 64MiB
pages: {size: [4KiB]}
pools:
  memory:
    classes: [1KiB, 4KiB, 6208, 64KiB, 1MiB]
    wait: {timeout: 2s}
)";
constexpr const char* kSmall = R"(budget: 32MiB
pages: {size: [4KiB]}
pools:
  memory: {classes: [64KiB], limit: 4MiB, wait: {timeout: 100ms}, thread_cache: 64KiB}
)";

// Counts what is out; everything is from the heap.
class Counting final : public std::pmr::memory_resource {
 public:
  std::size_t allocations = 0;
  std::size_t out = 0;

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    ++allocations;
    out += bytes;
    return std::pmr::new_delete_resource()->allocate(bytes, alignment);
  }
  void do_deallocate(void* data, std::size_t bytes, std::size_t alignment) override {
    out -= bytes;
    std::pmr::new_delete_resource()->deallocate(data, bytes, alignment);
  }
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }
};

Pool open(const DaemonProcess& daemon) {
  auto pool = daemon.open();
  REQUIRE_MESSAGE(pool.has_value(), pool.error().sentence);
  return *pool;
}

std::uint64_t held(Pool& pool) {
  const zeropool::PoolStats stats = pool.stats();
  return stats.gets - stats.failures - stats.puts;
}

}  // namespace

TEST_CASE("a container's memory is held in the pool, and counted there, until it is gone") {
  const DaemonProcess daemon(kConfig);
  Pool pool = open(daemon);
  MemoryResource memory{pool};
  {
    std::pmr::vector<std::uint64_t> numbers(100'000, 7, &memory);
    CHECK(pool.owns(numbers.data()));
    CHECK(held(pool) == 1);
    CHECK(daemon.audit()["held"] == 1);
    const auto clients = daemon.ctl_json({"clients"})["clients"];
    REQUIRE(clients.size() == 1);
    CHECK(clients[0]["held_bytes"] == 1024 * 1024);
  }
  CHECK(held(pool) == 0);
}

TEST_CASE("vector, string, unordered_map, list keep their contents, whatever they grow to") {
  const DaemonProcess daemon(kConfig);
  Pool pool = open(daemon);
  Counting upstream;
  MemoryResource memory{pool, {.upstream = &upstream}};
  {
    std::pmr::vector<int> numbers(&memory);
    std::pmr::string text(&memory);
    std::pmr::unordered_map<int, std::pmr::string> table(&memory);
    std::pmr::list<std::pmr::vector<char>> list(&memory);
    for (int i = 0; i < 20'000; ++i) {
      numbers.push_back(i);
      text += static_cast<char>('a' + i % 26);
      if (i % 10 == 0) table.emplace(i, std::string(static_cast<std::size_t>(i) % 5000, 'x'));
      if (i % 100 == 0) list.emplace_back(i, 'y');
    }
    for (int i = 0; i < 20'000; ++i) {
      REQUIRE(numbers[static_cast<std::size_t>(i)] == i);
      REQUIRE(text[static_cast<std::size_t>(i)] == 'a' + i % 26);
      if (i % 10 == 0) REQUIRE(table.at(i).size() == static_cast<std::size_t>(i) % 5000);
    }
    CHECK(held(pool) > 100);
    CHECK(upstream.out > 0);  // the nodes
    table.erase(10);
    table.rehash(4096);
  }
  CHECK(held(pool) == 0);
  CHECK(upstream.out == 0);
}

TEST_CASE("monotonic_buffer_resource and unsynchronized_pool_resource work on top") {
  const DaemonProcess daemon(kConfig);
  Pool pool = open(daemon);
  MemoryResource memory{pool};
  {
    std::pmr::monotonic_buffer_resource monotonic(4096, &memory);
    std::pmr::unsynchronized_pool_resource pools(&memory);
    std::pmr::vector<std::pmr::string> first(&monotonic);
    std::pmr::vector<std::pmr::string> second(&pools);
    for (int i = 0; i < 3000; ++i) {
      first.emplace_back(std::to_string(i) + std::string(50, 'a'));
      second.emplace_back(std::to_string(i) + std::string(50, 'b'));
    }
    CHECK(std::string(first[2999]) == "2999" + std::string(50, 'a'));
    CHECK(std::string(second[2999]) == "2999" + std::string(50, 'b'));
    CHECK(held(pool) > 2);
  }
  CHECK(held(pool) == 0);
}

TEST_CASE(
    "what is smaller than half the smallest class, or larger than the largest, is upstream's") {
  const DaemonProcess daemon(kConfig);
  Pool pool = open(daemon);
  Counting upstream;
  MemoryResource memory{pool, {.upstream = &upstream}};
  CHECK(memory.options().least_bytes == 513);
  CHECK_FALSE(memory.pays(512));
  CHECK(memory.pays(513));
  CHECK(memory.pays(1024 * 1024));
  CHECK_FALSE(memory.pays(1024 * 1024 + 1));
  for (const std::size_t bytes : {0UL, 1UL, 512UL, 1024UL * 1024 + 1, 5UL * 1024 * 1024}) {
    void* data = memory.allocate(bytes);
    CHECK_FALSE(pool.owns(data));
    CHECK(upstream.out == bytes);
    memory.deallocate(data, bytes);
  }
  CHECK(pool.stats().gets == 0);
  MemoryResource all{pool, {.least_bytes = 1, .upstream = &upstream}};
  void* data = all.allocate(1);
  CHECK(pool.owns(data));
  all.deallocate(data, 1);
  CHECK(held(pool) == 0);
}

TEST_CASE("every alignment is honoured, and the bytes are the caller's alone") {
  const DaemonProcess daemon(kConfig);
  Pool pool = open(daemon);
  MemoryResource memory{pool};
  struct Piece {
    std::byte* data;
    std::size_t bytes;
    std::size_t alignment;
  };
  std::vector<Piece> pieces;
  for (std::size_t alignment = 1; alignment <= 2 * 1024 * 1024; alignment *= 2) {
    for (const std::size_t bytes : {600UL, 1024UL, 5000UL, 6208UL, 65536UL}) {
      for (int i = 0; i < 2; ++i) {
        auto* data = static_cast<std::byte*>(memory.allocate(bytes, alignment));
        REQUIRE(reinterpret_cast<std::uintptr_t>(data) % alignment == 0);
        if (alignment <= 4096) REQUIRE(pool.owns(data));
        write_pattern(data, bytes, pieces.size());
        pieces.push_back({data, bytes, alignment});
      }
    }
  }
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    REQUIRE(broken_at(pieces[i].data, pieces[i].bytes, i) == pieces[i].bytes);
  }
  for (const Piece& piece : pieces) memory.deallocate(piece.data, piece.bytes, piece.alignment);
  CHECK(held(pool) == 0);
  CHECK(daemon.audit()["held"] == 0);
}

TEST_CASE(
    "an exhausted pool means bad_alloc, or upstream, as the option says; each goes back home") {
  const DaemonProcess daemon(kSmall);
  Pool pool = open(daemon);
  Counting upstream;
  constexpr std::size_t kBytes = 64 * 1024;
  std::vector<zeropool::Buffer> all;
  for (;;) {
    zeropool::Buffer buffer = pool.get(kBytes);
    if (!buffer) break;
    all.push_back(std::move(buffer));
  }
  REQUIRE(all.size() > 2);
  for (const std::chrono::nanoseconds timeout : {-1ns, 0ns, std::chrono::nanoseconds(1ms)}) {
    MemoryResource fails{pool, {.timeout = timeout, .upstream = &upstream}};
    CHECK_THROWS_AS(static_cast<void>(fails.allocate(kBytes)), std::bad_alloc);
    CHECK(upstream.allocations == 0);
  }
  MemoryResource goes_on{
      pool, {.when_exhausted = WhenExhausted::kUpstream, .timeout = 0ns, .upstream = &upstream}};
  void* fallen = goes_on.allocate(kBytes);
  CHECK_FALSE(pool.owns(fallen));
  CHECK(upstream.out == kBytes);
  const std::size_t before = all.size();
  all.pop_back();
  MemoryResource waits{
      pool, {.when_exhausted = WhenExhausted::kUpstream, .timeout = 60s, .upstream = &upstream}};
  void* in_slot = waits.allocate(kBytes);
  CHECK(pool.owns(in_slot));
  CHECK(upstream.out == kBytes);
  CHECK(waits == goes_on);
  goes_on.deallocate(in_slot, kBytes);
  goes_on.deallocate(fallen, kBytes);
  CHECK(upstream.out == 0);
  CHECK(held(pool) == before - 1);
}

TEST_CASE("resources of one pool are equal, of others not; moves between equal ones copy nothing") {
  const DaemonProcess daemon(kConfig);
  Pool pool = open(daemon);
  MemoryResource a{pool};
  MemoryResource b{pool};
  MemoryResource other_size{pool, {.least_bytes = 4096}};
  MemoryResource no_pool{Pool()};
  Counting counting;
  CHECK(a == b);
  CHECK_FALSE(a == other_size);
  CHECK_FALSE(a == no_pool);
  CHECK_FALSE(a == counting);
  CHECK_FALSE(a == *std::pmr::new_delete_resource());
  std::pmr::vector<char> from(5000, 'x', &a);
  const char* data = from.data();
  std::pmr::vector<char> to(&b);
  to = std::move(from);
  CHECK(to.data() == data);
  std::pmr::vector<char> elsewhere(&other_size);
  elsewhere = std::move(to);
  CHECK(elsewhere.data() != data);
  CHECK((elsewhere == std::pmr::vector<char>(5000, 'x')));
}

TEST_CASE("an empty Pool leaves everything to upstream") {
  Counting upstream;
  MemoryResource memory{Pool(), {.upstream = &upstream}};
  {
    std::pmr::vector<char> bytes(100'000, &memory);
    CHECK(upstream.out == 100'000);
  }
  CHECK(upstream.out == 0);
}

TEST_CASE("what one thread allocates another deallocates") {
  const DaemonProcess daemon(kConfig);
  Pool pool = open(daemon);
  MemoryResource memory{pool};
  constexpr int kRounds = 2000;
  std::vector<std::unique_ptr<std::pmr::vector<int>>> made(kRounds);
  std::atomic<int> ready{0};
  std::thread maker([&] {
    for (int i = 0; i < kRounds; ++i) {
      made[static_cast<std::size_t>(i)] =
          std::make_unique<std::pmr::vector<int>>(300 + i % 2000, i, &memory);
      ready.store(i + 1, std::memory_order_release);
      while (i - ready.load(std::memory_order_relaxed) > 50) std::this_thread::yield();
    }
  });
  for (int i = 0; i < kRounds; ++i) {
    while (ready.load(std::memory_order_acquire) <= i) std::this_thread::yield();
    auto& numbers = *made[static_cast<std::size_t>(i)];
    REQUIRE(numbers.back() == i);
    made[static_cast<std::size_t>(i)].reset();
  }
  maker.join();
  CHECK(held(pool) == 0);
  CHECK(pool.stats().double_puts == 0);
}

TEST_CASE(
    "a container inherited by fork is inert in the child, and the child has memory of its own") {
  const DaemonProcess daemon(kConfig);
  Pool pool = open(daemon);
  auto memory = std::make_unique<MemoryResource>(pool);
  std::pmr::vector<char> numbers(5000, 'p', memory.get());
  ChildProcess child([&](Link&) {
    // As static destructors would: before and after the child's own first use.
    void* address = numbers.data();
    memory->deallocate(address, 5000, 1);
    std::pmr::vector<char> own(5000, 'c', memory.get());
    expect(pool.owns(own.data()), "the child's memory is not the pool's");
    memory->deallocate(address, 5000, 1);
    expect(own == std::pmr::vector<char>(5000, 'c'), "the child's memory is not its own");
    // Nothing of the child's own ever lies where the parent's lay, so the two cannot be taken for each other.
    std::vector<std::pmr::vector<char>> many;
    for (int i = 0; i < 500; ++i) {
      many.emplace_back(std::pmr::vector<char>(5000, 'm', memory.get()));
      expect(pool.owns(many.back().data()) && many.back().data() != address,
             "the child's memory has the parent's address");
    }
  });
  CHECK(child.wait().well());
  CHECK(child.failure() == "");
  CHECK((numbers == std::pmr::vector<char>(5000, 'p')));
  CHECK(eventually([&] { return daemon.audit()["held"] == 1; }));
}

TEST_CASE("a resource keeps its pool open") {
  const DaemonProcess daemon(kConfig);
  auto pool = std::make_unique<Pool>(open(daemon));
  MemoryResource memory{*pool};
  std::pmr::vector<char> bytes(5000, 'x', &memory);
  pool.reset();
  bytes.resize(60'000, 'y');
  CHECK(bytes[5000] == 'y');
  CHECK(memory.pool().owns(bytes.data()));
}
