#include "daemon/pressure_watch.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <string_view>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <spdlog/spdlog.h>

namespace zeropool::daemon {
namespace {

static_assert(EPOLLPRI == 0x002);

// Some task stood still for 100 ms of 2 s. Without privileges a trigger's time must be a multiple of 2 s.
constexpr std::string_view kTrigger = "some 100000 2000000";

bool is_there(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0;
}

bool is_limited(const std::string& folder) {
  for (const char* name : {"memory.max", "memory.high"}) {
    std::ifstream file(folder + name);
    std::string limit;
    if (file >> limit && limit != "max") return true;
  }
  return false;
}

// Of a file of "key value" lines.
std::uint64_t value_of(const std::string& path, std::string_view wanted) {
  std::ifstream file(path);
  std::string key;
  std::uint64_t value = 0;
  while (file >> key >> value) {
    if (key == wanted) return value;
  }
  return 0;
}

}  // namespace

PressureWatch::PressureWatch(EventLoop& loop, PressurePaths paths,
                             std::function<void(PressureSource)> event)
    : loop_(loop), paths_(std::move(paths)), event_(std::move(event)) {
  open_trigger(paths_.proc + "/pressure/memory", PressureSource::kStall);
  std::vector<std::string> folders;
  find_cgroups(folders);
  bool limited = false;
  for (const std::string& folder : folders) limited = limited || is_limited(folder);
  if (limited) {
    open_trigger(folders.front() + "memory.pressure", PressureSource::kCgroup);
    watch_events(folders);
  }
  for (const std::string& missing : sources_.missing) {
    spdlog::info("memory pressure is not heard from {}", missing);
  }
}

PressureWatch::~PressureWatch() {
  for (const lib::UniqueFd& trigger : triggers_) loop_.unwatch(trigger.get());
  if (inotify_) loop_.unwatch(inotify_.get());
}

// From our own up; in a container the path may name one that is not visible: then those that are.
void PressureWatch::find_cgroups(std::vector<std::string>& folders) const {
  std::ifstream file(paths_.proc + "/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("0::", 0) != 0) continue;
    for (const char* mount : {"", "/unified"}) {
      std::string path = line.substr(3);
      for (;;) {
        if (path == "/") path.clear();
        const std::string folder = paths_.cgroup + mount + path + "/";
        if (is_there(folder + "memory.events")) folders.push_back(folder);
        const std::size_t slash = path.rfind('/');
        if (path.empty() || slash == std::string::npos) break;
        path.resize(slash);
      }
    }
  }
}

void PressureWatch::open_trigger(const std::string& path, PressureSource source) {
  const auto missing = [&](int error) {
    sources_.missing.push_back(path + ": " + std::strerror(error));
  };
  lib::UniqueFd trigger(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!trigger) return missing(errno);
  // With its zero: the kernel wants it.
  if (::write(trigger.get(), kTrigger.data(), kTrigger.size() + 1) < 0) return missing(errno);
  const int fd = trigger.get();
  const bool watched = loop_.watch(fd, paths_.psi_event, [this, fd, source](std::uint32_t events) {
    if ((events & EPOLLERR) != 0) {  // its cgroup is gone
      loop_.unwatch(fd);
      return;
    }
    if ((paths_.psi_event & EPOLLIN) != 0) {
      char byte[64];
      [[maybe_unused]] const ssize_t got = ::read(fd, byte, sizeof(byte));
    }
    event_(source);
  });
  if (!watched) return missing(errno);
  triggers_.push_back(std::move(trigger));
  sources_.heard.push_back(path);
}

void PressureWatch::watch_events(const std::vector<std::string>& folders) {
  inotify_.reset(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  for (const std::string& folder : folders) {
    EventFile file;
    file.path = folder + "memory.events";
    if (inotify_) file.watch = ::inotify_add_watch(inotify_.get(), file.path.c_str(), IN_MODIFY);
    if (file.watch < 0) {
      sources_.missing.push_back(file.path + ": " + std::strerror(errno));
      continue;
    }
    file.high = value_of(file.path, "high");
    file.max = value_of(file.path, "max");
    sources_.heard.push_back(file.path);
    files_.push_back(std::move(file));
  }
  if (!inotify_ || files_.empty()) return;
  loop_.watch(inotify_.get(), EPOLLIN, [this](std::uint32_t) { read_events(); });
}

void PressureWatch::read_events() {
  alignas(inotify_event) char buffer[4096];
  while (::read(inotify_.get(), buffer, sizeof(buffer)) > 0) {
  }
  for (EventFile& file : files_) {
    const std::uint64_t high = value_of(file.path, "high");
    const std::uint64_t max = value_of(file.path, "max");
    if (std::exchange(file.high, high) < high) event_(PressureSource::kHigh);
    if (std::exchange(file.max, max) < max) event_(PressureSource::kMax);
  }
}

}  // namespace zeropool::daemon
