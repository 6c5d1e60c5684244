// Throughput against reuse distance, by hand and by pools of several sizes; near (one L3) and far (two).
//
//   zeropool_reuse SECONDS SIZE...
//
// Pools are called CLASS-SIZE, as in 64kib-512mib; scripts/bench --reuse makes them.

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <sys/mman.h>
#include <utility>
#include <vector>

#include <zeropool/lib/topology.hpp>

#include "pipeline.hpp"
#include "recyclers.hpp"

namespace {

using namespace zeropool_reuse;

constexpr std::size_t kKiB = 1024;
constexpr std::size_t kMiB = 1024 * kKiB;
constexpr std::size_t kSizes[] = {4 * kKiB, 64 * kKiB, kMiB};
constexpr std::size_t kDistances[] = {0,        256 * kKiB, kMiB,      2 * kMiB,  4 * kMiB,
                                      8 * kMiB, 16 * kMiB,  32 * kMiB, 64 * kMiB, 256 * kMiB};
constexpr int kRepetitions = 3;

struct Way {
  const char* name;
  Cpus cpus;
};

// A pair of CPUs under one L3, and a pair under two, where there are such.
std::vector<Way> ways() {
  const zeropool::lib::Topology topology = zeropool::lib::read_topology();
  std::vector<Way> found;
  std::optional<Cpus> near;
  std::optional<Cpus> far;
  for (std::size_t cpu = 1; cpu < topology.cpus.size(); ++cpu) {
    auto& wanted = topology.cpus[cpu].domain == topology.cpus[0].domain ? near : far;
    if (!wanted) wanted = Cpus{0, static_cast<int>(cpu)};
  }
  if (near) found.push_back({"near", *near});
  if (far) found.push_back({"far", *far});
  return found;
}

std::string size_text(std::size_t bytes) {
  if (bytes >= 1024 * kMiB) return std::to_string(bytes / (1024 * kMiB)) + " GiB";
  if (bytes >= kMiB) return std::to_string(bytes / kMiB) + " MiB";
  return std::to_string(bytes / kKiB) + " KiB";
}

struct Figure {
  double median = 0;
  double least = 0;
  double most = 0;
};

// GB/s. The probe beside each repetition tells how near the two CPUs were to each other.
Figure measure(const Way& way, std::size_t bytes, double seconds, Pipe& pipe,
               const Recycler& recycler, std::vector<double>& probes) {
  std::vector<double> rates;
  for (int i = 0; i < kRepetitions; ++i) {
    probes.push_back(ping_pong_ns(way.cpus));
    rates.push_back(run_pipeline(way.cpus, bytes, seconds, pipe, recycler) * 1e-9);
  }
  std::sort(rates.begin(), rates.end());
  return {rates[rates.size() / 2], rates.front(), rates.back()};
}

void print(const Way& way, std::size_t bytes, const std::string& what, const Figure& figure) {
  std::printf("%-5s %8s  %-34s %7.1f  %6.1f - %.1f\n", way.name, size_text(bytes).c_str(),
              what.c_str(), figure.median, figure.least, figure.most);
  std::fflush(stdout);
}

void by_hand(const Way& way, std::size_t bytes, double seconds, Pipe& pipe,
             std::vector<double>& probes) {
  {
    HandMade stack(bytes, 64, Order::kLastFirst, pipe);
    print(way, bytes, "by hand, last returned first",
          measure(way, bytes, seconds, pipe, stack.recycler(), probes));
  }
  for (const std::size_t distance : kDistances) {
    const std::size_t count = distance / bytes + kOnTheWay + 1;
    if (count > Pipe::kMost) continue;
    HandMade queue(bytes, count, Order::kOldestFirst, pipe);
    print(way, bytes, "by hand, at " + size_text(distance),
          measure(way, bytes, seconds, pipe, queue.recycler(), probes));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: zeropool_reuse SECONDS SIZE...\n");
    return 2;
  }
  const double seconds = std::atof(argv[1]);
  const std::vector<Way> there = ways();
  if (there.empty()) {
    std::fprintf(stderr, "zeropool_reuse: two CPUs are needed, there is one\n");
    return 1;
  }
  void* memory =
      ::mmap(nullptr, sizeof(Pipe), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  Pipe& pipe = *new (memory) Pipe;
  std::printf(
      "GB/s that a producer writes and a consumer on another CPU reads: median of %d, range\n",
      kRepetitions);
  for (const Way& way : there) {
    std::vector<double> probes;
    for (const std::size_t bytes : kSizes) {
      by_hand(way, bytes, seconds, pipe, probes);
      for (int i = 2; i < argc; ++i) {
        std::string name = size_text(bytes) + "-" + argv[i];
        std::erase(name, ' ');
        for (char& c : name) c = static_cast<char>(std::tolower(c));
        Pooled pool(name, bytes);
        const Figure figure = measure(way, bytes, seconds, pipe, pool.recycler(), probes);
        print(way, bytes,
              "zeropool of " + std::string(argv[i]) + ", " + std::to_string(pool.count()) +
                  " buffers",
              figure);
      }
    }
    const auto [least, most] = std::minmax_element(probes.begin(), probes.end());
    std::printf("%-5s a cache line there and back: %.0f to %.0f ns%s\n", way.name, *least, *most,
                *most > 1.3 * *least ? ": the CPUs moved, no verdict" : "");
  }
  return 0;
}
