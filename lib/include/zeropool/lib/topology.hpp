#pragma once
// The machine: nodes, CPUs, cache domains (the CPUs under one L3), distances. One node is an ordinary machine.
//
// Thread safety: read once, then a value. Source: sysfs, under `root` so that a test can bring its own.

#include <cstdint>
#include <string>
#include <vector>

namespace zeropool::inline v1::lib {

struct Topology {
  struct Node {
    std::uint32_t id = 0;
    bool has_memory = true;
    bool has_cpus = true;
    std::uint64_t memory_bytes = 0;
    std::vector<std::uint32_t> distances;  // to each of `nodes`, in their order; itself 10
  };
  struct Cpu {
    std::uint32_t node = 0;    // index into `nodes`
    std::uint32_t domain = 0;  // number of its L3
    bool known = false;        // it is online: sysfs says where it is
  };
  std::vector<Node> nodes;  // ascending by id, at least one
  std::vector<Cpu> cpus;    // by CPU number, up to the largest possible one
  std::uint32_t domain_count = 1;
  std::uint64_t l2_bytes = 0;  // of CPU 0; 0: not told
  std::uint64_t l3_bytes = 0;

  // Indices of `nodes` with memory, nearest to `node_index` first (itself first where it has memory).
  std::vector<std::uint32_t> memory_nodes_by_distance(std::uint32_t node_index) const;
};

Topology read_topology(const std::string& root = "/sys/devices/system");

// Nodes that this process may take memory from (Mems_allowed_list of a status file): the others count as without.
// Returns the ids of those that have memory and may not be used.
std::vector<std::uint32_t> keep_to_allowed_nodes(Topology& topology,
                                                 const std::string& status = "/proc/self/status");

// "0-3,8" -> {0, 1, 2, 3, 8}; stops at what it does not understand.
std::vector<std::uint32_t> parse_cpu_list(const std::string& text);

}  // namespace zeropool::v1::lib
