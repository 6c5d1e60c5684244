// The kernel's side is played by files and a pipe here; tests/integration/budget_pressure.cpp has the real one.

#include "daemon/pressure_watch.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sys/epoll.h>
#include <sys/stat.h>

#include <doctest/doctest.h>
#include <spdlog/spdlog.h>

using namespace zeropool::daemon;

namespace {

struct Machine {
  Machine() {
    spdlog::set_level(spdlog::level::off);
    char pattern[] = "/tmp/zeropool-pressure-XXXXXX";
    root = ::mkdtemp(pattern);
    std::filesystem::create_directories(root + "/proc/pressure");
    std::filesystem::create_directories(root + "/proc/self");
    loop = EventLoop::create(why);
    REQUIRE(loop);
  }
  ~Machine() { std::filesystem::remove_all(root); }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  void write(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(root + path).parent_path());
    std::ofstream(root + path) << text;
  }
  void pipe(const std::string& path) const {
    std::filesystem::create_directories(std::filesystem::path(root + path).parent_path());
    REQUIRE(::mkfifo((root + path).c_str(), 0600) == 0);
  }
  void cgroup(const std::string& high) const {
    write("/proc/self/cgroup", "3:cpuset:/\n0::/outer/inner\n");
    write("/cgroup/outer/inner/memory.max", "max\n");
    write("/cgroup/outer/inner/memory.high", high + "\n");
    write("/cgroup/outer/inner/memory.events", "low 0\nhigh 7\nmax 2\noom 0\noom_kill 0\n");
    write("/cgroup/outer/memory.max", "max\n");
    write("/cgroup/outer/memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n");
    pipe("/cgroup/outer/inner/memory.pressure");
  }
  std::unique_ptr<PressureWatch> watch() {
    PressurePaths paths{root + "/proc", root + "/cgroup", EPOLLIN};
    return std::make_unique<PressureWatch>(*loop, paths, [this](PressureSource source) {
      ++events[static_cast<std::size_t>(source)];
    });
  }
  std::uint64_t of(PressureSource source) const { return events[static_cast<std::size_t>(source)]; }

  std::string root;
  std::string why;
  std::unique_ptr<EventLoop> loop;
  PressureCounters events{};
};

}  // namespace

TEST_CASE("a trigger of the machine's stalls is asked for as the kernel wants it, and heard") {
  Machine machine;
  machine.pipe("/proc/pressure/memory");
  const auto watch = machine.watch();
  CHECK(watch->sources().heard == std::vector<std::string>{machine.root + "/proc/pressure/memory"});
  machine.loop->run_once(0);  // the pipe gives back the trigger's own words: the event
  CHECK(machine.of(PressureSource::kStall) == 1);
  machine.loop->run_once(0);
  CHECK(machine.of(PressureSource::kStall) == 1);
}

TEST_CASE("what a kernel does not have is named, and nothing else happens") {
  Machine machine;
  const auto watch = machine.watch();
  CHECK(watch->sources().heard.empty());
  REQUIRE(watch->sources().missing.size() == 1);
  CHECK(watch->sources().missing[0] ==
        machine.root + "/proc/pressure/memory: No such file or directory");
  machine.loop->run_once(0);
  CHECK(machine.events == PressureCounters{});
}

TEST_CASE("a cgroup that comes to memory.high or memory.max is heard, once for each time") {
  Machine machine;
  machine.cgroup("64000000");
  const auto watch = machine.watch();
  CHECK(watch->sources().heard.size() == 3);  // its stalls, and the events of both levels
  machine.loop->run_once(0);                  // the pipe's echo
  CHECK(machine.of(PressureSource::kCgroup) == 1);
  CHECK(machine.of(PressureSource::kHigh) == 0);  // those before our time
  machine.write("/cgroup/outer/inner/memory.events", "low 0\nhigh 9\nmax 2\noom 0\noom_kill 0\n");
  machine.loop->run_once(1000);
  CHECK(machine.of(PressureSource::kHigh) == 1);
  CHECK(machine.of(PressureSource::kMax) == 0);
  machine.write("/cgroup/outer/memory.events", "low 0\nhigh 0\nmax 1\noom 0\noom_kill 0\n");
  machine.loop->run_once(1000);
  CHECK(machine.of(PressureSource::kMax) == 1);
  CHECK(machine.of(PressureSource::kHigh) == 1);
}

TEST_CASE("a cgroup without a limit is not watched: its stalls are the machine's") {
  Machine machine;
  machine.cgroup("max");
  machine.pipe("/proc/pressure/memory");
  const auto watch = machine.watch();
  CHECK(watch->sources().heard == std::vector<std::string>{machine.root + "/proc/pressure/memory"});
}

TEST_CASE("a file that comes and goes, or is written halfway, is no event") {
  Machine machine;
  machine.cgroup("64000000");
  const auto watch = machine.watch();
  machine.loop->run_once(0);
  machine.write("/cgroup/outer/inner/memory.events", "");
  machine.loop->run_once(1000);
  CHECK(machine.of(PressureSource::kHigh) == 0);
  CHECK(machine.of(PressureSource::kMax) == 0);
}
