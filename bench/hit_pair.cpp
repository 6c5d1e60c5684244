// P1: one get and one put that hit, by size given at run time. P2: 64 gets, then 64 puts.

#include <array>
#include <cstdlib>
#include <vector>

#include <benchmark/benchmark.h>

#include "bench_pool.hpp"

namespace zeropool_bench {
namespace {

constexpr std::size_t kBatch = 64;

// A size that the compiler does not know.
std::size_t size_of(const benchmark::State& state) {
  volatile std::size_t bytes = static_cast<std::size_t>(state.range(0));
  return bytes;
}

void p1_zeropool(benchmark::State& state) {
  zeropool::Pool& p = pool();
  const std::size_t bytes = size_of(state);
  for (auto _ : state) {
    zeropool::Buffer buffer = p.get(bytes);
    if (!buffer) state.SkipWithError("get failed");
    benchmark::DoNotOptimize(buffer.data());
  }
}

void p1_zeropool_c(benchmark::State& state) {
  zp_pool* p = pool().c_pool();
  const std::size_t bytes = size_of(state);
  for (auto _ : state) {
    zp_buffer buffer;
    if (zp_get(p, bytes, &buffer) != 0) state.SkipWithError("get failed");
    benchmark::DoNotOptimize(buffer.data);
    zp_put(&buffer);
  }
}

void p1_tcmalloc(benchmark::State& state) {
  const std::size_t bytes = size_of(state);
  for (auto _ : state) {
    void* memory = std::malloc(bytes);
    benchmark::DoNotOptimize(memory);
    std::free(memory);
  }
}

void p1_floor(benchmark::State& state) {
  FloorStack& stack = FloorStack::instance();
  for (auto _ : state) {
    void* slot = stack.get();
    benchmark::DoNotOptimize(slot);
    stack.put(slot);
  }
}

void p2_zeropool(benchmark::State& state) {
  zeropool::Pool& p = pool();
  const std::size_t bytes = size_of(state);
  std::array<zeropool::Buffer, kBatch> buffers;
  for (auto _ : state) {
    for (zeropool::Buffer& buffer : buffers) buffer = p.get(bytes);
    benchmark::ClobberMemory();
    for (zeropool::Buffer& buffer : buffers) buffer.reset();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatch));
}

void p2_zeropool_batch(benchmark::State& state) {
  zeropool::Pool& p = pool();
  const std::size_t bytes = size_of(state);
  std::array<zeropool::Buffer, kBatch> buffers;
  for (auto _ : state) {
    std::size_t got = 0;
    while (got < kBatch) {
      const std::size_t more = p.get_batch(bytes, std::span(buffers).subspan(got));
      if (more == 0) return state.SkipWithError("get_batch failed");
      got += more;
    }
    benchmark::ClobberMemory();
    p.put_batch(buffers);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatch));
}

void p2_tcmalloc(benchmark::State& state) {
  const std::size_t bytes = size_of(state);
  std::array<void*, kBatch> memory{};
  for (auto _ : state) {
    for (void*& m : memory) m = std::malloc(bytes);
    benchmark::ClobberMemory();
    for (void* m : memory) std::free(m);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatch));
}

void p2_floor(benchmark::State& state) {
  FloorStack& stack = FloorStack::instance();
  std::array<void*, kBatch> slots{};
  for (auto _ : state) {
    for (void*& s : slots) s = stack.get();
    benchmark::ClobberMemory();
    for (void* s : slots) stack.put(s);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatch));
}

constexpr std::int64_t k4K = 4096;
constexpr std::int64_t k64K = 65536;
constexpr std::int64_t k1M = 1 << 20;
constexpr std::int64_t k4M = 4 << 20;

BENCHMARK(p1_zeropool)->Arg(k4K)->Arg(k64K)->Arg(k1M)->Arg(k4M);
BENCHMARK(p1_zeropool_c)->Arg(k4K)->Arg(k64K)->Arg(k1M);
BENCHMARK(p1_tcmalloc)->Arg(k4K)->Arg(k64K)->Arg(k1M)->Arg(k4M);
BENCHMARK(p1_floor)->Arg(k4K);
BENCHMARK(p2_zeropool)->Arg(k4K)->Arg(k64K);
BENCHMARK(p2_zeropool_batch)->Arg(k4K)->Arg(k64K);
BENCHMARK(p2_tcmalloc)->Arg(k4K)->Arg(k64K);
BENCHMARK(p2_floor)->Arg(k4K);

}  // namespace
}  // namespace zeropool_bench
