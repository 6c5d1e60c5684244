// Objects that are used again. What needs no daemon has an empty Pool: the heap.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <memory_resource>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::ErrorCode;
using zeropool::ObjectPool;
using zeropool::ObjectPoolOptions;
using zeropool::ObjectPoolStats;
using zeropool::Pool;
using zeropool::PooledObject;

namespace {

constexpr const char* kConfig = R"(budget: 64MiB
pages: {size: [4KiB]}
pools:
  objects:
    classes: [1KiB, 4KiB, 64KiB, 1MiB]
    wait: {timeout: 2s}
)";

std::atomic<int> alive{0};
struct Counted {
  Counted() { ++alive; }
  explicit Counted(int its_value) : value(its_value) { ++alive; }
  Counted(Counted&&) = delete;
  ~Counted() { --alive; }
  int value = 0;
};

Pool open(const DaemonProcess& daemon) {
  auto pool = daemon.open();
  if (!pool) throw std::runtime_error(pool.error().sentence);
  return *pool;
}

void check_sums(const ObjectPoolStats& stats) {
  CHECK(stats.gets == stats.tls_hits + stats.shared_hits + stats.constructions + stats.failures);
  CHECK(stats.in_use + stats.cached == stats.objects);
}

// A heavier T: its tables are from the allocator that it is given.
class Parser {
 public:
  using allocator_type = std::pmr::polymorphic_allocator<std::byte>;
  explicit Parser(const allocator_type& allocator)
      : table_(16 * 1024, 0, allocator), words_(allocator) {}
  void add(const char* word) { words_.emplace_back(word); }
  void clear() noexcept { words_.clear(); }
  std::size_t words() const noexcept { return words_.size(); }
  const void* table() const noexcept { return table_.data(); }

 private:
  std::pmr::vector<std::uint32_t> table_;
  std::pmr::vector<std::pmr::string> words_;
};

}  // namespace

static_assert(sizeof(PooledObject<Counted>) == 16);

TEST_CASE("the object put last is got first, reset, and is the same object") {
  ObjectPool<std::string> pool{Pool()};
  PooledObject<std::string> text = pool.get();
  REQUIRE(text);
  text->assign(1000, 'x');
  const std::string* at = text.get();
  text.reset();
  CHECK_FALSE(text);
  text = pool.get();
  CHECK(text.get() == at);
  CHECK(text->empty());
  CHECK(text->capacity() >= 1000);
  const ObjectPoolStats stats = pool.stats();
  CHECK(stats.constructions == 1);
  CHECK(stats.tls_hits == 1);
  CHECK(stats.puts == 1);
  CHECK(stats.in_use == 1);
  CHECK(stats.hit_rate() == 0.5);
  check_sums(stats);
}

TEST_CASE("a factory may take nothing, the memory, a size, or both; T need not be movable") {
  ObjectPool<Counted> plain{Pool(), [] { return Counted(5); }, [](Counted& c) { c.value = 6; }};
  {
    PooledObject<Counted> one = plain.get();
    CHECK(one->value == 5);
    one.reset();
    one = plain.get();
    CHECK(one->value == 6);
    CHECK(alive == 1);
  }
  CHECK(plain.trim() == 1);
  CHECK(alive == 0);
  ObjectPool<std::pmr::string> with_memory{
      Pool(), [](std::pmr::memory_resource* memory) { return std::pmr::string(100, 'm', memory); }};
  CHECK(with_memory.get()->get_allocator().resource() == with_memory.memory());
  ObjectPool<std::vector<char>> sized{Pool(),
                                      [](std::size_t bytes) { return std::vector<char>(bytes); },
                                      [](std::vector<char>&) {}};
  const char* at = nullptr;
  {
    PooledObject<std::vector<char>> small = sized.get(1000);
    PooledObject<std::vector<char>> large = sized.get(100'000);
    CHECK(small->size() == 1024);
    CHECK(large->size() == 131'072);
    at = large->data();
  }
  CHECK(sized.get(70'000)->data() == at);
  CHECK(sized.get(1)->size() == 1);
  CHECK(sized.get().error_code() == ErrorCode::invalid_size);
  CHECK(sized.get(0).error_code() == ErrorCode::invalid_size);
  CHECK(sized.get(~std::size_t{0}).error_code() == ErrorCode::too_large);
  CHECK(plain.get(5).error_code() == ErrorCode::invalid_argument);
  CHECK(plain.get(5).error().sentence.find("takes no size") != std::string::npos);
  ObjectPool<std::pmr::vector<char>> both{Pool(),
                                          [](std::size_t bytes, std::pmr::memory_resource* memory) {
                                            return std::pmr::vector<char>(bytes, memory);
                                          }};
  CHECK(both.get(10)->get_allocator().resource() == both.memory());
}

TEST_CASE("what the factory throws comes out, nothing is kept, and the next get works") {
  int calls = 0;
  ObjectPool<Counted> pool{Pool(),
                           [&] {
                             if (++calls % 2 == 1) throw std::runtime_error("odd");
                             return Counted(calls);
                           },
                           [](Counted&) {},
                           {.max_objects = 1}};
  CHECK_THROWS_AS(pool.get(), std::runtime_error);
  CHECK(pool.stats().objects == 0);
  CHECK(pool.stats().bytes == 0);
  CHECK(pool.get()->value == 2);
  CHECK(pool.trim() == 1);
  CHECK_THROWS_AS(pool.try_get(), std::runtime_error);
  CHECK(pool.stats().failures == 2);
  check_sums(pool.stats());
}

TEST_CASE("an object whose reset throws is destroyed and counted") {
  ObjectPool<Counted> pool{Pool(), [] { return Counted(1); },
                           [](Counted& c) {
                             if (c.value == 2) throw std::runtime_error("no");
                           }};
  PooledObject<Counted> bad = pool.get();
  PooledObject<Counted> good = pool.get();
  bad->value = 2;
  bad.reset();
  good.reset();
  CHECK(alive == 1);
  const ObjectPoolStats stats = pool.stats();
  CHECK(stats.reset_failures == 1);
  CHECK(stats.puts == 2);
  CHECK(stats.cached == 1);
  check_sums(stats);
}

TEST_CASE("at the cap in count a get waits for a put, or says why not") {
  ObjectPool<Counted> pool{Pool(), ObjectPoolOptions{.max_objects = 2, .timeout = 20ms}};
  PooledObject<Counted> a = pool.get();
  std::optional<PooledObject<Counted>> b = pool.get();
  PooledObject<Counted> none = pool.try_get();
  CHECK(none.error_code() == ErrorCode::would_wait);
  none = pool.get();
  CHECK(none.error_code() == ErrorCode::timed_out);
  CHECK(none.error().sentence.find("max_objects") != std::string::npos);
  none = pool.get(1ms);
  CHECK(none.error_code() == ErrorCode::timed_out);
  std::thread putter([&] {
    while (pool.stats().contention_events < 4) std::this_thread::yield();
    b.reset();
  });
  PooledObject<Counted> waited = pool.get(60s);
  putter.join();
  CHECK(waited);
  CHECK(alive == 2);
  check_sums(pool.stats());
}

TEST_CASE("a get at the cap takes what an idle thread keeps") {
  ObjectPool<Counted> pool{Pool(), ObjectPoolOptions{.max_objects = 4}};
  std::atomic<int> step{0};
  std::thread idle([&] {
    {
      std::vector<PooledObject<Counted>> all;
      for (int i = 0; i < 4; ++i) all.push_back(pool.get());
    }
    step = 1;
    while (step != 2) std::this_thread::yield();
  });
  while (step != 1) std::this_thread::yield();
  std::vector<PooledObject<Counted>> all;
  for (int i = 0; i < 4; ++i) {
    all.push_back(pool.try_get());
    CHECK(all.back());
  }
  CHECK(pool.stats().constructions == 4);
  step = 2;
  idle.join();
}

TEST_CASE(
    "the cap in bytes holds for objects and what they allocate; cached ones of other sizes make "
    "room") {
  const DaemonProcess daemon(kConfig);
  ObjectPool<std::pmr::vector<char>> pool{open(daemon),
                                          [](std::size_t bytes, std::pmr::memory_resource* memory) {
                                            return std::pmr::vector<char>(bytes, memory);
                                          },
                                          [](std::pmr::vector<char>&) {},
                                          {.max_bytes = 200'000, .timeout = 10ms}};
  {
    PooledObject<std::pmr::vector<char>> a = pool.get(100'000);  // made with 131,072
    REQUIRE(a);
    CHECK(pool.stats().bytes >= 131'072);
    CHECK_THROWS_AS(pool.get(100'000), std::bad_alloc);
    CHECK_THROWS_AS(a->resize(190'000), std::bad_alloc);
    CHECK(a->size() == 131'072);
  }
  CHECK(pool.stats().cached == 1);
  pool.trim();
  CHECK(pool.stats().bytes == 0);
  CHECK(pool.get(100'000));
  ObjectPool<Counted> counted{
      Pool(), [](std::size_t) { return Counted(); }, [](Counted&) {}, {.max_objects = 1}};
  counted.get(10).reset();
  PooledObject<Counted> other = counted.try_get(1000);  // the cached one made room
  CHECK(other);
  CHECK(counted.stats().objects == 1);
}

TEST_CASE("what objects allocate is held in the pool, and counts there") {
  const DaemonProcess daemon(kConfig);
  Pool memory = open(daemon);
  const auto held = [&] {
    const zeropool::PoolStats stats = memory.stats();
    return stats.gets - stats.failures - stats.puts;
  };
  {
    ObjectPool<Parser> pool{memory};
    PooledObject<Parser> parser = pool.get();
    REQUIRE(parser);
    CHECK(memory.owns(parser->table()));
    CHECK(held() >= 1);
    CHECK(daemon.audit()["held"] == held());
    CHECK(pool.stats().bytes >= 64 * 1024);
    parser->add("a word that is too long to be kept within a string");
    parser.reset();
    CHECK(held() >= 1);  // cached, its tables with it
    parser = pool.get();
    CHECK(parser->words() == 0);
    CHECK(pool.stats().constructions == 1);
  }
  CHECK(held() == 0);
  CHECK(daemon.audit()["held"] == 0);
}

TEST_CASE(
    "an object that outlives its ObjectPool, or is put by another thread, is destroyed at its "
    "put") {
  PooledObject<Counted> late;
  PooledObject<Counted> elsewhere;
  {
    ObjectPool<Counted> pool{Pool()};
    late = pool.get();
    elsewhere = pool.get();
    pool.get().reset();
    CHECK(alive == 3);
  }
  CHECK(alive == 2);
  std::thread([other = std::move(elsewhere)]() mutable { other.reset(); }).join();
  CHECK(alive == 1);
  late.reset();
  CHECK(alive == 0);
}

TEST_CASE("a thread that exits leaves what it kept to the others") {
  ObjectPool<Counted> pool{Pool()};
  for (int i = 0; i < 20; ++i) {
    std::thread([&] {
      PooledObject<Counted> a = pool.get();
      PooledObject<Counted> b = pool.get();
    }).join();
  }
  CHECK(alive == 2);
  CHECK(pool.stats().constructions == 2);
  CHECK(pool.stats().cached == 2);
  check_sums(pool.stats());
}

TEST_CASE("more pools than a thread's table has places, made and gone: each finds its own") {
  for (int round = 0; round < 3; ++round) {
    std::vector<std::unique_ptr<ObjectPool<Counted>>> pools;
    for (int i = 0; i < 40; ++i) {
      pools.push_back(std::make_unique<ObjectPool<Counted>>(Pool(), [i] { return Counted(i); }));
    }
    for (int again = 0; again < 3; ++again) {
      for (int i = 0; i < 40; ++i) CHECK(pools[static_cast<std::size_t>(i)]->get()->value == i);
    }
    CHECK(alive == 40);
    for (const auto& pool : pools) CHECK(pool->stats().tls_hits == 2);
  }
  CHECK(alive == 0);
}

TEST_CASE(
    "threads get, put, hand on, trim and wait at the cap: no object has two users, none is lost") {
  struct Used {
    std::atomic<int> users{0};
  };
  constexpr int kThreads = 6;
  ObjectPool<Used> pool{Pool(), ObjectPoolOptions{.max_objects = 5, .thread_cache = 2}};
  std::atomic<int> doubled{0};
  std::atomic<int> failed{0};
  std::mutex lock;
  std::vector<PooledObject<Used>> handed;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 3000; ++i) {
        PooledObject<Used> mine = pool.get(60s);
        if (!mine) {
          ++failed;
          continue;
        }
        if (mine->users.fetch_add(1) != 0) ++doubled;
        if (i % 7 == 0) std::this_thread::yield();
        mine->users.fetch_sub(1);
        if (i % 5 == t % 5) {  // another thread puts it
          PooledObject<Used> other;
          const std::lock_guard held(lock);
          if (handed.empty()) {
            handed.push_back(std::move(mine));
          } else {
            other = std::move(handed.back());
            handed.pop_back();
          }
        }
        if (i % 500 == 0) pool.trim();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(doubled == 0);
  CHECK(failed == 0);
  handed.clear();
  const ObjectPoolStats stats = pool.stats();
  CHECK(stats.in_use == 0);
  CHECK(stats.objects <= 5);
  CHECK(stats.gets == kThreads * 3000);
  CHECK(stats.puts == stats.gets);
  check_sums(stats);
}

TEST_CASE(
    "who waits longest is served first: a thread that gets and puts all the time starves nobody") {
  ObjectPool<Counted> pool{Pool(), ObjectPoolOptions{.max_objects = 1}};
  std::atomic<bool> done{false};
  std::atomic<bool> started{false};
  std::thread busy([&] {
    while (!done) {
      PooledObject<Counted> one = pool.get(60s);
      started = true;
    }
  });
  while (!started) std::this_thread::yield();
  int got = 0;
  for (int i = 0; i < 100; ++i) got += static_cast<bool>(pool.get(60s)) ? 1 : 0;
  done = true;
  busy.join();
  CHECK(got == 100);
}

TEST_CASE("an ObjectPool that is destroyed while others put loses nothing") {
  for (int round = 0; round < 200; ++round) {
    auto pool = std::make_unique<ObjectPool<Counted>>(Pool());
    std::vector<std::thread> threads;
    std::atomic<int> ready{0};
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&, one = pool->get()]() mutable {
        ++ready;
        while (ready < 4) std::this_thread::yield();
        one.reset();
      });
    }
    while (ready < 3) std::this_thread::yield();
    ++ready;
    pool.reset();
    for (std::thread& thread : threads) thread.join();
    REQUIRE(alive == 0);
  }
}

TEST_CASE("a forked child starts anew; the objects that it has by fork are inert") {
  const DaemonProcess daemon(kConfig);
  ObjectPool<Parser> pool{open(daemon)};
  PooledObject<Parser> mine = pool.get();
  mine->add("parent");
  pool.get().reset();  // and one that is cached
  ChildProcess child([&](Link&) {
    mine.reset();
    expect(pool.stats().objects == 0, "the child sees the parent's objects");
    PooledObject<Parser> own = pool.get();
    expect(static_cast<bool>(own), "the child has no object");
    own->add("child");
    expect(own->words() == 1, "it is not the child's alone");
    own.reset();
    expect(pool.stats().cached == 1, "the child's object was not kept");
    std::thread([&] { pool.get().reset(); }).join();
  });
  CHECK(child.wait().well());
  CHECK(child.failure() == "");
  CHECK(mine->words() == 1);
  CHECK(pool.stats().in_use == 1);
  CHECK(pool.stats().cached == 1);
}

namespace {

// Destroyed after the thread's shards are gone.
struct Late {
  PooledObject<Counted> object;
  ~Late() { object.reset(); }
};

}  // namespace

TEST_CASE("an object in a thread-local of a dying thread ends well") {
  ObjectPool<Counted> pool{Pool()};
  std::thread([&] {
    static thread_local Late late;  // made before the shards: destroyed after them
    late.object = pool.get();
  }).join();
  CHECK(pool.stats().cached == 1);
  CHECK(pool.stats().puts == 1);
  check_sums(pool.stats());
}

namespace {
std::optional<ObjectPool<Counted>> at_exit_pool;
PooledObject<Counted> at_exit_object;
}  // namespace

TEST_CASE("static pools and objects end well, in any order") {
  const auto outcome = run_in_child<int>([] {
    at_exit_pool.emplace(Pool());
    at_exit_object = at_exit_pool->get();
    at_exit_pool->get().reset();
    if (fork() == 0) exit(0);  // static destructors of a child's child
    return 0;
  });
  CHECK(outcome.end.well());
  // And of this program, at its end.
  at_exit_pool.emplace(Pool());
  at_exit_object = at_exit_pool->get();
}
