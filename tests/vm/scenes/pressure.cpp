// A cgroup whose memory.high others come to, and huge pages that nobody asked for. For one node.

#include <chrono>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "tests/integration/support/child_process.hpp"
#include "tests/integration/support/daemon_process.hpp"
#include "tests/integration/support/pattern.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;

namespace {

constexpr std::uint64_t kMiB = 1 << 20;
const std::string kRoot = "/sys/fs/cgroup";
const std::string kGroup = kRoot + "/confined";

void write_to(const std::string& path, const std::string& text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  REQUIRE_MESSAGE(fd >= 0, path);
  REQUIRE_MESSAGE(::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()), path);
  ::close(fd);
}

std::uint64_t value_of(const std::string& path, const std::string& wanted) {
  std::ifstream file(path);
  std::string key;
  std::uint64_t value = 0;
  while (file >> key >> value) {
    if (key == wanted) return value;
  }
  return 0;
}

// This process, and what it starts, in the cgroup as long as it lives.
struct Confined {
  explicit Confined(const std::string& high) {
    write_to(kRoot + "/cgroup.subtree_control", "+memory");
    REQUIRE(::mkdir(kGroup.c_str(), 0755) == 0);
    write_to(kGroup + "/memory.high", high);
    write_to(kGroup + "/cgroup.procs", std::to_string(::getpid()));
  }
  ~Confined() {
    write_to(kRoot + "/cgroup.procs", std::to_string(::getpid()));
    ::rmdir(kGroup.c_str());
  }
  Confined(const Confined&) = delete;
  Confined& operator=(const Confined&) = delete;
};

// Takes so much memory of its own, a MiB at a time.
void swell(std::uint64_t bytes, Link& parent) {
  auto* const memory = static_cast<char*>(
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  expect(memory != MAP_FAILED, "no addresses");
  for (std::uint64_t at = 0; at < bytes; at += kMiB) {
    std::memset(memory + at, 1, kMiB);
    std::this_thread::sleep_for(2ms);
  }
  parent.signal();
  parent.await();
}

std::uint64_t occupied(pid_t daemon) {
  std::map<std::uint64_t, std::uint64_t> by_inode;
  const std::string folder = "/proc/" + std::to_string(daemon) + "/fd";
  DIR* fds = ::opendir(folder.c_str());
  REQUIRE(fds != nullptr);
  while (const dirent* entry = ::readdir(fds)) {
    const std::string path = folder + "/" + entry->d_name;
    char target[256] = {};
    if (::readlink(path.c_str(), target, sizeof(target) - 1) < 0) continue;
    const std::string name = target;
    if (name.rfind("/memfd:zeropool-", 0) != 0 || name.find("document") != std::string::npos)
      continue;
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) continue;
    by_inode[info.st_ino] = static_cast<std::uint64_t>(info.st_blocks) * 512;
  }
  ::closedir(fds);
  std::uint64_t sum = 0;
  for (const auto& [inode, bytes] : by_inode) sum += bytes;
  return sum;
}

}  // namespace

TEST_CASE(
    "a neighbour in the cgroup that comes to memory.high gets what the pool does not need, and "
    "nobody is killed") {
  const Confined confined(std::to_string(256 * kMiB));
  const DaemonProcess daemon(R"(budget: 192MiB
pages: {size: [4KiB]}
pools:
  a: {classes: [64KiB], release: {window: 0s}}
)");
  auto pool = daemon.open("a");
  REQUIRE(pool);
  std::vector<Buffer> held;
  for (int i = 0; i < 2400; ++i) {
    Buffer buffer = pool->get(65536, 2s);
    if (!buffer) break;
    held.push_back(std::move(buffer));
  }
  REQUIRE(held.size() > 1600);
  held.resize(256);
  for (std::size_t i = 0; i < held.size(); ++i) write_pattern(held[i], i);
  const std::uint64_t before = occupied(daemon.pid());
  REQUIRE(before > 100 * kMiB);
  ChildProcess neighbour([](Link& parent) { swell(192 * kMiB, parent); });
  neighbour.link().await(120s);
  CHECK(value_of(kGroup + "/memory.events", "high") > 0);
  CHECK(value_of(kGroup + "/memory.events", "oom_kill") == 0);
  const nlohmann::json status = daemon.ctl_json({"status"});
  CHECK(status["pressure_events"]["memory_high"] > 0);
  CHECK(occupied(daemon.pid()) + 64 * kMiB <= before);
  for (std::size_t i = 0; i < held.size(); ++i) CHECK(has_pattern(held[i], i));
  neighbour.link().signal();
  CHECK(neighbour.wait().well());
  held.clear();
  CHECK(daemon.audit()["lost"] == 0);
}

TEST_CASE("a kernel that gives huge pages unasked commits nothing that nobody was charged for") {
  write_to("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "always");
  // It does: a few small pages of a sparse file become a huge one.
  const int file = ::memfd_create("example", MFD_CLOEXEC);
  REQUIRE(::ftruncate(file, 64 * static_cast<off_t>(kMiB)) == 0);
  REQUIRE(::fallocate(file, 0, 0, 16384) == 0);
  struct stat info {};
  ::fstat(file, &info);
  CHECK(info.st_blocks * 512 > 16384);
  ::close(file);
  const DaemonProcess daemon(R"(budget: 64MiB
pages: {size: [4KiB]}
limits: {clients: 64, threads: 128}
pools:
  a: {classes: [64KiB, 1MiB], wait: {timeout: 200ms}}
  b: {classes: [4KiB], wait: {timeout: 200ms}}
)");
  CHECK(occupied(daemon.pid()) == daemon.ctl_json({"status"})["committed_bytes"]);
  std::vector<Buffer> held;
  for (const char* name : {"a", "b"}) {
    auto pool = daemon.open(name);
    REQUIRE(pool);
    while (Buffer buffer = pool->get(name[0] == 'a' ? 65536 : 4096)) {
      std::memset(buffer.data(), 1, buffer.size());
      held.push_back(std::move(buffer));
    }
  }
  CHECK(occupied(daemon.pid()) <= 64 * kMiB);
  CHECK(occupied(daemon.pid()) == daemon.ctl_json({"status"})["committed_bytes"]);
  write_to("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "never");
}
