// The doctor's findings, on a machine of the test's own.

#include "ctl/doctor.hpp"

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <stdlib.h>
#include <string>

#include <doctest/doctest.h>

// zeropoolctl is a program and no library: what is tested is compiled in here (the rest by ctl_*_test.cpp).
#include "ctl/doctor.cpp"         // NOLINT(bugprone-suspicious-include)
#include "ctl/doctor_kernel.cpp"  // NOLINT(bugprone-suspicious-include)
#include "ctl/doctor_limits.cpp"  // NOLINT(bugprone-suspicious-include)
#include "ctl/doctor_nodes.cpp"   // NOLINT(bugprone-suspicious-include)
#include "ctl/doctor_pages.cpp"   // NOLINT(bugprone-suspicious-include)
#include "ctl/doctor_pools.cpp"   // NOLINT(bugprone-suspicious-include)

using namespace zeropool::ctl;
using nlohmann::json;

namespace {

// Two nodes of two CPUs, all well.
class Machine {
 public:
  Machine() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "zeropool-doctor-XXXXXX").string();
    root = ::mkdtemp(pattern.data());
    write("sys/devices/system/cpu/possible", "0-3");
    write("sys/devices/system/cpu/online", "0-3");
    write("sys/devices/system/node/online", "0-1");
    write("sys/devices/system/node/has_normal_memory", "0-1");
    for (int node = 0; node < 2; ++node) {
      this->node(node, node == 0 ? "0-1" : "2-3", 1048576);
      pages(node, 64, 64);
    }
    write("sys/kernel/mm/transparent_hugepage/shmem_enabled", "always [advise] never");
    write("proc/7/status", "Name: zeropoold\nMems_allowed_list:\t0-1");
    write("proc/7/cgroup", "0::/system.slice/zeropoold.service");
    write("proc/7/limits",
          "Max locked memory         unlimited            unlimited            bytes\n"
          "Max open files            65536                65536                files");
    paths = {root + "/sys", root + "/proc", root + "/cgroup", "7"};
    daemon = {{"pid", 7},
              {"budget_bytes", 268435456},
              {"clients_limit", 1024},
              {"mempolicy_refused", false},
              {"page_wishes",
               {{{"node", 0}, {"page_size", "2MiB"}, {"bytes", 134217728}},
                {{"node", 1}, {"page_size", "2MiB"}, {"bytes", 134217728}}}},
              {"pools",
               {{{"name", "frames"},
                 {"page_sizes", {"2MiB", "thp"}},
                 {"arenas", json::array()},
                 {"page_fallbacks", json::array()}}}}};
  }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  ~Machine() { std::filesystem::remove_all(root); }

  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = root + "/" + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text << '\n';
  }
  static std::string folder(int node) {
    return "sys/devices/system/node/node" + std::to_string(node);
  }
  void node(int id, const std::string& cpus, int kib) const {
    write(folder(id) + "/cpulist", cpus);
    write(folder(id) + "/meminfo",
          "Node " + std::to_string(id) + " MemTotal: " + std::to_string(kib) + " kB");
    write(folder(id) + "/distance", id == 0 ? "10 20" : "20 10");
  }
  void pages(int id, int there, int free) const {
    write(folder(id) + "/hugepages/hugepages-2048kB/nr_hugepages", std::to_string(there));
    write(folder(id) + "/hugepages/hugepages-2048kB/free_hugepages", std::to_string(free));
  }
  Findings look() const { return examine(paths, kernel, daemon); }

  std::string root;
  DoctorPaths paths;
  Kernel kernel;
  json daemon;
};

// The one finding that is not ok, or none, or "several".
std::string complaint(const Findings& findings) {
  std::string text;
  for (const Finding& finding : findings) {
    if (finding.level == Level::kOk) continue;
    if (!text.empty()) return "several: " + text + "; " + finding.what;
    text = std::string(finding.level == Level::kBad ? "bad: " : "warn: ") + finding.what + " -> " +
           finding.command;
  }
  return text;
}

bool mentions(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a machine where all is well has no complaint, with and without a daemon") {
  Machine machine;
  CHECK(complaint(machine.look()).empty());
  machine.daemon = json::object();
  CHECK(complaint(machine.look()).empty());
  CHECK(findings_document(machine.look())["well"] == true);
}

TEST_CASE(
    "hugepages short on one node: the command raises by what is missing, pools' own counted") {
  Machine machine;
  machine.pages(1, 40, 10);
  machine.daemon["pools"][0]["arenas"] = {
      {{"node", 1}, {"page_size", "2MiB"}, {"committed_bytes", 20 << 20}, {"misplaced_bytes", 0}}};
  const std::string said = complaint(machine.look());
  CHECK_MESSAGE(mentions(said, "warn: node 1: 40 pages of 2MiB are there, 10 free, 10 in pools"),
                said);
  // 64 wanted, 20 to be had: 44 more than the 40 that are there
  CHECK_MESSAGE(mentions(said, "echo 84 > " + machine.root), said);
}

TEST_CASE("pages of a size that the kernel does not have") {
  Machine machine;
  machine.daemon["page_wishes"][0]["page_size"] = "1GiB";
  CHECK(mentions(complaint(machine.look()), "take 1GiB out of pages.size"));
}

TEST_CASE("transparent huge pages that are off matter only where thp is configured") {
  Machine machine;
  machine.write("sys/kernel/mm/transparent_hugepage/shmem_enabled", "always advise [never]");
  CHECK(mentions(complaint(machine.look()), "-> echo advise > "));
  machine.daemon["pools"][0]["page_sizes"] = {"2MiB"};
  CHECK(complaint(machine.look()).empty());
}

TEST_CASE("a node that the daemon may not use, with the cpuset's file") {
  Machine machine;
  machine.write("proc/7/status", "Mems_allowed_list:\t0");
  const std::string said = complaint(machine.look());
  CHECK_MESSAGE(mentions(said, "warn: node 1 may not be used"), said);
  CHECK_MESSAGE(mentions(said, "echo 0,1 > " + machine.root +
                                   "/cgroup/system.slice/zeropoold.service/cpuset.mems"),
                said);
}

TEST_CASE("nodes without memory, without CPUs, offline; CPUs offline") {
  Machine machine;
  machine.node(0, "", 1048576);
  machine.node(1, "2-3", 0);
  machine.write("sys/devices/system/cpu/offline", "1,3");
  std::string all = render_findings(machine.look());
  CHECK(mentions(all, "ok    node 0 has no CPUs"));
  CHECK(mentions(all, "ok    node 1 has no memory"));
  CHECK(mentions(all, "ok    2 CPUs are offline"));
  machine.write("sys/devices/system/node/has_normal_memory", "0-2");
  CHECK(mentions(complaint(machine.look()), "warn: node 2 has memory and is offline"));
}

TEST_CASE("limits: files for all clients, locked memory, cgroups at every level") {
  Machine machine;
  machine.write("proc/7/limits",
                "Max locked memory         unlimited            unlimited            bytes\n"
                "Max open files            1024                 4096                 files");
  CHECK(mentions(complaint(machine.look()), "LimitNOFILE=65536"));
  machine.write("proc/7/limits",
                "Max locked memory         65536                65536                bytes\n"
                "Max open files            65536                65536                files");
  CHECK(mentions(complaint(machine.look()), "LimitMEMLOCK=infinity"));
  Machine small;
  small.write("cgroup/system.slice/memory.max", "1048576");
  small.write("cgroup/system.slice/zeropoold.service/memory.max", "max");
  const std::string said = complaint(small.look());
  CHECK_MESSAGE(mentions(said, "less than the budget of 256 MiB"), said);
  CHECK_MESSAGE(mentions(said, "echo max > " + small.root + "/cgroup/system.slice/memory.max"),
                said);
}

TEST_CASE("system calls that are filtered are bad, the daemon's own word counts") {
  Machine machine;
  machine.kernel.pidfd = EPERM;
  CHECK(mentions(complaint(machine.look()), "bad: pidfd_open"));
  CHECK(findings_document(machine.look())["well"] == false);
  machine.kernel = {};
  machine.kernel.membarrier = ENOSYS;
  CHECK(mentions(complaint(machine.look()), "bad: membarrier"));
  machine.kernel = {};
  machine.kernel.mempolicy = ENOSYS;  // no NUMA in this kernel: nothing to say
  CHECK(complaint(machine.look()).empty());
  machine.kernel = {};
  machine.daemon["mempolicy_refused"] = true;
  CHECK(mentions(complaint(machine.look()), "bad: set_mempolicy"));
}

TEST_CASE("fall-backs and misplaced memory, by the daemon's account") {
  Machine machine;
  machine.daemon["pools"][0]["page_fallbacks"] = {{{"from", "2MiB"}, {"to", "4KiB"}, {"count", 1}}};
  CHECK(mentions(complaint(machine.look()), "pages of 4KiB in place of 2MiB on 1 node"));
  machine.daemon["pools"][0]["page_fallbacks"] = json::array();
  machine.daemon["pools"][0]["arenas"] = {{{"node", 1},
                                           {"page_size", "4KiB"},
                                           {"committed_bytes", 4 << 20},
                                           {"misplaced_bytes", 1 << 20}}};
  CHECK(mentions(complaint(machine.look()), "1.00 MiB of node 1 lie on another one"));
}

TEST_CASE("an empty machine and a document of another version break nothing") {
  const DoctorPaths nowhere{"/nowhere", "/nowhere", "/nowhere", "self"};
  CHECK_FALSE(render_findings(examine(nowhere, {}, json::object())).empty());
  CHECK_FALSE(render_findings(examine(nowhere, {}, {{"pools", 3}, {"page_wishes", "x"}})).empty());
}
