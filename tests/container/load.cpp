// container_load POOL FIGURES: a client at work until SIGTERM. Gets, fills, checks and puts buffers, more and fewer of them by
// turns, so that some gets need the daemon; beside it holds buffers from beginning to end. FIGURES is replaced every 100 ms.
// Ends with 0 only if no get failed and no byte was another's.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <signal.h>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <zeropool/zeropool.hpp>

using namespace std::chrono_literals;

namespace {

constexpr std::size_t kThreads = 2;
constexpr std::size_t kHeldThroughout = 100;
constexpr std::size_t kFewest = 4;
constexpr std::size_t kMost = 200;
constexpr auto kPatience = 60s;  // for a get; and for the daemon's first answer

std::atomic<std::uint64_t> gets{0};
std::atomic<std::uint64_t> failed{0};
std::atomic<std::uint64_t> broken{0};
std::atomic<bool> ends{false};

struct Held {
  zeropool::Buffer buffer;
  std::uint64_t value = 0;
};

std::uint64_t next(std::uint64_t& state) {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

void fill(Held& held) {
  auto* words = held.buffer.as<std::uint64_t>();
  for (std::size_t i = 0; i < held.buffer.size() / sizeof(std::uint64_t); ++i)
    words[i] = held.value;
}

void check(const Held& held) {
  const auto* words = held.buffer.as<std::uint64_t>();
  for (std::size_t i = 0; i < held.buffer.size() / sizeof(std::uint64_t); ++i) {
    if (words[i] == held.value) continue;
    broken.fetch_add(1);
    std::fprintf(stderr, "a buffer was written by somebody else\n");
    return;
  }
}

bool take(zeropool::Pool& pool, std::size_t bytes, std::uint64_t& state, Held& held) {
  held.buffer = pool.get(bytes, kPatience);
  held.value = next(state);
  if (!held.buffer) {
    failed.fetch_add(1);
    std::fprintf(stderr, "get failed: %s\n", held.buffer.error().sentence.c_str());
    return false;
  }
  gets.fetch_add(1);
  fill(held);
  return true;
}

void work(zeropool::Pool& pool, std::uint64_t state) {
  std::deque<Held> held;
  std::size_t most = kFewest;
  while (!ends) {
    for (int i = 0; i < 64; ++i) {
      Held taken;
      if (take(pool, next(state) % 4 == 0 ? 65536 : 4096, state, taken)) {
        held.push_back(std::move(taken));
      }
      while (held.size() > most) {
        check(held.front());
        held.pop_front();
      }
    }
    most = most >= kMost ? kFewest : most + 8;
    std::this_thread::sleep_for(1ms);
  }
  for (const Held& one : held) check(one);
}

bool report(const std::string& path, std::size_t throughout) {
  const std::string fresh = path + ".new";
  std::FILE* file = std::fopen(fresh.c_str(), "w");
  if (file == nullptr) return false;
  std::fprintf(file, "gets=%llu failed=%llu broken=%llu held=%zu\n",
               static_cast<unsigned long long>(gets.load()),
               static_cast<unsigned long long>(failed.load()),
               static_cast<unsigned long long>(broken.load()), throughout);
  return std::fclose(file) == 0 && std::rename(fresh.c_str(), path.c_str()) == 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) return 2;
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  auto pool = zeropool::Pool::open(arguments[1]);
  while (!pool && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(100ms);
    pool = zeropool::Pool::open(arguments[1]);
  }
  if (!pool) {
    std::fprintf(stderr, "%s\n", pool.error().sentence.c_str());
    return 1;
  }
  std::uint64_t state = 0x9e3779b97f4a7c15U ^ static_cast<std::uint64_t>(::getpid());
  std::vector<Held> throughout;
  for (std::size_t i = 0; i < kHeldThroughout; ++i) {
    Held held;
    if (take(*pool, 4096, state, held)) throughout.push_back(std::move(held));
  }
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&pool, seed = next(state)] { work(*pool, seed); });
  }
  const timespec pause{0, 100'000'000};
  bool told = true;
  while (::sigtimedwait(&signals, nullptr, &pause) != SIGTERM) {
    told = report(arguments[2], throughout.size()) && told;
  }
  ends = true;
  for (std::thread& thread : threads) thread.join();
  for (const Held& held : throughout) check(held);
  told = report(arguments[2], throughout.size()) && told;
  if (!told) std::fprintf(stderr, "%s cannot be written\n", arguments[2]);
  return told && failed == 0 && broken == 0 ? 0 : 1;
}
