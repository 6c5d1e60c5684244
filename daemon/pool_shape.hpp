#pragma once
// From a pool's configuration and the machine to the shape that its control segment is planned
// from, and the
// tables that tell clients which arena is near.
//
// Thread safety: functions of values.

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/config.hpp"
#include "zeropool/lib/control_plan.hpp"
#include "zeropool/lib/topology.hpp"

namespace zeropool::daemon {

// Indices of topology.nodes that the pool has arenas on: those configured that have memory, else
// all such.
std::vector<std::uint32_t> arena_nodes(const PoolConfig& config, const lib::Topology& topology);

// `auto`: half an L3, at most 8 MiB, at least two L2s.
std::uint64_t hot_set_bytes(const PoolConfig& config, const lib::Topology& topology);

struct Watermarks {
  std::uint64_t low_bytes = 0;
  std::uint64_t high_bytes = 0;
};
Watermarks watermarks_of(const PoolConfig& config, std::uint64_t limit_bytes);

// Page kinds are left at 4 KiB: page_choice.hpp decides.
lib::PoolShape pool_shape(const PoolConfig& config, const lib::Topology& topology,
                          std::uint64_t budget_bytes, std::uint64_t limit_bytes,
                          std::uint32_t client_capacity, std::uint32_t thread_capacity);

// CpuEntry of every CPU, and the order of arenas by distance.
void write_distances(std::byte* control, const lib::ControlPlan& plan,
                     const lib::Topology& topology, const std::vector<std::uint32_t>& nodes);

}  // namespace zeropool::daemon
