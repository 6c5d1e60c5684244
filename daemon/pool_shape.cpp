#include "daemon/pool_shape.hpp"

#include <algorithm>
#include <cstddef>

namespace zeropool::daemon {
namespace {

constexpr std::uint64_t kMostHotBytes = 8 * kMiB;

std::uint32_t distance(const lib::Topology& topology, std::uint32_t from, std::uint32_t to) {
  if (from == to) return 0;
  const std::vector<std::uint32_t>& distances = topology.nodes[from].distances;
  return to < distances.size() ? distances[to] : 255;
}

// Numbers of arenas, nearest to node `from` first.
std::vector<std::uint32_t> by_distance(const lib::Topology& topology, std::uint32_t from,
                                       const std::vector<std::uint32_t>& nodes) {
  std::vector<std::uint32_t> order(nodes.size());
  for (std::uint32_t a = 0; a < order.size(); ++a) order[a] = a;
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return distance(topology, from, nodes[a]) < distance(topology, from, nodes[b]);
  });
  return order;
}

}  // namespace

std::vector<std::uint32_t> arena_nodes(const PoolConfig& config, const lib::Topology& topology) {
  std::vector<std::uint32_t> chosen;
  for (std::uint32_t i = 0; i < topology.nodes.size(); ++i) {
    if (!topology.nodes[i].has_memory) continue;
    const bool wanted = !config.nodes || std::find(config.nodes->begin(), config.nodes->end(),
                                                   topology.nodes[i].id) != config.nodes->end();
    if (wanted) chosen.push_back(i);
  }
  if (chosen.size() > lib::kMaxArenas) chosen.resize(lib::kMaxArenas);
  return chosen;
}

std::uint64_t hot_set_bytes(const PoolConfig& config, const lib::Topology& topology) {
  if (config.hot_set_bytes) return *config.hot_set_bytes;
  const std::uint64_t half = topology.l3_bytes == 0 ? kMostHotBytes : topology.l3_bytes / 2;
  return std::max(std::min(kMostHotBytes, half), 2 * topology.l2_bytes);
}

Watermarks watermarks_of(const PoolConfig& config, std::uint64_t limit_bytes) {
  Watermarks marks;
  marks.low_bytes = config.watermarks.low_bytes.value_or(std::min(64 * kMiB, limit_bytes / 32));
  marks.high_bytes = config.watermarks.high_bytes.value_or(std::min(256 * kMiB, limit_bytes / 8));
  marks.high_bytes = std::max(marks.high_bytes, marks.low_bytes);
  return marks;
}

lib::PoolShape pool_shape(const PoolConfig& config, const lib::Topology& topology,
                          std::uint64_t budget_bytes, std::uint64_t limit_bytes,
                          std::uint32_t client_capacity, std::uint32_t thread_capacity) {
  lib::PoolShape shape;
  shape.name = config.name;
  shape.class_bytes = config.classes;
  for (const std::uint32_t node : arena_nodes(config, topology)) {
    shape.arenas.push_back({topology.nodes[node].id, lib::PageKind::kSmall4KiB});
  }
  shape.region_bytes = std::max(config.limit_max_bytes.value_or(budget_bytes), limit_bytes);
  shape.thread_cache_bytes = config.thread_cache_bytes;
  shape.hot_set_bytes = hot_set_bytes(config, topology);
  shape.domain_count = std::clamp<std::uint32_t>(topology.domain_count, 1, lib::kMaxDomains);
  shape.cpu_count = std::max<std::uint32_t>(1, static_cast<std::uint32_t>(topology.cpus.size()));
  shape.client_capacity = std::max<std::uint32_t>(1, client_capacity);
  shape.thread_capacity = std::clamp<std::uint32_t>(thread_capacity, 1, lib::kMaxThreads);
  shape.order_capacity = std::clamp<std::uint32_t>(config.wait.orders, 1, lib::kMaxOrders);
  return shape;
}

void write_distances(std::byte* control, const lib::ControlPlan& plan,
                     const lib::Topology& topology, const std::vector<std::uint32_t>& nodes) {
  auto* arenas = reinterpret_cast<lib::ArenaEntry*>(control + plan.arenas_offset);
  for (std::size_t a = 0; a < nodes.size(); ++a) {
    const std::vector<std::uint32_t> order = by_distance(topology, nodes[a], nodes);
    for (std::size_t i = 0; i < order.size(); ++i) {
      arenas[a].order[i] = static_cast<std::uint8_t>(order[i]);
    }
  }
  auto* cpus = reinterpret_cast<lib::CpuEntry*>(control + plan.cpus_offset);
  for (std::size_t cpu = 0; cpu < topology.cpus.size() && cpu < plan.shape.cpu_count; ++cpu) {
    const lib::Topology::Cpu& from = topology.cpus[cpu];
    cpus[cpu].arena =
        from.known ? static_cast<std::uint16_t>(by_distance(topology, from.node, nodes).front())
                   : lib::kUnknownArena;
    cpus[cpu].domain =
        static_cast<std::uint16_t>(std::min(from.domain, plan.shape.domain_count - 1));
  }
}

}  // namespace zeropool::daemon
