#pragma once
// Works of one thread: a pair, 64 and 64, batches, mixed sizes, ramps. Nanoseconds for one get and its put.

#include <array>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "measure.hpp"
#include "options.hpp"

namespace zeropool_bench {

inline constexpr std::size_t kMany = 64;
// Of mixed sizes: the classes that every peer is given.
inline constexpr std::array<std::size_t, 5> kClasses = {4096, 16384, 65536, 262144, 1048576};

template <typename Local>
void must_get(Local& local, std::size_t bytes, typename Local::Item& item) {
  if (!local.get(bytes, item)) fail("a get of " + std::to_string(bytes) + " bytes failed");
}

template <typename Local>
void pairs(Local& local, std::size_t bytes, std::uint64_t n) {
  for (std::uint64_t i = 0; i < n; ++i) {
    typename Local::Item item{};
    must_get(local, bytes, item);
    keep(local.data(item));
    local.put(item);
  }
}

template <typename Local>
double pair(Local& local, const Options& options) {
  const std::size_t bytes = hidden(options.bytes);
  return ns_each(options.seconds, [&](std::uint64_t n) { pairs(local, bytes, n); });
}

template <typename Local>
double many(Local& local, const Options& options) {
  const std::size_t bytes = hidden(options.bytes);
  std::array<typename Local::Item, kMany> items{};
  return ns_each(options.seconds,
                 [&](std::uint64_t n) {
                   for (std::uint64_t i = 0; i < n; ++i) {
                     for (auto& item : items) must_get(local, bytes, item);
                     keep(items.data());
                     for (auto& item : items) local.put(item);
                   }
                 }) /
         kMany;
}

// `count` at once; for peers that have calls for it.
template <typename Local>
void batches(Local& local, std::size_t bytes, std::span<typename Local::Item> items,
             std::uint64_t n) {
  for (std::uint64_t i = 0; i < n; ++i) {
    std::size_t got = 0;
    for (int tries = 0; got < items.size(); ++tries) {
      got += local.get_batch(bytes, items.subspan(got));
      if (tries > 1'000'000) fail("a batch of gets failed");
    }
    keep(items.data());
    local.put_batch(items);
  }
}

template <typename Local>
double batch(Local& local, const Options& options) {
  const std::size_t bytes = hidden(options.bytes);
  std::array<typename Local::Item, kMany> items{};
  return ns_each(options.seconds,
                 [&](std::uint64_t n) { batches<Local>(local, bytes, items, n); }) /
         kMany;
}

// Sizes by Zipf's law over the classes, the smallest the most frequent, each anywhere in the upper half of its class; 64
// buffers are held, and one of them, by chance, is put and replaced.
template <typename Local>
double mixed(Local& local, const Options& options) {
  struct Step {
    std::uint32_t bytes;
    std::uint32_t place;
  };
  std::mt19937 random(20240501);  // the same for all
  std::array<double, kClasses.size()> weights{};
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = 1.0 / static_cast<double>(i + 1);
  std::discrete_distribution<std::size_t> zipf(weights.begin(), weights.end());
  std::vector<Step> steps(8192);
  for (Step& step : steps) {
    const auto most = static_cast<std::uint32_t>(kClasses[zipf(random)]);
    step.bytes = most - static_cast<std::uint32_t>(random() % (most / 2));
    step.place = static_cast<std::uint32_t>(random() % kMany);
  }
  std::array<typename Local::Item, kMany> items{};
  for (std::size_t i = 0; i < kMany; ++i) must_get(local, steps[i].bytes, items[i]);
  std::size_t at = 0;
  const auto turns = [&](std::uint64_t n) {
    for (std::uint64_t i = 0; i < n; ++i) {
      const Step& step = steps[at++ % steps.size()];
      local.put(items[step.place]);
      must_get(local, step.bytes, items[step.place]);
      keep(local.data(items[step.place]));
    }
  };
  turns(steps.size());
  const double ns = ns_each(options.seconds, turns);
  for (auto& item : items) local.put(item);
  return ns;
}

// Up to 32 MiB held, the first line of each buffer written, and down again.
template <typename Local>
double ramp(Local& local, const Options& options) {
  const std::size_t bytes = hidden(options.bytes);
  std::vector<typename Local::Item> items((32U << 20) / options.bytes);
  return ns_each(options.seconds,
                 [&](std::uint64_t n) {
                   for (std::uint64_t i = 0; i < n; ++i) {
                     for (auto& item : items) {
                       must_get(local, bytes, item);
                       std::memset(local.data(item), static_cast<int>(i), 64);
                     }
                     for (auto& item : items) local.put(item);
                   }
                 }) /
         static_cast<double>(items.size());
}

}  // namespace zeropool_bench
