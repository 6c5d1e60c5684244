// Hugepages asked for, node by node, on a sysfs of the test's own. That sysfs is files: where a test wants a kernel that
// grants, it moves free_hugepages itself before the count is written.

#include "daemon/page_reserve.hpp"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdlib.h>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "daemon/page_reservation.hpp"

using namespace zeropool::daemon;
using zeropool::lib::Topology;

namespace {

class Machine {
 public:
  Machine() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "zeropool-pages-XXXXXX").string();
    root = ::mkdtemp(pattern.data());
    boot("first");
  }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  ~Machine() { std::filesystem::remove_all(root); }

  void pages(std::uint32_t node, PageSize size, std::uint64_t count, std::uint64_t free) {
    std::filesystem::create_directories(numa(node, size));
    write(numa(node, size) + "nr_hugepages", count);
    write(numa(node, size) + "free_hugepages", free);
  }
  void free(std::uint32_t node, std::uint64_t pages) {
    write(numa(node, PageSize::kHuge2MiB) + "free_hugepages", pages);
  }
  std::uint64_t count(std::uint32_t node, PageSize size) const {
    return hugepages_on(node, size, root);
  }
  void boot(const std::string& id) { std::ofstream(root + "/boot_id") << id << '\n'; }
  std::string record() const { return root + "/socket.hugepages"; }
  PageReservationPaths paths() const { return {record(), root, root + "/boot_id"}; }
  // Grants up to so many pages.
  BeforeRaise granting(std::uint64_t most) const {
    return [this, most](const PageGrant& intent) {
      write(numa(intent.node, intent.size) + "free_hugepages", std::min(most, intent.asked));
      return true;
    };
  }
  std::string numa(std::uint32_t node, PageSize size) const {
    return root + "/devices/system/node/node" + std::to_string(node) + "/hugepages/hugepages-" +
           (size == PageSize::kHuge1GiB ? "1048576" : "2048") + "kB/";
  }
  static void write(const std::string& file, std::uint64_t value) {
    std::ofstream(file) << value << '\n';
  }
  std::string root;
};

Topology nodes(std::uint32_t count) {
  Topology topology;
  for (std::uint32_t id = 0; id < count; ++id) {
    Topology::Node node;
    node.id = id;
    node.memory_bytes = kGiB;
    topology.nodes.push_back(node);
  }
  return topology;
}

PageWish wish(std::uint32_t node, std::uint64_t bytes,
              std::vector<PageSize> sizes = {PageSize::kHuge2MiB}) {
  return {node, std::move(sizes), bytes};
}

std::uint64_t sum(const std::vector<PageWish>& wishes) {
  std::uint64_t bytes = 0;
  for (const PageWish& each : wishes) bytes += each.bytes;
  return bytes;
}

}  // namespace

TEST_CASE("wishes: a pool's part of the budget is spread over its nodes, in whole pages") {
  Config config;
  const auto wishes = page_wishes(config, nodes(2), 258 * kMiB);
  REQUIRE(wishes.size() == 2);
  CHECK(wishes[0] == wish(0, 130 * kMiB));
  CHECK(wishes[1] == wish(1, 128 * kMiB));
}

TEST_CASE("wishes: never more than the budget, however the pools' limits add up") {
  Config config;
  config.pools.assign(3, PoolConfig{});
  config.pools[0].page_sizes = std::vector{PageSize::kHuge1GiB, PageSize::kHuge2MiB};
  config.pools[1].limit_bytes = 100 * kMiB;
  for (const std::uint64_t budget : {10 * kMiB, 300 * kMiB, 5 * kGiB + 1, 100 * kTiB}) {
    CHECK(sum(page_wishes(config, nodes(3), budget)) <= budget);
  }
  CHECK(sum(page_wishes(config, nodes(3), 5 * kGiB)) >= 4 * kGiB);
}

TEST_CASE("wishes: only sizes that stand first, and only nodes that the pool has") {
  Config config;
  config.pages.size = {PageSize::kThp, PageSize::kHuge2MiB};
  CHECK(page_wishes(config, nodes(2), kGiB).empty());
  config.pages.size = {PageSize::kHuge2MiB, PageSize::kThp, PageSize::kHuge1GiB};
  config.pools[0].nodes = std::vector<std::uint32_t>{1};
  const auto wishes = page_wishes(config, nodes(2), kGiB);
  REQUIRE(wishes.size() == 1);
  CHECK(wishes[0] == wish(1, kGiB));
  Topology no_memory = nodes(2);
  no_memory.nodes[1].has_memory = false;
  CHECK(page_wishes(config, no_memory, kGiB).empty());
}

TEST_CASE("what is free already is not asked for again, and no count is lowered") {
  Machine machine;
  machine.pages(0, PageSize::kHuge2MiB, 100, 80);
  const auto grants = reserve_pages({wish(0, 64 * kMiB)}, {}, machine.root);
  REQUIRE(grants.size() == 1);
  CHECK(grants[0].full());
  CHECK(grants[0].asked == 32);
  CHECK(machine.count(0, PageSize::kHuge2MiB) == 100);
}

TEST_CASE("only what is short is added to what others have") {
  Machine machine;
  machine.pages(0, PageSize::kHuge2MiB, 100, 10);
  const auto grants = reserve_pages({wish(0, 64 * kMiB)}, machine.granting(32), machine.root);
  CHECK(grants[0].full());
  CHECK(machine.count(0, PageSize::kHuge2MiB) == 122);
}

TEST_CASE("a smaller grant is no error to the kernel: it is read back and said") {
  Machine machine;
  machine.pages(0, PageSize::kHuge2MiB, 0, 0);
  const auto grants = reserve_pages({wish(0, 64 * kMiB)}, machine.granting(20), machine.root);
  CHECK_FALSE(grants[0].full());
  CHECK(grants[0].granted == 20);
  CHECK(grants[0].error == 0);
  CHECK(grants[0].describe().find("20 of 32 pages of 2MiB") != std::string::npos);
}

TEST_CASE("ordinary memory that others need is left alone") {
  Machine machine;
  machine.pages(0, PageSize::kHuge2MiB, 0, 0);
  std::ofstream(machine.root + "/devices/system/node/node0/meminfo")
      << "Node 0 MemTotal: 1048576 kB\nNode 0 MemFree: 98304 kB\n";  // 96 of 1024 MiB
  reserve_pages({wish(0, 64 * kMiB)}, {}, machine.root);
  CHECK(machine.count(0, PageSize::kHuge2MiB) == 14);  // 7/8 of what is above 64 MiB
}

TEST_CASE("the next hugetlb size is tried where the node could give none, each node by itself") {
  Machine machine;
  const std::vector<PageSize> sizes = {PageSize::kHuge1GiB, PageSize::kHuge2MiB};
  machine.pages(0, PageSize::kHuge1GiB, 1, 1);
  machine.pages(0, PageSize::kHuge2MiB, 0, 0);
  machine.pages(1, PageSize::kHuge1GiB, 0, 0);
  machine.pages(1, PageSize::kHuge2MiB, 512, 512);
  const auto grants = reserve_pages({wish(0, kGiB, sizes), wish(1, kGiB, sizes)}, {}, machine.root);
  REQUIRE(grants.size() == 3);
  CHECK(grants[0].full());
  CHECK(grants[1].node == 1);
  CHECK(grants[1].granted == 0);
  CHECK(grants[2].size == PageSize::kHuge2MiB);
  CHECK(grants[2].full());
}

TEST_CASE("pools with other second sizes ask for one size once") {
  Machine machine;
  machine.pages(0, PageSize::kHuge2MiB, 10, 10);
  const auto grants = reserve_pages(
      {wish(0, 20 * kMiB), wish(0, 20 * kMiB, {PageSize::kHuge2MiB, PageSize::kHuge1GiB})},
      machine.granting(20), machine.root);
  REQUIRE(grants.size() == 1);
  CHECK(grants[0].asked == 20);
  CHECK(machine.count(0, PageSize::kHuge2MiB) == 20);
}

TEST_CASE("a machine without that size says so, and one without NUMA is asked as a whole") {
  Machine machine;
  CHECK(reserve_pages({wish(0, kMiB * 2)}, {}, machine.root)[0].describe().find("no such file") !=
        std::string::npos);
  const std::string whole = machine.root + "/kernel/mm/hugepages/hugepages-2048kB/";
  std::filesystem::create_directories(whole);
  Machine::write(whole + "nr_hugepages", 0);
  Machine::write(whole + "free_hugepages", 0);
  reserve_pages({wish(0, kMiB * 2)}, {}, machine.root);
  CHECK(machine.count(0, PageSize::kHuge2MiB) == 1);
}

TEST_CASE("a count that may not be written: the sentence has the command for root") {
  Machine machine;
  machine.pages(0, PageSize::kHuge2MiB, 0, 0);
  const std::string file = machine.numa(0, PageSize::kHuge2MiB) + "nr_hugepages";
  // Root may write everything: a folder in its place refuses root too.
  const auto grants = reserve_pages(
      {wish(0, 64 * kMiB)},
      [&](const PageGrant&) {
        std::filesystem::remove(file);
        std::filesystem::create_directory(file);
        return true;
      },
      machine.root);
  CHECK(grants[0].error != 0);
  CHECK(grants[0].describe().find("as root: echo 32 > " + file) != std::string::npos);
}

TEST_CASE("what was raised is recorded, and given back at an orderly end, above what was there") {
  Machine machine;
  machine.pages(0, PageSize::kHuge2MiB, 10, 0);
  {
    PageReservation reservation(machine.paths());
    reservation.raise({wish(0, 64 * kMiB)});
    CHECK(machine.count(0, PageSize::kHuge2MiB) == 42);
    CHECK(std::filesystem::exists(machine.record()));
    machine.free(0, 42);
    reservation.give_back_at_end();
  }
  CHECK(machine.count(0, PageSize::kHuge2MiB) == 10);
  CHECK_FALSE(std::filesystem::exists(machine.record()));
}

TEST_CASE("pages in use stay, and are the next one's to give back") {
  Machine machine;
  machine.pages(0, PageSize::kHuge2MiB, 10, 0);
  {
    PageReservation reservation(machine.paths());
    reservation.raise({wish(0, 64 * kMiB)});
    machine.free(0, 22);
    reservation.give_back_at_end();
  }
  CHECK(machine.count(0, PageSize::kHuge2MiB) == 20);
  machine.free(0, 20);
  {
    PageReservation next(machine.paths());
    REQUIRE(next.raised().size() == 1);
    CHECK(next.raised()[0] == PageReservation::Raised{0, PageSize::kHuge2MiB, 10, 10});
    next.give_back_at_end();
  }
  CHECK(machine.count(0, PageSize::kHuge2MiB) == 10);
  CHECK_FALSE(std::filesystem::exists(machine.record()));
}

TEST_CASE("a killed daemon's pages are the next one's to give back") {
  Machine machine;
  machine.pages(0, PageSize::kHuge2MiB, 10, 0);
  { PageReservation(machine.paths()).raise({wish(0, 64 * kMiB)}); }
  CHECK(machine.count(0, PageSize::kHuge2MiB) == 42);
  machine.free(0, 42);
  {
    PageReservation next(machine.paths());
    REQUIRE(next.raised().size() == 1);
    CHECK(next.raised()[0] == PageReservation::Raised{0, PageSize::kHuge2MiB, 10, 32});
    next.give_back_at_end();
  }
  CHECK(machine.count(0, PageSize::kHuge2MiB) == 10);
}

TEST_CASE("killed between the record and the kernel: no more is given back than was got") {
  Machine machine;
  machine.pages(0, PageSize::kHuge2MiB, 12, 12);
  std::ofstream(machine.record()) << "first\n0 2MiB 10 32\n";
  {
    PageReservation next(machine.paths());
    REQUIRE(next.raised().size() == 1);
    CHECK(next.raised()[0].pages == 2);
    next.give_back_at_end();
  }
  CHECK(machine.count(0, PageSize::kHuge2MiB) == 10);
}

TEST_CASE("somebody else has lowered or raised the count since: never below what was there") {
  Machine machine;
  machine.pages(0, PageSize::kHuge2MiB, 10, 0);
  for (const std::uint64_t now : {5, 20, 100}) {
    machine.pages(0, PageSize::kHuge2MiB, 10, 0);
    {
      PageReservation reservation(machine.paths());
      reservation.raise({wish(0, 64 * kMiB)});
      Machine::write(machine.numa(0, PageSize::kHuge2MiB) + "nr_hugepages", now);
      machine.free(0, now);
      reservation.give_back_at_end();
    }
    CHECK(machine.count(0, PageSize::kHuge2MiB) == (now == 5 ? 5 : now == 20 ? 10 : 68));
  }
}

TEST_CASE("a record of another boot, or one that is nonsense, means nothing") {
  Machine machine;
  machine.pages(0, PageSize::kHuge2MiB, 42, 42);
  std::ofstream(machine.record()) << "first\n0 2MiB 10 32\n";
  machine.boot("second");
  CHECK(PageReservation(machine.paths()).raised().empty());
  std::ofstream(machine.record()) << "second\n0 3MiB 10 32\nx\n0 2MiB -1\n7 2MiB 0 5\n";
  CHECK(PageReservation(machine.paths()).raised().empty());
}

TEST_CASE("without a record nothing is raised") {
  Machine machine;
  machine.pages(0, PageSize::kHuge2MiB, 10, 0);
  PageReservationPaths paths = machine.paths();
  paths.record = machine.root + "/nowhere/socket.hugepages";
  PageReservation reservation(paths);
  const auto grants = reservation.raise({wish(0, 64 * kMiB)});
  CHECK_FALSE(grants[0].full());
  CHECK(machine.count(0, PageSize::kHuge2MiB) == 10);
  CHECK(reservation.raised().empty());
}
