// How far one batch ring goes: the ring's own code on up to 256 simulated cores.
//
//   zeropool_scale [NEAR_NS FAR_NS [CORES_A_DOMAIN [MICROSECONDS]]]
//
// NEAR_NS and FAR_NS: what a cache line takes one way, under one L3 and between two. Without them: half of what the probe
// measures here; far, where this machine has one L3 only, five times near. Two loads: pairs, where half of the cores claim full magazines and release them empty and the other half does
// the reverse, so that every slot crosses the ring (producers and consumers); and one that claims and releases full ones.
// A slot costs its user `work`: 20 ns is a hand-off of untouched buffers, 2 us a buffer of 64 KiB that is written or read.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <zeropool/lib/topology.hpp>

#include "bench/works/ring_in_memory.hpp"
#include "machine.hpp"
#include "sim_atom.hpp"

namespace {

using namespace zeropool_scale;
namespace lib = zeropool::lib;
using View = lib::RingView<SimAtom>;

constexpr std::uint32_t kMagazineSlots = 16;  // of 64 KiB
constexpr std::uint32_t kHotSize = 32;

enum class Load { kCross, kSame };

struct Result {
  double slots_a_us = 0;  // of all cores
  double missed = 0;      // claims that found nothing, a share of all
  std::string busiest;
  double busy = 0;
};

bool holds(std::uintptr_t line, const void* first, std::size_t bytes) {
  const auto begin = reinterpret_cast<std::uintptr_t>(first);
  return line + 64 > begin && line < begin + bytes;
}

std::string name_of(std::uintptr_t line, const View& view,
                    const zeropool_bench::BitmapPlaces& places) {
  for (std::uint32_t d = 0; d < view.domain_count; ++d) {
    if (holds(line, &view.hot_heads[d].head, 4)) return "hot queue's head";
    if (holds(line, &view.hot_heads[d].tail, 4)) return "hot queue's tail";
  }
  if (holds(line, view.hot_entries, sizeof(std::uint32_t) * view.domain_count * view.hot_size)) {
    return "hot queue's entries";
  }
  if (holds(line, view.cells, sizeof(*view.cells) * view.cell_capacity)) return "a magazine";
  constexpr const char* kBitmaps[] = {"cold", "partial", "empty"};
  for (int i = 0; i < 3; ++i) {
    const std::string bitmap = std::string(" of the bitmap of ") + kBitmaps[i] + " ones";
    if (holds(line, places.head[i], 64)) return "cursor" + bitmap;
    if (holds(line, places.summary[i], std::size_t{(view.cell_capacity + 4095) / 4096} * 8)) {
      return "summary" + bitmap;
    }
    if (holds(line, places.words[i], std::size_t{(view.cell_capacity + 63) / 64} * 8))
      return "words" + bitmap;
  }
  return "counts of what is published";
}

Result simulate(const Costs& costs, unsigned cores, unsigned cores_a_domain, Load load,
                double work_ns, double until_ns) {
  const unsigned domains = (cores + cores_a_domain - 1) / cores_a_domain;
  zeropool_bench::BitmapPlaces places{};
  View view = zeropool_bench::make_ring<SimAtom>({.magazine_slots = kMagazineSlots,
                                                  .full = 4 * cores,
                                                  .empty = 4 * cores,
                                                  .domains = domains,
                                                  .hot_size = kHotSize},
                                                 &places);
  Machine machine(costs, cores, cores_a_domain);
  std::uint64_t slots = 0;
  std::uint64_t claims = 0;
  std::uint64_t missed = 0;
  machine.run(until_ns, [&](unsigned core) {
    lib::BatchRing<SimAtom> ring(view);
    const auto me = lib::OwnerWord::thread(core + 1, 0, core);
    const unsigned domain = machine.domain_of(core);
    lib::ClaimStats stats;
    const bool fills = load == Load::kCross && core % 2 == 1;
    machine.work(work_ns * core / cores);  // not in step
    while (!machine.expired()) {
      const std::uint32_t cell =
          fills ? ring.claim_empty(me, stats) : ring.claim_filled(domain, me, stats);
      ++claims;
      if (cell == lib::kNone) {
        ++missed;
        machine.work(100);
        continue;
      }
      const std::uint32_t before = ring.count_of(cell);
      const std::uint32_t moved = fills ? kMagazineSlots - before : before;
      machine.work(work_ns * moved);
      if (fills) view.cells[cell].count.store(kMagazineSlots);
      if (!fills && load == Load::kCross) view.cells[cell].count.store(0);
      if (!ring.release(cell, me, domain)) std::abort();
      if (!machine.expired()) slots += moved;
    }
  });
  const auto busy = machine.busiest(1);
  return {static_cast<double>(slots) / until_ns * 1000,
          claims == 0 ? 0 : static_cast<double>(missed) / static_cast<double>(claims),
          busy.empty() ? "none" : name_of(busy[0].line, view, places),
          busy.empty() ? 0 : busy[0].share};
}

// Half of the median of a few probes, as one of them may meet other work.
double one_way_ns(int a, int b) {
  std::array<double, 9> probes;
  for (double& probe : probes) probe = zeropool_bench::ping_pong_ns(a, b);
  std::sort(probes.begin(), probes.end());
  std::printf("probe, CPU %d and CPU %d, there and back: %.0f ns (%.0f to %.0f)\n", a, b,
              probes[probes.size() / 2], probes.front(), probes.back());
  return probes[probes.size() / 2] / 2;
}

Costs measured() {
  constexpr double kFarIsTimesNear = 5;
  const lib::Topology topology = lib::read_topology();
  Costs costs;
  bool near = false;
  bool far = false;
  for (std::size_t cpu = 1; cpu < topology.cpus.size(); ++cpu) {
    const bool same = topology.cpus[cpu].domain == topology.cpus[0].domain;
    if (same ? near : far) continue;
    (same ? costs.near_ns : costs.far_ns) = one_way_ns(0, static_cast<int>(cpu));
    (same ? near : far) = true;
  }
  if (!near) {
    std::fprintf(stderr, "zeropool_scale: no two CPUs under one L3 to probe: name the costs\n");
    std::exit(1);
  }
  if (!far) {
    costs.far_ns = kFarIsTimesNear * costs.near_ns;
    std::printf("no second L3 here: far is taken to be %.0f times near\n", kFarIsTimesNear);
  }
  return costs;
}

double positive(const char* text) {
  char* end = nullptr;
  const double value = std::strtod(text, &end);
  if (*text == 0 || *end != 0 || value <= 0) {
    std::fprintf(stderr, "zeropool_scale: '%s' is no positive number\n", text);
    std::exit(2);
  }
  return value;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 || argc > 5) {
    std::fprintf(stderr,
                 "usage: zeropool_scale [NEAR_NS FAR_NS [CORES_A_DOMAIN [MICROSECONDS]]]\n");
    return 2;
  }
  Costs costs;
  if (argc == 1) {
    costs = measured();
  } else {
    costs.near_ns = positive(argv[1]);
    costs.far_ns = positive(argv[2]);
  }
  const auto cores_a_domain = static_cast<unsigned>(argc > 3 ? positive(argv[3]) : 8);
  const double until_ns = 1000 * (argc > 4 ? positive(argv[4]) : 200);
  std::printf("a line one way: %.0f ns near, %.0f ns far; %u cores a domain; magazines of %u\n",
              costs.near_ns, costs.far_ns, cores_a_domain, kMagazineSlots);
  struct Case {
    Load load;
    double work_ns;
    const char* name;
  };
  for (const Case& one : {Case{Load::kSame, 20, "claim and release, 20 ns a slot"},
                          Case{Load::kCross, 20, "producers and consumers, 20 ns a slot"},
                          Case{Load::kCross, 200, "producers and consumers, 200 ns a slot"},
                          Case{Load::kCross, 2000, "producers and consumers, 2 us a slot"}}) {
    std::printf("\n%s\n  cores  slots/us  of linear  claims in vain  busiest line\n", one.name);
    double base = 0;
    // Enough turns of a slow user.
    const double time_ns = std::max(until_ns, one.work_ns * kMagazineSlots * 40);
    for (const unsigned cores : {2U, 4U, 8U, 16U, 32U, 64U, 128U, 256U}) {
      const Result result = simulate(costs, cores, cores_a_domain, one.load, one.work_ns, time_ns);
      if (base == 0) base = result.slots_a_us / cores;
      std::printf("  %5u  %8.1f     %5.2f           %5.2f  %s, %.0f %% of the time\n", cores,
                  result.slots_a_us, result.slots_a_us / cores / base, result.missed,
                  result.busiest.c_str(), result.busy * 100);
      std::fflush(stdout);
    }
  }
  return 0;
}
