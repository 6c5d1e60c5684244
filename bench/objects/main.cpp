// One object got, used and given back: made each time, from Boost's pools, from zeropool::ObjectPool.
//
//   zeropool_objects SECONDS
//
// The pool is the daemon's only one; scripts/bench --objects makes it. Ways take turns, so that what the machine does
// beside touches all of them; a ratio is of medians within this one run.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <memory_resource>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <vector>

#include <zeropool/zeropool.hpp>

#include "heavy_parser.hpp"
#include "makers.hpp"

namespace {

using namespace zeropool_objects;
using Clock = std::chrono::steady_clock;

constexpr int kRounds = 7;
constexpr std::size_t kTextBytes = 4000;

// The compiler must believe that it is read.
template <typename T>
void keep(const T& value) {
  asm volatile("" : : "r"(&value) : "memory");
}

// ns for each use, by so many threads at once: the time of all over what one of them did.
template <typename Maker, typename Use>
double measure(Maker& maker, const Use& use, int threads, double seconds) {
  constexpr int kStep = 64;
  std::atomic<int> ready{0};
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> uses{0};
  std::vector<std::thread> running;
  for (int t = 0; t < threads; ++t) {
    running.emplace_back([&] {
      for (int i = 0; i < kStep; ++i) maker.use(use);
      ready.fetch_add(1);
      while (ready.load() <= threads) std::this_thread::yield();
      std::uint64_t done = 0;
      while (!stop.load(std::memory_order_relaxed)) {
        for (int i = 0; i < kStep; ++i) maker.use(use);
        done += kStep;
      }
      uses.fetch_add(done);
    });
  }
  while (ready.load() < threads) std::this_thread::yield();
  const auto start = Clock::now();
  ready.fetch_add(1);
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  stop.store(true);
  for (std::thread& thread : running) thread.join();
  const std::chrono::duration<double, std::nano> took = Clock::now() - start;
  return took.count() * threads / static_cast<double>(std::max<std::uint64_t>(uses.load(), 1));
}

struct Row {
  const char* name;
  std::vector<double> ns;
  double median() const {
    std::vector<double> sorted = ns;
    std::sort(sorted.begin(), sorted.end());
    return sorted[sorted.size() / 2];
  }
};

template <typename... Makers, typename Use>
void compare(const std::string& title, const zeropool::Pool& pool, const Use& use, int threads,
             double seconds) {
  std::tuple<std::unique_ptr<Makers>...> makers{std::make_unique<Makers>(pool)...};
  std::vector<Row> rows;
  (rows.push_back({Makers::kName, {}}), ...);
  for (int round = 0; round < kRounds; ++round) {
    std::size_t i = 0;
    std::apply(
        [&](auto&... maker) {
          (rows[i++].ns.push_back(measure(*maker, use, threads, seconds)), ...);
        },
        makers);
  }
  const double ours = rows.back().median();
  std::printf("%s, %d thread%s\n", title.c_str(), threads, threads == 1 ? "" : "s");
  for (const Row& row : rows) {
    std::printf("  %-46s %9.1f ns  %7.2f x\n", row.name, row.median(), row.median() / ours);
  }
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 0;
  if (seconds <= 0) {
    std::fprintf(stderr, "usage: zeropool_objects SECONDS\n");
    return 2;
  }
  auto pool = zeropool::Pool::open("");
  if (!pool) {
    std::fprintf(stderr, "zeropool_objects: %s\n", pool.error().sentence.c_str());
    return 1;
  }
  const auto use_string = [](std::pmr::string& text) {
    text.assign(kTextBytes, 'x');
    keep(text);
  };
  const auto use_parser = [](HeavyParser& parser) {
    keep(parser.parse("a line of sixty bytes, as a log has many of them, every day"));
  };
  std::printf(
      "one object got, used and given back: median of %d, and how much of ObjectPool's time that "
      "is\n",
      kRounds);
  const int most = static_cast<int>(std::max(2U, std::thread::hardware_concurrency()));
  using Text = std::pmr::string;
  const auto use_number = [](long& number) { keep(number); };
  compare<Plain<long>, BoostObjectPoolOfOne<long>, BoostFastAllocator<long>, Recycled<long>>(
      "a long: what the way itself costs", *pool, use_number, 1, seconds);
  compare<Plain<long>, BoostObjectPool<long>, BoostFastAllocator<long>, Recycled<long>>(
      "a long: what the way itself costs", *pool, use_number, most, seconds);
  compare<Plain<Text>, OnResource<Text>, BoostObjectPoolOfOne<Text>, BoostFastAllocator<Text>,
          Recycled<Text>>("std::pmr::string of 4,000 bytes", *pool, use_string, 1, seconds);
  compare<Plain<Text>, OnResource<Text>, BoostObjectPool<Text>, BoostFastAllocator<Text>,
          Recycled<Text>>("std::pmr::string of 4,000 bytes", *pool, use_string, most, seconds);
  compare<Plain<HeavyParser>, OnResource<HeavyParser>, BoostObjectPoolOfOne<HeavyParser>,
          BoostFastAllocator<HeavyParser>, Recycled<HeavyParser>>("a parser with a table of 64 KiB",
                                                                  *pool, use_parser, 1, seconds);
  compare<Plain<HeavyParser>, OnResource<HeavyParser>, BoostObjectPool<HeavyParser>,
          BoostFastAllocator<HeavyParser>, Recycled<HeavyParser>>("a parser with a table of 64 KiB",
                                                                  *pool, use_parser, most, seconds);
  return 0;
}
