// Nodes: without memory or CPUs, offline, or forbidden by a cpuset.

#include <algorithm>

#include <zeropool/lib/topology.hpp>

#include "ctl/doctor.hpp"
#include "ctl/doctor_files.hpp"
#include "ctl/render.hpp"

namespace zeropool::ctl {
namespace {

std::string cgroup_of(const DoctorPaths& paths) {
  return line_after(paths.proc + "/" + paths.process + "/cgroup", "0::").value_or("/");
}

std::string list(const std::vector<std::uint32_t>& nodes) {
  std::string text;
  for (const std::uint32_t node : nodes) text += (text.empty() ? "" : ",") + std::to_string(node);
  return text;
}

// Pools with an arena on that node: it had memory when the daemon started.
std::string pools_on(const nlohmann::json& daemon, std::uint32_t node) {
  std::string names;
  for (const auto& pool : list_at(daemon, "pools")) {
    for (const auto& arena : list_at(pool, "arenas")) {
      if (number_at(arena, "node") != node) continue;
      names += (names.empty() ? "" : ", ") + text_at(pool, "name");
    }
  }
  return names;
}

}  // namespace

void look_at_nodes(const DoctorPaths& paths, const nlohmann::json& daemon, Findings& findings) {
  lib::Topology topology = lib::read_topology(paths.sys + "/devices/system");
  std::vector<std::uint32_t> with_memory;
  for (const lib::Topology::Node& node : topology.nodes) {
    const std::string name = "node " + std::to_string(node.id);
    if (node.has_memory) with_memory.push_back(node.id);
    const std::string pools = node.has_memory ? "" : pools_on(daemon, node.id);
    if (!pools.empty()) {
      findings.push_back({Level::kWarn,
                          name +
                              " had memory when zeropoold started and has none now: nothing "
                              "more is committed there (pools: " +
                              pools + ")",
                          "for m in " + paths.sys + "/devices/system/node/node" +
                              std::to_string(node.id) +
                              "/memory[0-9]*/state; do echo online > $m; done"});
    } else if (!node.has_memory) {
      findings.push_back(
          {Level::kOk, name + " has no memory: the nearest node that has is its home", ""});
    }
    if (!node.has_cpus && node.has_memory) {
      findings.push_back({Level::kOk, name + " has no CPUs: it gives memory to the others", ""});
    }
  }
  const auto forbidden =
      lib::keep_to_allowed_nodes(topology, paths.proc + "/" + paths.process + "/status");
  for (const std::uint32_t node : forbidden) {
    std::string folder = cgroup_of(paths);
    if (folder == "/") folder.clear();
    findings.push_back({Level::kWarn,
                        "node " + std::to_string(node) +
                            " may not be used (cpuset or NUMAPolicy): no pool has an arena there",
                        "echo " + list(with_memory) + " > " + paths.cgroup + folder +
                            "/cpuset.mems, then restart zeropoold"});
  }
  const auto possible =
      lib::parse_cpu_list(line_of(paths.sys + "/devices/system/node/has_normal_memory"));
  const auto online = lib::parse_cpu_list(line_of(paths.sys + "/devices/system/node/online"));
  for (const std::uint32_t node : possible) {
    if (std::find(online.begin(), online.end(), node) == online.end()) {
      findings.push_back({Level::kWarn,
                          "node " + std::to_string(node) + " has memory and is offline",
                          "restart zeropoold after it is online again"});
    }
  }
  const auto offline_cpus = lib::parse_cpu_list(line_of(paths.sys + "/devices/system/cpu/offline"));
  if (!offline_cpus.empty()) {
    findings.push_back({Level::kOk,
                        std::to_string(offline_cpus.size()) +
                            " CPUs are offline; threads on them find their node when they come",
                        ""});
  }
  findings.push_back({Level::kOk,
                      "memory on " + std::to_string(with_memory.size()) + " of " +
                          std::to_string(topology.nodes.size()) + " online nodes",
                      ""});
}

}  // namespace zeropool::ctl
