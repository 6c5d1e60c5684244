#pragma once
// DaemonScene: a daemon that can kill itself before its n-th store, a survivor, and somebody else.
//
// Thread safety: one thread's.

#include <cstdlib>
#include <fcntl.h>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <zeropool/lib/audit.hpp>
#include <zeropool/zeropool.hpp>

#include "tests/crash/points/crash_points.hpp"
#include "tests/integration/support/child_process.hpp"
#include "tests/integration/support/daemon_process.hpp"
#include "tests/integration/support/segment_view.hpp"
#include "tests/integration/support/survivor.hpp"

namespace zeropool::testing {

inline constexpr std::size_t kBytes = 64 * 1024;
inline constexpr std::size_t kHeld = 40;  // by the survivor, from the start

inline constexpr const char* kConfig = R"(budget: 16MiB
limits: {clients: 64, threads: 16}
metrics: {listen: []}
pages: {size: [4KiB]}
pools:
  frames:
    classes: [64KiB]
    thread_cache: 2MiB
    wait: {timeout: 5s, orders: 64}
    handoff: {lease: 60s}
)";

// The words that the daemon counts in, in a file that it finds by its environment.
class PointsFile {
 public:
  PointsFile() {
    const std::string path = folder_.path() + "/points";
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    expect(fd >= 0 && ::ftruncate(fd, 4096) == 0, path);
    void* memory = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ::close(fd);
    expect(memory != MAP_FAILED, path);
    points_ = ::new (memory) CrashPoints();
    ::setenv(kCrashPointsFile, path.c_str(), 1);
    ::setenv("ZEROPOOLD", std::getenv("ZEROPOOLD_CRASH_POINTS"), 1);
  }
  CrashPoints* operator->() const { return points_; }

 private:
  TemporaryFolder folder_;
  CrashPoints* points_ = nullptr;
};

inline PointsFile& points() {
  static PointsFile the_points;
  return the_points;
}

// A daemon, a survivor, and somebody else.
struct Scene {
  Scene() : survivor(open(), kBytes) {
    for (std::size_t i = 0; i < kHeld; ++i)
      expect(survivor.keep(survivor.pool().get(kBytes)), "get");
    segment.emplace();
  }
  zeropool::Pool open(bool direct_io = false) const {
    zeropool::OpenOptions options = daemon.options();
    options.direct_io = direct_io;
    auto pool = zeropool::Pool::open("", options);
    expect(static_cast<bool>(pool), pool.error().sentence);
    return *pool;
  }

  DaemonProcess daemon{kConfig};
  Survivor survivor;
  std::optional<SegmentView> segment;
  std::unique_ptr<ChildProcess> other;
  std::uint32_t client = 0;  // the other's
};

inline std::string text(const lib::AuditReport& sum) {
  return std::to_string(sum.slots) + " slots: " + std::to_string(sum.free) + " free, " +
         std::to_string(sum.cached) + " cached, " + std::to_string(sum.held) + " held, " +
         std::to_string(sum.in_transit) + " in transit, " + std::to_string(sum.shared) +
         " shared, " + std::to_string(sum.daemon) + " the daemon's, " + std::to_string(sum.lost) +
         " lost, " + std::to_string(sum.doubled) + " doubled, " + std::to_string(sum.broken) +
         " broken";
}

// The other: holds, shares, caches, and has something in transit to itself.
inline void start_holder_for(Scene& scene, bool direct_io) {
  scene.other = std::make_unique<ChildProcess>([&scene, direct_io](Link& parent) {
    zeropool::Pool pool = scene.open(direct_io);
    std::vector<zeropool::Buffer> held;
    for (int i = 0; i < 20; ++i) held.push_back(pool.get(kBytes));
    held.resize(18);
    std::move(held.back()).release(pool.client_id());
    std::vector<zeropool::SharedBuffer> shared;
    for (int i = 0; i < 3; ++i)
      shared.push_back(std::move(held[static_cast<std::size_t>(i)]).share());
    shared.push_back(shared.front());
    for (const auto& hold : shared) expect(static_cast<bool>(hold), hold.error().sentence);
    parent.send(pool.client_id());
    ::pause();
  });
  scene.client = scene.other->link().receive<std::uint32_t>();
}
inline void start_holder(Scene& scene) { start_holder_for(scene, false); }

}  // namespace zeropool::testing
