// P3: hits in two processes at once. P4: hand-off from one process to another, with a ping-pong of one cache line
// beside it, for how near the two cores are.

#include <csignal>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <benchmark/benchmark.h>

#include "bench_pool.hpp"

namespace zeropool_bench {
namespace {

constexpr std::size_t kBytes = 65536;
constexpr std::uint32_t kQueue = 256;  // handles on the way, at most

struct Shared {
  alignas(64) std::atomic<std::uint32_t> ready{0};
  alignas(64) std::atomic<std::uint32_t> stop{0};
  alignas(64) std::atomic<std::uint64_t> sent{0};
  alignas(64) std::atomic<std::uint64_t> received{0};
  alignas(64) std::atomic<std::uint64_t> ball{0};
  alignas(64) zp_handle handles[kQueue];
};

// A forked process that runs `work` until `stop`, and is gone when this object is.
class Child {
 public:
  template <typename Work>
  Child(Shared& shared, Work work) : shared_(shared) {
    shared_.ready = 0;
    shared_.stop = 0;
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      work();
      ::_exit(0);
    }
    while (pid_ > 0 && shared_.ready.load() == 0) ::usleep(100);
  }
  ~Child() {
    shared_.stop = 1;
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

 private:
  Shared& shared_;
  pid_t pid_;
};

Shared& shared() {
  static Shared* memory = shared_with_children<Shared>();
  return *memory;
}

void run_pairs(benchmark::State& state) {
  zeropool::Pool& p = pool();
  for (auto _ : state) {
    zeropool::Buffer buffer = p.get(kBytes);
    benchmark::DoNotOptimize(buffer.data());
  }
}

void p3_one_process(benchmark::State& state) { run_pairs(state); }

void p3_two_processes(benchmark::State& state) {
  Shared& s = shared();
  Child other(s, [&s] {
    zeropool::Pool& p = pool();  // a forked child attaches anew by itself
    while (s.stop.load(std::memory_order_relaxed) == 0) {
      for (int i = 0; i < 1000; ++i) {
        zeropool::Buffer buffer = p.get(kBytes);
        benchmark::DoNotOptimize(buffer.data());
      }
      s.ready = 1;
    }
  });
  run_pairs(state);
}

// Adopts what comes, and puts it.
void consume(Shared& s, std::uint32_t batch) {
  zeropool::Pool& p = pool();
  p.try_get(kBytes).reset();
  std::uint64_t next = 0;
  s.ready = 1;
  while (s.stop.load(std::memory_order_relaxed) == 0) {
    const std::uint64_t sent = s.sent.load(std::memory_order_acquire);
    if (sent - next < batch) continue;
    for (; next < sent; ++next) p.adopt(zeropool::Handle{s.handles[next % kQueue]});
    s.received.store(next, std::memory_order_release);
  }
}

void hand_off(benchmark::State& state, std::uint32_t batch) {
  Shared& s = shared();
  s.sent = 0;
  s.received = 0;
  zeropool::Pool& p = pool();
  Child consumer(s, [&s, batch] { consume(s, batch); });
  std::uint64_t next = 0;
  std::array<zeropool::Buffer, kQueue> buffers;
  for (auto _ : state) {
    while (next + batch - s.received.load(std::memory_order_acquire) > kQueue) {
    }
    std::size_t got = 0;
    while (got < batch) got += p.get_batch(kBytes, std::span(buffers).subspan(got, batch - got));
    for (std::uint32_t i = 0; i < batch; ++i) {
      s.handles[(next + i) % kQueue] = std::move(buffers[i]).release().raw;
    }
    next += batch;
    s.sent.store(next, std::memory_order_release);
  }
  while (s.received.load(std::memory_order_acquire) < next) {
  }
  state.SetItemsProcessed(state.iterations() * batch);
}

void p4_hand_off(benchmark::State& state) { hand_off(state, 1); }
void p4_hand_off_batch(benchmark::State& state) { hand_off(state, 32); }

// One cache line, there and back.
void probe_ping_pong(benchmark::State& state) {
  Shared& s = shared();
  s.ball = 0;
  Child other(s, [&s] {
    s.ready = 1;
    while (s.stop.load(std::memory_order_relaxed) == 0) {
      const std::uint64_t ball = s.ball.load(std::memory_order_acquire);
      if (ball % 2 == 1) s.ball.store(ball + 1, std::memory_order_release);
    }
  });
  std::uint64_t ball = 0;
  for (auto _ : state) {
    s.ball.store(++ball, std::memory_order_release);
    ++ball;
    while (s.ball.load(std::memory_order_acquire) != ball) {
    }
  }
}

BENCHMARK(p3_one_process)->UseRealTime();
BENCHMARK(p3_two_processes)->UseRealTime();
BENCHMARK(probe_ping_pong)->UseRealTime();
BENCHMARK(p4_hand_off)->UseRealTime();
BENCHMARK(p4_hand_off_batch)->UseRealTime();

}  // namespace
}  // namespace zeropool_bench
