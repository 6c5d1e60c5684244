// Pages: what a client's first touch costs, what a node without hugepages gets instead, full nodes and the OOM killer, an
// ordinary user's daemon, and pages that somebody else has moved. For two nodes, both with memory and CPUs.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <memory>
#include <numaif.h>
#include <string>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "tests/integration/support/child_process.hpp"
#include "tests/integration/support/daemon_process.hpp"
#include "tests/vm/support/machine.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using namespace zeropool::vm;
using zeropool::Buffer;
using zeropool::ErrorCode;
using zeropool::Pool;

namespace {

constexpr std::size_t kMiB = 1 << 20;
constexpr unsigned kUser = 1000;

std::string config(const std::string& pages, const std::string& placement = "local",
                   int budget_mib = 256) {
  return "budget: " + std::to_string(budget_mib) + "MiB\npages: {size: [" + pages +
         "]}\npools:\n  frames:\n    placement: " + placement +
         "\n    classes: [64KiB, 1MiB]\n    wait: {timeout: 300ms}\n";
}

template <typename Work>
void on_a_thread_of(const Node& node, Work work) {
  std::thread([&] {
    run_on(node);
    work();
  }).join();
}

std::vector<std::unique_ptr<Hugepages>> on_each_node(std::uint64_t count) {
  std::vector<std::unique_ptr<Hugepages>> reserved;
  for (const Node& node : nodes_with(false, true)) {
    reserved.push_back(std::make_unique<Hugepages>(node.id, count));
    REQUIRE(reserved.back()->granted() == count);
  }
  return reserved;
}

std::uint64_t oom_kills() {
  std::ifstream file("/proc/vmstat");
  for (std::string key, value; file >> key >> value;) {
    if (key == "oom_kill") return std::stoull(value);
  }
  throw std::runtime_error("/proc/vmstat has no oom_kill");
}

// Writes one byte of each 4 KiB, and says how many faults of this process that took.
std::uint64_t faults_of_touching(std::byte* at, std::size_t bytes) {
  const std::uint64_t before = minor_faults();
  for (std::size_t offset = 0; offset < bytes; offset += 4096) {
    *static_cast<volatile std::byte*>(at + offset) = std::byte{1};
  }
  return minor_faults() - before;
}

// An emulated machine beside others that are busy may take seconds for what takes milliseconds.
std::vector<Buffer> get_many(Pool& pool, std::size_t count) {
  std::vector<Buffer> held;
  while (held.size() < count) {
    held.push_back(pool.get(kMiB, 30s));
    REQUIRE_MESSAGE(held.back(), held.back().error().sentence);
  }
  return held;
}

struct Faults {
  std::uint64_t first = 0;   // of the first buffer of the gibibyte
  std::uint64_t others = 0;  // of all the others
};

// In a process of its own: nothing of the pool has been touched in it.
Faults faults_of_a_client(const DaemonProcess& daemon, std::size_t count) {
  const auto outcome = run_in_child<Faults>([&] {
    std::byte warm[64];
    faults_of_touching(warm, sizeof(warm));  // the function itself is there
    auto pool = daemon.open();
    expect(static_cast<bool>(pool), "open");
    std::vector<Buffer> held;
    for (std::size_t i = 0; i < count; ++i) {
      held.push_back(pool->get(kMiB, 30s));
      expect(static_cast<bool>(held.back()), "get");
    }
    Faults faults;
    faults.first = faults_of_touching(held[0].data(), kMiB);
    for (std::size_t i = 1; i < count; ++i) {
      faults.others += faults_of_touching(held[i].data(), kMiB);
    }
    return faults;
  });
  REQUIRE_MESSAGE(outcome.end.well(), outcome.failure);
  return outcome.value;
}

// Moves every page of a buffer, whoever maps it; how many are there now.
std::size_t move_to(const Buffer& buffer, const Node& node, std::size_t page_bytes) {
  std::vector<void*> pages;
  for (std::size_t offset = 0; offset < kMiB; offset += page_bytes) {
    pages.push_back(const_cast<std::byte*>(buffer.data()) + offset);
  }
  const std::vector<int> wanted(pages.size(), static_cast<int>(node.id));
  std::vector<int> status(pages.size(), -1);
  // A page that somebody looks at for a moment stays where it is.
  const bool moved = eventually([&] {
    return ::syscall(SYS_move_pages, 0, pages.size(), pages.data(), wanted.data(), status.data(),
                     MPOL_MF_MOVE_ALL) == 0;
  });
  CHECK(moved);
  return static_cast<std::size_t>(
      std::count(status.begin(), status.end(), static_cast<int>(node.id)));
}

}  // namespace

TEST_CASE("hugetlb: the first touch of what the daemon has populated takes no fault") {
  const auto reserved = on_each_node(48);
  DaemonProcess daemon(config("2MiB"));
  run_on(nodes_with(true, true).front());
  const Faults faults = faults_of_a_client(daemon, 33);
  run_anywhere();
  MESSAGE("first 1 MiB: ", faults.first, " minor faults; 32 MiB more: ", faults.others);
  // The one that finds the daemon's page table, once a gibibyte of a segment.
  CHECK(faults.first <= 1);
  CHECK(faults.others == 0);
}

TEST_CASE("4 KiB pages: a fault a page, so the count above counts") {
  DaemonProcess daemon(config("4KiB"));
  const Faults faults = faults_of_a_client(daemon, 4);
  MESSAGE("first 1 MiB: ", faults.first, " minor faults; 3 MiB more: ", faults.others);
  CHECK(faults.first + faults.others >= 4 * kMiB / 4096 / 16);  // the kernel maps around a fault
}

TEST_CASE("hugepages on one node only: the other falls back to the next size, alone") {
  const std::vector<Node> both = nodes_with(true, true);
  const Hugepages some(both[0].id, 48);
  REQUIRE(some.granted() == 48);
  DaemonProcess daemon(config("2MiB, 4KiB"));
  auto pool = daemon.open();
  REQUIRE(pool);
  for (const Node& node : both) {
    on_a_thread_of(node, [&] {
      for (const Buffer& buffer : get_many(*pool, 16)) {
        CHECK(all_on(where_pages_are(buffer.data(), kMiB), node.id));
      }
    });
  }
  const std::string has = "node=\"" + std::to_string(both[0].id) + "\"";
  const std::string has_none = "node=\"" + std::to_string(both[1].id) + "\"";
  CHECK(daemon.metric("zeropool_page_fallbacks_total") == 1);
  CHECK(daemon.metric("zeropool_page_fallbacks_total", {"from=\"2MiB\"", "to=\"4KiB\""}) == 1);
  CHECK(daemon.metric("zeropool_committed_bytes", {has, "page_size=\"2MiB\""}) >= 16 * kMiB);
  CHECK(daemon.metric("zeropool_committed_bytes", {has, "page_size=\"4KiB\""}) == 0);
  CHECK(daemon.metric("zeropool_committed_bytes", {has_none, "page_size=\"4KiB\""}) >= 16 * kMiB);
  CHECK(daemon.metric("zeropool_committed_bytes", {has_none, "page_size=\"2MiB\""}) == 0);
  const std::string said = "pool frames, node " + std::to_string(both[1].id) + ": no 2MiB pages";
  CHECK_MESSAGE(daemon.log().find(said) != std::string::npos, daemon.log());
}

TEST_CASE("a full node: local_only gets fail with a reason, and nobody is killed for memory") {
  const std::uint64_t kills = oom_kills();
  const Node home = nodes_with(true, true).front();
  DaemonProcess daemon(config("4KiB", "local_only", 512));
  const FullNode full(home.id, 96 * kMiB);
  auto pool = daemon.open();
  REQUIRE(pool);
  on_a_thread_of(home, [&] {
    std::vector<Buffer> held;
    for (;;) {
      held.push_back(pool->get(kMiB));
      if (!held.back()) break;
      REQUIRE(held.back().node() == home.id);
      REQUIRE(held.size() < 96);
    }
    const zeropool::Error& error = held.back().error();
    const bool full_or_late =
        error.code == ErrorCode::budget_exhausted || error.code == ErrorCode::timed_out;
    MESSAGE((held.size() - 1), " MiB, then: ", error.sentence);
    CHECK_MESSAGE(full_or_late, error.sentence);
  });
  CHECK(free_bytes(home.id) >= 32 * kMiB);
  CHECK(daemon.alive());
  CHECK(oom_kills() == kills);
  CHECK_MESSAGE(daemon.log().find("could not be committed on node " + std::to_string(home.id)) !=
                    std::string::npos,
                daemon.log());
}

TEST_CASE("a full node: local gets come from the other one; with both full they fail") {
  const std::uint64_t kills = oom_kills();
  const std::vector<Node> both = nodes_with(true, true);
  DaemonProcess daemon(config("4KiB", "local", 512));
  const FullNode full(both[0].id, 96 * kMiB);
  auto pool = daemon.open();
  REQUIRE(pool);
  on_a_thread_of(both[0], [&] {
    std::vector<Buffer> held = get_many(*pool, 128);
    const auto elsewhere = std::count_if(held.begin(), held.end(), [&](const Buffer& buffer) {
      return buffer.node() == both[1].id;
    });
    MESSAGE(elsewhere, " of 128 MiB came from the other node");
    CHECK(elsewhere >= 64);
    const FullNode full_too(both[1].id, 96 * kMiB);
    while (held.size() < 512) {
      held.push_back(pool->get(kMiB));
      if (!held.back()) break;
    }
    REQUIRE(held.size() < 512);
    MESSAGE((held.size() - 1), " MiB, then: ", held.back().error().sentence);
  });
  CHECK(daemon.metric("zeropool_remote_gets_total") >= 64);
  CHECK(daemon.alive());
  CHECK(oom_kills() == kills);
}

TEST_CASE("an ordinary user's daemon places on the right nodes, with and without hugepages") {
  const auto reserved = on_each_node(24);
  for (const char* pages : {"2MiB", "4KiB"}) {
    DaemonProcess daemon(config(pages), kUser);
    for (const Node& node : nodes_with(true, true)) {
      const auto outcome = run_in_child<bool>([&] {
        expect(::setresgid(kUser, kUser, kUser) == 0 && ::setresuid(kUser, kUser, kUser) == 0,
               "become an ordinary user");
        run_on(node);
        auto pool = daemon.open();
        expect(static_cast<bool>(pool), "open");
        std::vector<Buffer> held;
        for (int i = 0; i < 12; ++i) {
          held.push_back(pool->get(kMiB, 30s));
          expect(static_cast<bool>(held.back()), "get");
          expect(all_on(where_pages_are(held.back().data(), kMiB), node.id), "place");
        }
        return true;
      });
      CHECK_MESSAGE(outcome.end.well(), outcome.failure);
    }
    CHECK(daemon.metric("zeropool_committed_bytes", {"page_size=\"" + std::string(pages) + "\""}) >=
          24 * kMiB);
    CHECK(daemon.metric("zeropool_page_fallbacks_total") == 0);
    CHECK(daemon.metric("zeropool_misplaced_bytes") == 0);
  }
}

TEST_CASE(
    "pages that somebody moved to another node are counted as misplaced until they are back") {
  const auto reserved = on_each_node(40);
  const std::vector<Node> both = nodes_with(true, true);
  for (const char* pages : {"4KiB", "2MiB"}) {
    DaemonProcess daemon(config(pages));
    auto pool = daemon.open();
    REQUIRE(pool);
    on_a_thread_of(both[0], [&] {
      const std::vector<Buffer> held = get_many(*pool, 8);
      CHECK(daemon.metric("zeropool_misplaced_bytes") == 0);
      const std::size_t step = std::string(pages) == "4KiB" ? 4096 : 2 * kMiB;
      for (const Buffer& buffer : held) {
        where_pages_are(buffer.data(), kMiB);  // in our page table
        CHECK(move_to(buffer, both[1], step) == std::max<std::size_t>(1, kMiB / step));
      }
      const bool seen =
          eventually([&] { return daemon.metric("zeropool_misplaced_bytes") > 0; }, 20s);
      CHECK(seen);
      CHECK(daemon.log().find("lies on another one") != std::string::npos);
      for (const Buffer& buffer : held) move_to(buffer, both[0], step);
      const bool back =
          eventually([&] { return daemon.metric("zeropool_misplaced_bytes") == 0; }, 30s);
      CHECK(back);
    });
  }
}
