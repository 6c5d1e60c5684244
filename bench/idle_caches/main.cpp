// What 1,000 threads cache over time, of which 990 stop working after a moment: with idle caches taken, and without.
//
//   zeropool_idle_caches SECONDS FILE.svg
//
// Pools are called taken and kept; scripts/bench --idle-caches makes them, and sets ZEROPOOLCTL.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <zeropool/zeropool.hpp>

#include "svg_chart.hpp"

namespace {

using namespace zeropool_idle_caches;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kBytes = 4096;
constexpr int kThreads = 1000;
constexpr int kBusy = 10;
constexpr int kSwing = 120;  // buffers got, then put
constexpr auto kWork = 3s;   // of all

// By `zeropoolctl pools`: "cached": N, one a ring. Less than zero: it could not be asked.
double cached_mib(const std::string& pool) {
  const char* ctl = std::getenv("ZEROPOOLCTL");
  const std::string command = std::string(ctl == nullptr ? "zeropoolctl" : ctl) + " pools --json";
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return -1;
  std::string text;
  char part[4096];
  for (std::size_t got = 0; (got = std::fread(part, 1, sizeof(part), pipe)) > 0;) {
    text.append(part, got);
  }
  if (::pclose(pipe) != 0) return -1;
  // A pool's name stands before its rings, keys being in alphabetical order.
  double slots = -1;
  for (std::size_t at = 0; (at = text.find("\"cached\":", at)) != std::string::npos; ++at) {
    const std::size_t name = text.rfind("\"name\":", at);
    if (name == std::string::npos) continue;
    const std::size_t quote = text.find('"', name + 7);
    if (text.compare(quote + 1, pool.size() + 1, pool + "\"") == 0) {
      slots = std::strtod(text.c_str() + at + 9, nullptr);
    }
  }
  return slots < 0 ? -1 : slots * kBytes / (1024 * 1024);
}

void swing(zeropool::Pool& pool, std::atomic<std::uint64_t>& failed) {
  std::vector<zeropool::Buffer> held;
  for (int i = 0; i < kSwing; ++i) {
    held.push_back(pool.get(kBytes));
    if (!held.back()) failed.fetch_add(1);
  }
}

struct Outcome {
  Curve curve;
  std::uint64_t failed = 0;
  double median_us = 0;  // of a busy thread's swing, once the others have stopped
};

bool measure(const char* name, double seconds, Outcome& outcome) {
  auto opened = zeropool::Pool::open(name);
  if (!opened) {
    std::fprintf(stderr, "zeropool_idle_caches: %s\n", opened.error().sentence.c_str());
    return false;
  }
  zeropool::Pool& pool = *opened;
  std::atomic<bool> all{true};
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> failed{0};
  std::vector<std::vector<double>> times(kBusy);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      const bool busy = i < kBusy;
      while (busy ? !stop.load() : all.load()) {
        const auto begun = Clock::now();
        swing(pool, failed);
        if (busy && !all.load()) {
          times[static_cast<std::size_t>(i)].push_back(
              std::chrono::duration<double, std::micro>(Clock::now() - begun).count());
        }
        std::this_thread::sleep_for(busy ? 1ms : 50ms);
      }
      while (!stop.load()) std::this_thread::sleep_for(100ms);
    });
  }
  const auto begun = Clock::now();
  outcome.curve.name = name;
  for (double now = 0; now < seconds;) {
    now = std::chrono::duration<double>(Clock::now() - begun).count();
    if (Clock::now() - begun >= kWork) all.store(false);
    const double mib = cached_mib(name);
    if (mib < 0) std::fprintf(stderr, "zeropool_idle_caches: zeropoolctl says nothing\n");
    if (mib >= 0) outcome.curve.points.emplace_back(now, mib);
    std::this_thread::sleep_for(250ms);
  }
  stop.store(true);
  all.store(false);
  for (std::thread& thread : threads) thread.join();
  std::vector<double> every;
  for (const auto& mine : times) every.insert(every.end(), mine.begin(), mine.end());
  if (!every.empty()) {
    const auto middle = every.begin() + static_cast<std::ptrdiff_t>(every.size() / 2);
    std::nth_element(every.begin(), middle, every.end());
    outcome.median_us = *middle;
  }
  outcome.failed = failed.load();
  return !outcome.curve.points.empty();
}

double at(const Curve& curve, double seconds) {
  double mib = 0;
  for (const auto& [when, cached] : curve.points) {
    if (when <= seconds) mib = cached;
  }
  return mib;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: zeropool_idle_caches SECONDS FILE.svg\n");
    return 2;
  }
  const double seconds = std::atof(argv[1]);
  Outcome taken;
  Outcome kept;
  if (!measure("taken", seconds, taken) || !measure("kept", seconds, kept)) return 1;
  std::printf("MiB that %d threads cache; after %d s all but %d do nothing\n", kThreads,
              static_cast<int>(kWork.count()), kBusy);
  std::printf("%8s %14s %14s\n", "seconds", "taken", "never taken");
  for (double now = 1; now <= seconds; now += now < 12 ? 1 : 2) {
    std::printf("%8.0f %14.1f %14.1f\n", now, at(taken.curve, now), at(kept.curve, now));
  }
  std::printf(
      "%d gets and puts of a busy thread, the others idle: median %.1f us, never taken %.1f us\n",
      kSwing, taken.median_us, kept.median_us);
  std::printf("gets that failed: %llu, never taken %llu\n",
              static_cast<unsigned long long>(taken.failed),
              static_cast<unsigned long long>(kept.failed));
  taken.curve.name = "idle caches are taken after 10 s";
  kept.curve.name = "never taken";
  if (!write_chart(argv[2], "Cached by 1,000 threads, 990 of them idle after 3 s",
                   {taken.curve, kept.curve})) {
    std::fprintf(stderr, "zeropool_idle_caches: %s: cannot be written\n", argv[2]);
    return 1;
  }
  std::printf("%s\n", argv[2]);
  return 0;
}
