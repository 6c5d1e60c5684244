#include "load.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

namespace zeropool_elastic {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr double kMiB = 1 << 20;
constexpr double kToothMiB = 640;
constexpr double kPhaseMiB = 896;  // of a budget of 1 GiB
constexpr double kTooth = 10;      // seconds
constexpr std::size_t kPage = 4096;
constexpr std::size_t kChurn =
    100;  // of what is held, one part is given back and got again a millisecond

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

struct Held {
  void* data;
  std::size_t bytes;
};

}  // namespace

std::vector<Stretch> Course::stretches() const {
  std::vector<Stretch> course = {{0, 40, "sawtooth, 64 KiB", false},
                                 {40, 80, "nothing"},
                                 {80, 140, "64 KiB"},
                                 {140, 170, "4 MiB"},
                                 {170, 210, "nothing"}};
  for (Stretch& stretch : course) {
    stretch.begin *= scale_;
    stretch.end *= scale_;
  }
  return course;
}

Need Course::at(double seconds) const {
  const double at = seconds / scale_;
  const auto bytes = [](double mib) { return static_cast<std::uint64_t>(mib * kMiB); };
  if (at < 40) {
    const double in_tooth = at - static_cast<int>(at / kTooth) * kTooth;
    const double part = in_tooth < kTooth / 2 ? in_tooth : kTooth - in_tooth;
    return {bytes(kToothMiB * part / (kTooth / 2)), 64 << 10};
  }
  if (at >= 80 && at < 140) return {bytes(kPhaseMiB), 64 << 10};
  if (at >= 140 && at < 170) return {bytes(kPhaseMiB), 4 << 20};
  return {};
}

std::vector<Sample> run(const Course& course, const Source& source) {
  std::vector<Held> held;
  std::atomic<std::uint64_t> in_use{0};
  std::atomic<std::uint64_t> refusals{0};
  std::atomic<std::uint64_t> slowest_ns{0};
  std::atomic<bool> done{false};
  const Clock::time_point begin = Clock::now();
  std::vector<Sample> samples;
  samples.reserve(static_cast<std::size_t>(course.length() * 25) + 100);
  std::thread sampler([&] {
    while (!done) {
      samples.push_back({since(begin), static_cast<double>(in_use) / kMiB,
                         static_cast<double>(source.footprint()) / kMiB, refusals,
                         static_cast<double>(slowest_ns.exchange(0)) * 1e-6});
      std::this_thread::sleep_for(50ms);
    }
  });
  const auto take = [&](std::size_t bytes) {
    const Clock::time_point asked = Clock::now();
    void* const data = source.get(bytes);
    const auto took = static_cast<std::uint64_t>((Clock::now() - asked) / 1ns);
    if (took > slowest_ns) slowest_ns = took;
    if (data == nullptr) {
      ++refusals;
      return false;
    }
    for (std::size_t at = 0; at < bytes; at += kPage) static_cast<volatile char*>(data)[at] = 1;
    held.push_back({data, bytes});
    in_use += bytes;
    return true;
  };
  const auto give = [&](std::size_t index) {
    std::swap(held[index], held.back());
    source.put(held.back().data);
    in_use -= held.back().bytes;
    held.pop_back();
  };
  std::uint64_t random = 88172645463325252ULL;
  const auto any = [&](std::size_t below) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    return static_cast<std::size_t>(random % below);
  };
  std::size_t size = 0;
  for (double now = since(begin); now < course.length(); now = since(begin)) {
    const Need need = course.at(now);
    if (need.buffer_bytes != size) {
      while (!held.empty()) give(held.size() - 1);
      size = need.buffer_bytes;
    }
    while (!held.empty() && in_use > need.bytes) give(any(held.size()));
    while (in_use + size <= need.bytes && take(size)) {
    }
    for (std::size_t n = held.size() / kChurn; n > 0; --n) give(any(held.size()));
    while (in_use + size <= need.bytes && take(size)) {
    }
    std::this_thread::sleep_for(1ms);
  }
  while (!held.empty()) give(held.size() - 1);
  done = true;
  sampler.join();
  return samples;
}

}  // namespace zeropool_elastic
