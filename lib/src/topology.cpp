#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>
#include <sstream>
#include <unistd.h>

#include <zeropool/lib/topology.hpp>

namespace zeropool::inline v1::lib {
namespace {

constexpr std::uint32_t kMostCpus = 65536;

std::string read_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::uint64_t read_number(const char*& at, const char* end, bool& ok) {
  std::uint64_t value = 0;
  const auto result = std::from_chars(at, end, value);
  ok = result.ec == std::errc{};
  at = result.ptr;
  return value;
}

// "32768K" -> bytes.
std::uint64_t parse_cache_size(const std::string& text) {
  bool ok = false;
  const char* at = text.data();
  const std::uint64_t value = read_number(at, text.data() + text.size(), ok);
  if (!ok) return 0;
  if (at != text.data() + text.size() && *at == 'K') return value << 10;
  if (at != text.data() + text.size() && *at == 'M') return value << 20;
  return value;
}

// "Node 0 MemTotal:  24611180 kB"
std::uint64_t node_memory(const std::string& folder) {
  std::ifstream file(folder + "/meminfo");
  std::string line;
  while (std::getline(file, line)) {
    const std::size_t at = line.find("MemTotal:");
    if (at == std::string::npos) continue;
    std::istringstream rest(line.substr(at + 9));
    std::uint64_t kib = 0;
    rest >> kib;
    return kib << 10;
  }
  return 0;
}

void read_nodes(const std::string& root, Topology& topology) {
  for (const std::uint32_t id : parse_cpu_list(read_line(root + "/node/online"))) {
    const std::string folder = root + "/node/node" + std::to_string(id);
    Topology::Node node;
    node.id = id;
    node.memory_bytes = node_memory(folder);
    node.has_memory = node.memory_bytes > 0;
    const std::vector<std::uint32_t> cpus = parse_cpu_list(read_line(folder + "/cpulist"));
    node.has_cpus = !cpus.empty();
    std::istringstream distances(read_line(folder + "/distance"));
    for (std::uint32_t distance = 0; distances >> distance;) node.distances.push_back(distance);
    const auto index = static_cast<std::uint32_t>(topology.nodes.size());
    for (const std::uint32_t cpu : cpus) {
      if (cpu < topology.cpus.size()) topology.cpus[cpu] = {index, 0, true};
    }
    topology.nodes.push_back(std::move(node));
  }
  if (topology.nodes.empty()) {
    // No NUMA in this kernel, or no sysfs: one node that has everything.
    Topology::Node node;
    node.memory_bytes = static_cast<std::uint64_t>(std::max(0L, ::sysconf(_SC_PHYS_PAGES))) *
                        static_cast<std::uint64_t>(std::max(0L, ::sysconf(_SC_PAGESIZE)));
    node.distances = {10};
    topology.nodes.push_back(node);
    for (Topology::Cpu& cpu : topology.cpus) cpu.known = true;
  }
  for (Topology::Node& node : topology.nodes) node.distances.resize(topology.nodes.size(), 20);
}

// The L3's CPU list names the domain; CPUs without an L3 form one per node.
void read_domains(const std::string& root, const std::vector<std::uint32_t>& present,
                  Topology& topology) {
  std::map<std::string, std::uint32_t> domains;
  for (const std::uint32_t cpu : present) {
    const std::string folder = root + "/cpu/cpu" + std::to_string(cpu) + "/cache/index";
    std::string key = "node" + std::to_string(topology.cpus[cpu].node);
    for (int index = 0; index < 8; ++index) {
      const std::string cache = folder + std::to_string(index);
      const std::string level = read_line(cache + "/level");
      if (level.empty()) break;
      const std::uint64_t bytes = parse_cache_size(read_line(cache + "/size"));
      if (level == "2" && topology.l2_bytes == 0) topology.l2_bytes = bytes;
      if (level == "3") {
        if (std::string list = read_line(cache + "/shared_cpu_list"); !list.empty())
          key = std::move(list);
        if (topology.l3_bytes == 0) topology.l3_bytes = bytes;
      }
    }
    const auto next = static_cast<std::uint32_t>(domains.size());
    topology.cpus[cpu].domain = domains.emplace(key, next).first->second;
  }
  topology.domain_count = std::max<std::uint32_t>(1, static_cast<std::uint32_t>(domains.size()));
}

}  // namespace

std::vector<std::uint32_t> parse_cpu_list(const std::string& text) {
  std::vector<std::uint32_t> cpus;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    bool ok = false;
    const std::uint64_t first = read_number(at, end, ok);
    if (!ok || first >= kMostCpus) break;
    std::uint64_t last = first;
    if (at != end && *at == '-') {
      ++at;
      last = read_number(at, end, ok);
      if (!ok || last >= kMostCpus) break;
    }
    for (std::uint64_t cpu = first; cpu <= last; ++cpu)
      cpus.push_back(static_cast<std::uint32_t>(cpu));
    if (at == end || *at != ',') break;
    ++at;
  }
  return cpus;
}

std::vector<std::uint32_t> Topology::memory_nodes_by_distance(std::uint32_t node_index) const {
  std::vector<std::uint32_t> order;
  for (std::uint32_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i].has_memory) order.push_back(i);
  }
  const std::vector<std::uint32_t>& distances = nodes[node_index].distances;
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    const std::uint32_t to_a = a == node_index ? 0 : distances[a];
    const std::uint32_t to_b = b == node_index ? 0 : distances[b];
    return to_a < to_b;
  });
  return order;
}

std::vector<std::uint32_t> keep_to_allowed_nodes(Topology& topology, const std::string& status) {
  std::vector<std::uint32_t> forbidden;
  std::ifstream file(status);
  for (std::string line; std::getline(file, line);) {
    constexpr const char* kKey = "Mems_allowed_list:";
    if (line.rfind(kKey, 0) != 0) continue;
    const std::size_t at = line.find_first_of("0123456789");
    if (at == std::string::npos) break;
    const std::vector<std::uint32_t> allowed = parse_cpu_list(line.substr(at));
    for (Topology::Node& node : topology.nodes) {
      if (!node.has_memory || std::find(allowed.begin(), allowed.end(), node.id) != allowed.end())
        continue;
      node.has_memory = false;
      forbidden.push_back(node.id);
    }
    break;
  }
  return forbidden;
}

Topology read_topology(const std::string& root) {
  Topology topology;
  std::vector<std::uint32_t> possible = parse_cpu_list(read_line(root + "/cpu/possible"));
  if (possible.empty()) possible = {0};
  topology.cpus.resize(std::size_t{possible.back()} + 1);
  read_nodes(root, topology);
  std::vector<std::uint32_t> online = parse_cpu_list(read_line(root + "/cpu/online"));
  std::erase_if(online, [&](std::uint32_t cpu) { return cpu >= topology.cpus.size(); });
  read_domains(root, online, topology);
  return topology;
}

}  // namespace zeropool::v1::lib
