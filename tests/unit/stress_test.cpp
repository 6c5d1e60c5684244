// Real threads on real atomics, for the thread sanitizer: the owner word carries counts, entries and the bytes
// of the buffers.

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/lib/hand_off.hpp>

#include "tests/unit/support/test_ring.hpp"

using namespace zeropool::lib;
using namespace zeropool::test;

namespace {

struct Buffer {
  std::uint64_t words[4] = {};  // plain: a missing edge is a data race
};

}  // namespace

TEST_CASE("threads that claim, get, put and release never share a buffer, and lose none") {
  constexpr std::uint32_t kThreads = 4;
  constexpr std::uint32_t kRounds = 30'000;
  TestRing<std::atomic> ring({.cells = 20, .slots = 32, .magazine_slots = 4, .hot_size = 4});
  ring.fill_all();
  std::vector<Buffer> buffers(32);
  std::atomic<std::uint64_t> torn{0};
  std::atomic<std::uint64_t> served{0};
  const auto work = [&](std::uint32_t client) {
    Worker<std::atomic> worker(ring, client);
    for (std::uint32_t round = 0; round < kRounds; ++round) {
      if (!worker.claim_filled()) continue;
      std::uint32_t slots[3];
      Mark marks[3];
      std::uint32_t got = 0;
      while (got < 3 && worker.get(slots[got], marks[got])) {
        for (std::uint64_t& word : buffers[slots[got]].words) word = client * 1'000'000ULL + round;
        ++got;
      }
      served.fetch_add(got, std::memory_order_relaxed);
      for (std::uint32_t i = 0; i < got; ++i) {
        for (const std::uint64_t word : buffers[slots[i]].words) {
          if (word != client * 1'000'000ULL + round) torn.fetch_add(1, std::memory_order_relaxed);
        }
        worker.put(slots[i], marks[i]);
      }
      worker.release();
    }
  };
  std::vector<std::thread> threads;
  for (std::uint32_t t = 0; t < kThreads; ++t) threads.emplace_back(work, t + 1);
  for (std::thread& thread : threads) thread.join();
  CHECK(torn.load() == 0);
  CHECK(served.load() > kRounds);
  CHECK(ring.audit().clean());
  CHECK(ring.audit().free == 32);
}

TEST_CASE("a buffer's bytes and its note travel with the handle, to one adopter") {
  constexpr std::uint64_t kRounds = 20'000;
  TestRing<std::atomic> ring({.cells = 1, .slots = 1});
  ring.give(0, 1);
  Buffer buffer;
  std::atomic<std::uint64_t> handle{0};  // relaxed on purpose: the mark carries the edge
  std::atomic<std::uint64_t> wrong{0};
  std::atomic<std::uint64_t> adopted{0};
  std::atomic<bool> stop{false};
  const auto adopt = [&](std::uint32_t client) {
    while (!stop.load(std::memory_order_relaxed)) {
      TransitNote note;
      const std::uint64_t generation = handle.load(std::memory_order_relaxed);
      if (generation == 0 || !end_hand_off(ring.view.slots[0], generation, client, note)) {
        std::this_thread::yield();
        continue;
      }
      if (buffer.words[0] + 1 != note.bytes()) wrong.fetch_add(1);
      buffer.words[0] = 0;
      adopted.fetch_add(1);
      // Back to the sender: another hand-off, whose handle nobody reads.
      std::uint64_t back = 0;
      const Mark mine{ring.view.slots[0].mark.load()};
      if (!begin_hand_off(ring.view.slots[0], mine, TransitNote::make(1, 1, 0), back))
        wrong.fetch_add(1);
    }
  };
  std::thread first(adopt, 2);
  std::thread second(adopt, 3);
  Mark held{ring.view.slots[0].mark.load()};
  for (std::uint64_t round = 1; round <= kRounds; ++round) {
    buffer.words[0] = round;
    std::uint64_t generation = 0;
    if (!begin_hand_off(ring.view.slots[0], held, TransitNote::make(round + 1, 0, 0), generation)) {
      wrong.fetch_add(1);
      break;
    }
    handle.store(generation, std::memory_order_relaxed);
    TransitNote note;
    while (!end_hand_off(ring.view.slots[0], generation + 1, 1, note)) std::this_thread::yield();
    if (buffer.words[0] != 0) wrong.fetch_add(1);
    held = Mark{ring.view.slots[0].mark.load()};
  }
  stop.store(true);
  first.join();
  second.join();
  CHECK(wrong.load() == 0);
  CHECK(adopted.load() == kRounds);
}
