#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdlib.h>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/lib/topology.hpp>

using namespace zeropool::lib;
using Numbers = std::vector<std::uint32_t>;

namespace {

// A sysfs of the test's own.
class Tree {
 public:
  Tree() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "zeropool-sysfs-XXXXXX").string();
    root = ::mkdtemp(pattern.data());
  }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;
  ~Tree() { std::filesystem::remove_all(root); }

  void write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root + "/" + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text << "\n";
  }
  void cpus(const std::string& possible, const std::string& online) {
    write("cpu/possible", possible);
    write("cpu/online", online);
  }
  void node(std::uint32_t id, const std::string& cpulist, std::uint64_t kib,
            const std::string& distance) {
    const std::string folder = "node/node" + std::to_string(id);
    write(folder + "/cpulist", cpulist);
    write(folder + "/meminfo", "Node " + std::to_string(id) + " MemFree: 1 kB\nNode " +
                                   std::to_string(id) + " MemTotal:  " + std::to_string(kib) +
                                   " kB");
    write(folder + "/distance", distance);
  }
  void cache(std::uint32_t cpu, int index, const std::string& level, const std::string& size,
             const std::string& shared) {
    const std::string folder =
        "cpu/cpu" + std::to_string(cpu) + "/cache/index" + std::to_string(index);
    write(folder + "/level", level);
    write(folder + "/size", size);
    write(folder + "/shared_cpu_list", shared);
  }
  std::string root;
};

}  // namespace

TEST_CASE("a CPU list is read up to what it does not understand") {
  CHECK(parse_cpu_list("0-3,8") == Numbers{0, 1, 2, 3, 8});
  CHECK(parse_cpu_list("7") == Numbers{7});
  CHECK(parse_cpu_list("").empty());
  CHECK(parse_cpu_list("x").empty());
  CHECK(parse_cpu_list("1,x,3") == Numbers{1});
  CHECK(parse_cpu_list("1-").empty());
  CHECK(parse_cpu_list("3-1").empty());
  CHECK(parse_cpu_list("0-99999999").empty());
  CHECK(parse_cpu_list("2,99999999999999999999999") == Numbers{2});
}

TEST_CASE("a machine without a sysfs is one node with one CPU and its memory") {
  const Tree tree;
  const Topology topology = read_topology(tree.root + "/none");
  REQUIRE(topology.nodes.size() == 1);
  CHECK(topology.nodes[0].has_memory);
  CHECK(topology.nodes[0].memory_bytes > 0);
  CHECK(topology.nodes[0].distances == Numbers{10});
  CHECK(topology.cpus.size() == 1);
  CHECK(topology.domain_count == 1);
  CHECK(topology.memory_nodes_by_distance(0) == Numbers{0});
}

TEST_CASE("one node with two L3s has two domains") {
  Tree tree;
  tree.cpus("0-3", "0-3");
  tree.write("node/online", "0");
  tree.node(0, "0-3", 1024, "10");
  for (std::uint32_t cpu = 0; cpu < 4; ++cpu) {
    tree.cache(cpu, 0, "1", "32K", std::to_string(cpu));
    tree.cache(cpu, 1, "2", "512K", std::to_string(cpu));
    tree.cache(cpu, 2, "3", "32M", cpu < 2 ? "0-1" : "2-3");
  }
  const Topology topology = read_topology(tree.root);
  CHECK(topology.nodes.size() == 1);
  CHECK(topology.nodes[0].memory_bytes == 1024 << 10);
  CHECK(topology.domain_count == 2);
  CHECK(topology.cpus[0].domain == topology.cpus[1].domain);
  CHECK(topology.cpus[1].domain != topology.cpus[2].domain);
  CHECK(topology.l2_bytes == 512 << 10);
  CHECK(topology.l3_bytes == 32 << 20);
}

TEST_CASE("two nodes without an L3 have a domain each") {
  Tree tree;
  tree.cpus("0-3", "0-3");
  tree.write("node/online", "0-1");
  tree.node(0, "0,2", 1024, "10 21");
  tree.node(1, "1,3", 2048, "21 10");
  const Topology topology = read_topology(tree.root);
  REQUIRE(topology.nodes.size() == 2);
  CHECK(topology.domain_count == 2);
  CHECK(topology.cpus[2].node == 0);
  CHECK(topology.cpus[3].node == 1);
  CHECK(topology.cpus[3].domain != topology.cpus[2].domain);
  CHECK(topology.memory_nodes_by_distance(1) == Numbers{1, 0});
}

TEST_CASE(
    "four nodes, one without memory, one without CPUs, one offline: the rest in order of "
    "distance") {
  Tree tree;
  tree.cpus("0-7", "0-5");  // 6 and 7 are offline
  tree.write("node/online", "0-1,3-4");
  tree.node(0, "0-1", 1024, "10 20 30 40");
  tree.node(1, "2-3", 0, "20 10 15 12");  // no memory
  tree.node(3, "4-5", 1024, "30 15 10 11");
  tree.node(4, "", 4096, "40 12 11 10");  // no CPUs
  const Topology topology = read_topology(tree.root);
  REQUIRE(topology.nodes.size() == 4);
  CHECK(topology.nodes[2].id == 3);
  CHECK_FALSE(topology.nodes[1].has_memory);
  CHECK_FALSE(topology.nodes[3].has_cpus);
  CHECK(topology.cpus.size() == 8);
  CHECK(topology.cpus[4].node == 2);
  CHECK(topology.cpus[5].known);
  CHECK_FALSE(topology.cpus[6].known);
  CHECK(topology.memory_nodes_by_distance(0) == Numbers{0, 2, 3});
  CHECK(topology.memory_nodes_by_distance(1) == Numbers{3, 2, 0});
  CHECK(topology.memory_nodes_by_distance(3) == Numbers{3, 2, 0});
}

TEST_CASE("nodes that the process may not take memory from count as without") {
  Tree tree;
  tree.cpus("0-3", "0-3");
  tree.write("node/online", "0-2");
  tree.node(0, "0-1", 1024, "10 20 30");
  tree.node(1, "2-3", 1024, "20 10 20");
  tree.node(2, "", 1024, "30 20 10");
  tree.write("status",
             "Name:\tzeropoold\nMems_allowed:\t00000000,00000005\nMems_allowed_list:\t0,2\n");
  Topology topology = read_topology(tree.root);
  CHECK(keep_to_allowed_nodes(topology, tree.root + "/status") == Numbers{1});
  CHECK(topology.memory_nodes_by_distance(1) == Numbers{0, 2});
  // No such file, or no such line: nothing is known, nothing is forbidden.
  Topology whole = read_topology(tree.root);
  CHECK(keep_to_allowed_nodes(whole, tree.root + "/none").empty());
  CHECK(whole.nodes[1].has_memory);
}

TEST_CASE("short distances and CPUs beyond the possible ones do no harm") {
  Tree tree;
  tree.cpus("0-1", "0-5");
  tree.write("node/online", "0-1");
  tree.node(0, "0-5", 1024, "10");
  tree.node(1, "9", 1024, "");
  const Topology topology = read_topology(tree.root);
  CHECK(topology.cpus.size() == 2);
  CHECK(topology.nodes[0].distances == Numbers{10, 20});
  CHECK(topology.memory_nodes_by_distance(1) == Numbers{1, 0});
}
