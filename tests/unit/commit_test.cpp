#include "daemon/commit.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <poll.h>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "daemon/commit_thread.hpp"
#include "zeropool/lib/control_plan.hpp"
#include "zeropool/lib/segment.hpp"

using namespace zeropool;
using namespace zeropool::daemon;

namespace {

// A machine of one node with so much memory, as files.
class FakeMachine {
 public:
  FakeMachine() {
    char pattern[] = "/tmp/zeropool-guard-XXXXXX";
    root_ = ::mkdtemp(pattern);
    std::filesystem::create_directories(root_ + "/node0");
    std::filesystem::create_directories(root_ + "/self");
    std::filesystem::create_directories(root_ + "/cgroup/outer/inner");
  }
  ~FakeMachine() { std::filesystem::remove_all(root_); }
  FakeMachine(const FakeMachine&) = delete;
  FakeMachine& operator=(const FakeMachine&) = delete;

  void write(const std::string& path, const std::string& text) const {
    std::ofstream(root_ + "/" + path) << text;
  }
  void memory(std::uint64_t total_kib, std::uint64_t free_kib) const {
    write("node0/meminfo", "Node 0 MemTotal: " + std::to_string(total_kib) +
                               " kB\nNode 0 MemFree: " + std::to_string(free_kib) + " kB\n");
  }
  MemoryGuardPaths paths() const { return {root_, root_, root_ + "/cgroup"}; }

 private:
  std::string root_;
};

struct TestSegment {
  explicit TestSegment(std::uint64_t size, lib::SegmentPages pages = lib::SegmentPages::kSmall) {
    std::string why;
    fd = lib::create_segment("test", size, pages, why);
    if (fd) mapping = lib::map_segment(fd.get(), size, lib::kGiantPage, why);
  }
  CommitRange range(std::uint64_t offset, std::uint64_t bytes,
                    lib::PageKind kind = lib::PageKind::kSmall4KiB) const {
    return {fd.get(), mapping.data(), offset, bytes, kind, 0};
  }
  std::uint64_t occupied() const { return lib::segment_occupied_bytes(fd.get()); }
  lib::UniqueFd fd;
  lib::Mapping mapping;
};

}  // namespace

TEST_CASE("a committed range occupies exactly its bytes, and nothing once punched") {
  for (const lib::PageKind kind : {lib::PageKind::kSmall4KiB, lib::PageKind::kTransparent}) {
    TestSegment segment(lib::kGiantPage);
    MemoryGuard guard;
    const CommitRange range = segment.range(4 << 20, 20 << 20, kind);
    CHECK(commit_range(range, guard).outcome == CommitOutcome::kDone);
    CHECK(segment.occupied() == 20U << 20);
    segment.mapping.data()[(4 << 20) + 5] = std::byte{1};
    CHECK(segment.occupied() == 20U << 20);
    CHECK(punch_range(range).outcome == CommitOutcome::kDone);
    CHECK(segment.occupied() == 0);
    CHECK(segment.mapping.data()[(4 << 20) + 5] == std::byte{0});
  }
}

TEST_CASE("huge pages that are not to be had are an answer, and what was got goes back") {
  for (const auto& [pages, kind] :
       {std::pair{lib::SegmentPages::kHuge2MiB, lib::PageKind::kHuge2MiB},
        std::pair{lib::SegmentPages::kGiant1GiB, lib::PageKind::kGiant1GiB}}) {
    TestSegment segment(std::uint64_t{1} << 42, pages);
    if (!segment.mapping) continue;  // this kernel has no such pages
    MemoryGuard guard;
    // More than any machine that runs this has.
    const CommitResult result = commit_range(segment.range(0, std::uint64_t{1} << 42, kind), guard);
    CHECK(result.outcome == CommitOutcome::kNodeFull);
    CHECK(segment.occupied() == 0);
  }
}

TEST_CASE("a commit that the guard stops midway leaves nothing") {
  const FakeMachine machine;
  machine.memory(1 << 20, 64 << 10);  // 64 MiB free of 1 GiB, which is the reserve
  MemoryGuard guard(machine.paths());
  TestSegment segment(lib::kGiantPage);
  CHECK(commit_range(segment.range(0, 1 << 20), guard).outcome == CommitOutcome::kNodeFull);
  machine.memory(1 << 20, (64 + 20) << 10);
  MemoryGuard more(machine.paths());
  std::uint64_t taken = 0;
  while (more.take(0, kCommitChunkBytes))
    taken += kCommitChunkBytes, machine.memory(1 << 20, 70 << 10);
  CHECK(taken <= 20U << 20);
  CHECK(segment.occupied() == 0);
}

TEST_CASE("headroom is the least of the node's and of every cgroup level's") {
  const FakeMachine machine;
  const std::uint64_t mib = 1 << 20;
  machine.memory(16 << 20, 8 << 20);  // KiB: 8 GiB free of 16
  CHECK(MemoryGuard(machine.paths()).headroom(0) ==
        (std::uint64_t{8} << 30) - (std::uint64_t{16} << 30) / 100);
  machine.write("self/cgroup", "0::/outer/inner\n");
  machine.write("cgroup/outer/memory.max", "536870912\n");  // 512 MiB
  machine.write("cgroup/outer/memory.current", "134217728\n");
  machine.write("cgroup/outer/inner/memory.max", "max\n");
  machine.write("cgroup/outer/inner/memory.current", "134217728\n");
  CHECK(MemoryGuard(machine.paths()).headroom(0) == 512 * mib - 128 * mib - 16 * mib);
  machine.write("cgroup/outer/memory.stat", "anon 5\ninactive_file 67108864\n");
  CHECK(MemoryGuard(machine.paths()).headroom(0) == 512 * mib - 96 * mib - 16 * mib);
  CHECK(MemoryGuard(machine.paths()).headroom(7) > 0);  // no such node: only what is known limits
}

TEST_CASE("jobs end in order, on the thread that delivers") {
  TestSegment segment(lib::kGiantPage);
  CommitThread commits(false);
  std::vector<int> order;
  const std::thread::id here = std::this_thread::get_id();
  int owner = 0;
  for (int i = 0; i < 8; ++i) {
    CommitJob job;
    job.kind = i % 2 == 0 ? CommitKind::kCommit : CommitKind::kPunch;
    job.range = segment.range(0, 2 << 20);
    job.owner = &owner;
    job.done = [&, i](CommitResult result) {
      CHECK(result.outcome == CommitOutcome::kDone);
      CHECK(std::this_thread::get_id() == here);
      order.push_back(i);
    };
    commits.submit(std::move(job));
  }
  CHECK(commits.run_now(CommitKind::kCommit, segment.range(64 << 20, 2 << 20)).outcome ==
        CommitOutcome::kDone);
  commits.finish();
  CHECK(order == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(segment.occupied() == 2U << 20);
}

TEST_CASE("no completion runs after its owner was forgotten") {
  TestSegment segment(lib::kGiantPage);
  CommitThread commits(true);  // binds where the kernel lets it
  int owner = 0;
  bool ran = false;
  for (int i = 0; i < 16; ++i) {
    CommitJob job;
    job.range = segment.range(static_cast<std::uint64_t>(i) << 21, 2 << 20);
    job.owner = &owner;
    job.done = [&](CommitResult) { ran = true; };
    commits.submit(std::move(job));
  }
  commits.forget(&owner);
  commits.finish();
  CHECK_FALSE(ran);
}

// W3, as the loop sees it: it delivers only when it is woken.
TEST_CASE(
    "no completion stays behind when several share a wake, though the last job is forgotten") {
  constexpr std::uint64_t kJob = 1 << 20;
  constexpr int kJobs = 96;
  for (int round = 0; round < 8; ++round) {
    CAPTURE(round);
    TestSegment segment(lib::kGiantPage);
    CommitThread commits(false);
    int mine = 0;
    const int other = 0;
    int delivered = 0;
    int of_the_other = 0;
    for (int i = 0; i < kJobs; ++i) {
      CommitJob job;
      job.range = segment.range(static_cast<std::uint64_t>(i) * kJob, kJob);
      job.owner = i % 3 == 2 ? static_cast<const void*>(&other) : &mine;
      job.ahead = round != 0;
      job.done = [&, i](CommitResult) { ++(i % 3 == 2 ? of_the_other : delivered); };
      commits.submit(std::move(job));
    }
    if (round % 4 == 1) commits.hurry();
    if (round % 4 == 2) commits.forget(&other);  // the last job is the other's
    const int expected = kJobs - kJobs / 3;
    pollfd wake{commits.completion_fd(), POLLIN, 0};
    while (delivered < expected && ::poll(&wake, 1, 30'000) == 1) commits.deliver();
    CHECK(delivered == expected);
    commits.finish();
    CHECK((round % 4 == 2 || of_the_other == kJobs / 3));
  }
}
