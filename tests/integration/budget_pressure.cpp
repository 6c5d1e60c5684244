// The kernel itself says that memory is short: a process that thrashes in a cgroup too small for it makes the machine's
// stalls grow, and zeropoold hears of them. Takes root and a cgroup; where there is none, it says so and is skipped.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <memory>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"
#include "support/pattern.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;

namespace {

constexpr std::uint64_t kMiB = 1024 * 1024;
constexpr int kSkipped = 77;  // ctest: SKIP_RETURN_CODE
constexpr std::uint64_t kFileBytes = 96 * kMiB;
constexpr std::uint64_t kGroupBytes = 24 * kMiB;

bool write_to(const std::string& path, const std::string& text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(fd);
  return written;
}

// A memory cgroup of a test's own, v2 or v1.
class SmallGroup {
 public:
  SmallGroup() {
    const std::string name = "/zeropool-test-" + std::to_string(::getpid());
    const std::pair<const char*, const char*> places[] = {
        {"/sys/fs/cgroup", "memory.max"}, {"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}};
    for (const auto& [root, limit] : places) {
      if (::mkdir((root + name).c_str(), 0755) != 0) continue;
      path_ = root + name;
      if (write_to(path_ + "/" + limit, std::to_string(kGroupBytes))) return;
      ::rmdir(path_.c_str());
      path_.clear();
    }
  }
  ~SmallGroup() {
    if (!path_.empty()) ::rmdir(path_.c_str());
  }
  SmallGroup(const SmallGroup&) = delete;
  SmallGroup& operator=(const SmallGroup&) = delete;

  bool there() const { return !path_.empty(); }
  bool take(pid_t process) const {
    return write_to(path_ + "/cgroup.procs", std::to_string(process));
  }

 private:
  std::string path_;
};

// Whether this kernel takes a trigger from us.
bool hears_stalls() {
  const int fd = ::open("/proc/pressure/memory", O_RDWR | O_CLOEXEC);
  if (fd < 0) return false;
  const std::string trigger = "some 100000 2000000";
  const bool taken = ::write(fd, trigger.c_str(), trigger.size() + 1) > 0;
  ::close(fd);
  return taken;
}

// Reads a file that does not fit into its cgroup, here and there, till it is killed: it stands still for its pages.
void thrash(const std::string& path, Link& parent) {
  parent.await();  // until it is in its cgroup
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  expect(fd >= 0 && ::posix_fallocate(fd, 0, static_cast<off_t>(kFileBytes)) == 0, "no file");
  std::vector<char> block(kMiB, 'x');
  for (std::uint64_t at = 0; at < kFileBytes; at += block.size()) {
    expect(::pwrite(fd, block.data(), block.size(), static_cast<off_t>(at)) > 0, "no bytes");
  }
  expect(::fsync(fd) == 0, "no disk");
  parent.signal();
  Random random(1);
  for (;;) {
    char byte[64];
    [[maybe_unused]] const ssize_t got =
        ::pread(fd, byte, sizeof(byte), static_cast<off_t>(random.below(kFileBytes / 4096) * 4096));
  }
}

}  // namespace

TEST_CASE(
    "memory that stalls others wait for is given back, cold first, what is held and reserved "
    "stays") {
  auto group = std::make_unique<SmallGroup>();
  if (!hears_stalls() || !group->there()) {
    std::fprintf(
        stderr, "skipped: %s; unit/pressure_watch_test plays the kernel's part\n",
        group->there() ? "this kernel gives no PSI trigger" : "no memory cgroup can be made here");
    group.reset();
    std::_Exit(kSkipped);
  }
  const DaemonProcess daemon(R"(budget: 512MiB
pools:
  a: {classes: [64KiB], release: {window: 0s}, pages: {size: [4KiB]}}
)");
  CHECK(daemon.log().find("memory pressure is not heard from /proc/pressure") == std::string::npos);
  auto pool = daemon.open("a");
  REQUIRE(pool);
  std::vector<Buffer> held;
  for (int i = 0; i < 4096; ++i) held.push_back(pool->get(65536));
  held.resize(512);  // 32 MiB
  for (std::size_t i = 0; i < held.size(); ++i) write_pattern(held[i], i);
  const double before = daemon.metric("zeropool_budget_committed_bytes");
  CHECK(before > 200.0 * kMiB);
  const TemporaryFolder folder;
  ChildProcess hog([&](Link& parent) { thrash(folder.path() + "/file", parent); });
  REQUIRE(group->take(hog.pid()));
  hog.link().signal();
  hog.link().await(60s);
  const bool heard = eventually(
      [&] { return daemon.metric("zeropool_pressure_events_total", {"source=\"stall\""}) > 0; },
      60s);
  hog.kill();
  CHECK(heard);
  CHECK(eventually([&] {
    return daemon.metric("zeropool_released_bytes_total", {"reason=\"pressure\""}) >= 48.0 * kMiB;
  }));
  CHECK(daemon.metric("zeropool_budget_committed_bytes") < before - 48.0 * kMiB);
  for (std::size_t i = 0; i < held.size(); ++i) CHECK(has_pattern(held[i], i));
  CHECK(daemon.log().find("the system is short of memory") != std::string::npos);
  held.clear();
  CHECK(daemon.audit()["lost"] == 0);
}
