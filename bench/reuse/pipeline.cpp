#include "pipeline.hpp"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace zeropool_reuse {
namespace {

using Clock = std::chrono::steady_clock;

void run_on(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(cpu), &set);
  if (::sched_setaffinity(0, sizeof(set), &set) != 0) {
    std::fprintf(stderr, "zeropool_reuse: cannot run on CPU %d\n", cpu);
    std::exit(1);
  }
}

// Every word, as a consumer of data does.
std::uint64_t read_all(const std::byte* data, std::size_t bytes) {
  std::uint64_t sums[8] = {};
  for (std::size_t at = 0; at + 64 <= bytes; at += 64) {
    std::uint64_t words[8];
    std::memcpy(words, data + at, 64);
    for (int i = 0; i < 8; ++i) sums[i] += words[i];
  }
  std::uint64_t sum = 0;
  for (const std::uint64_t part : sums) sum += part;
  return sum;
}

template <typename Body>
pid_t start_child(Body body) {
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  body();
  ::_exit(0);
}

void consume(std::size_t bytes, Pipe& pipe, const Recycler& recycler) {
  recycler.begin_consumer();
  std::uint64_t next = 0;
  std::uint64_t sum = 0;
  pipe.ready.store(1);
  for (;;) {
    if (pipe.sent.load(std::memory_order_acquire) == next) {
      if (pipe.stop.load(std::memory_order_relaxed) != 0) break;
      continue;
    }
    sum += read_all(recycler.take(pipe.parcels[next % 64]), bytes);
    recycler.put();
    pipe.taken.store(++next, std::memory_order_release);
  }
  pipe.sum.store(sum);
}

}  // namespace

double run_pipeline(const Cpus& cpus, std::size_t bytes, double seconds, Pipe& pipe,
                    const Recycler& recycler) {
  pipe.sent = 0;
  pipe.taken = 0;
  pipe.ready = 0;
  pipe.stop = 0;
  const pid_t consumer = start_child([&] {
    run_on(cpus.consumer);
    consume(bytes, pipe, recycler);
  });
  run_on(cpus.producer);
  while (pipe.ready.load() == 0) ::usleep(100);
  std::uint64_t sent = 0;
  std::uint64_t counted = 0;
  // The first third warms up: each buffer of a large pool has been used.
  const auto begun = Clock::now();
  auto measured = begun;
  const auto warm = std::chrono::duration<double>(seconds / 2);
  const auto all = std::chrono::duration<double>(seconds * 1.5);
  for (;;) {
    const auto now = Clock::now();
    if (measured == begun && now - begun >= warm) {
      measured = now;
      counted = sent;
    }
    if (now - begun >= all) break;
    while (sent - pipe.taken.load(std::memory_order_acquire) >= kOnTheWay) {
    }
    std::byte* buffer = recycler.get();
    if (buffer == nullptr) continue;
    std::memset(buffer, static_cast<int>(sent), bytes);
    pipe.parcels[sent % 64] = recycler.give();
    pipe.sent.store(++sent, std::memory_order_release);
  }
  while (pipe.taken.load() != sent) {
  }
  const double took = std::chrono::duration<double>(Clock::now() - measured).count();
  pipe.stop = 1;
  ::waitpid(consumer, nullptr, 0);
  return static_cast<double>((sent - counted) * bytes) / took;
}

double ping_pong_ns(const Cpus& cpus) {
  struct Ball {
    alignas(64) std::atomic<std::uint64_t> at{0};
    alignas(64) std::atomic<std::uint32_t> stop{0};
  };
  void* memory =
      ::mmap(nullptr, sizeof(Ball), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  auto& ball = *new (memory) Ball;
  const pid_t other = start_child([&] {
    run_on(cpus.consumer);
    while (ball.stop.load(std::memory_order_relaxed) == 0) {
      const std::uint64_t at = ball.at.load(std::memory_order_acquire);
      if (at % 2 == 1) ball.at.store(at + 1, std::memory_order_release);
    }
  });
  run_on(cpus.producer);
  constexpr std::uint64_t kRounds = 20000;
  auto begun = Clock::now();
  for (std::uint64_t i = 0; i < 2 * kRounds; ++i) {
    if (i == kRounds) begun = Clock::now();
    ball.at.store(2 * i + 1, std::memory_order_release);
    while (ball.at.load(std::memory_order_acquire) != 2 * i + 2) {
    }
  }
  const double ns = std::chrono::duration<double, std::nano>(Clock::now() - begun).count();
  ball.stop = 1;
  ::waitpid(other, nullptr, 0);
  ::munmap(memory, sizeof(Ball));
  return ns / kRounds;
}

}  // namespace zeropool_reuse
