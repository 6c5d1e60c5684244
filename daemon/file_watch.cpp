#include "daemon/file_watch.hpp"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <set>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>
#include <utility>

namespace zeropool::daemon {
namespace {

using namespace std::chrono_literals;

constexpr auto kMoment = 100ms;  // certificate and key are seldom written in one step
constexpr std::uint32_t kEvents =
    IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB;

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

FileWatch::FileWatch(EventLoop& loop, std::function<void()> changed)
    : loop_(loop),
      changed_(std::move(changed)),
      inotify_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
  if (inotify_) loop_.watch(inotify_.get(), EPOLLIN, [this](std::uint32_t) { on_events(); });
}

FileWatch::~FileWatch() {
  loop_.cancel(timer_);
  if (inotify_) loop_.unwatch(inotify_.get());
}

std::vector<std::string> FileWatch::watch(const std::vector<std::string>& files) {
  std::set<std::string> wanted;
  for (const std::string& file : files) wanted.insert(folder_of(file));
  std::erase_if(folders_, [&](const auto& folder) {
    if (wanted.count(folder.first) != 0) return false;
    ::inotify_rm_watch(inotify_.get(), folder.second);
    return true;
  });
  std::vector<std::string> errors;
  for (const std::string& folder : wanted) {
    if (folders_.count(folder) != 0) continue;
    const int number = ::inotify_add_watch(inotify_.get(), folder.c_str(), kEvents);
    if (number >= 0) {
      folders_[folder] = number;
    } else {
      errors.push_back("changes in " + folder + " are not seen by themselves (inotify: " +
                       std::strerror(errno) + "): reload after them");
    }
  }
  return errors;
}

void FileWatch::on_events() {
  alignas(inotify_event) char events[4096];
  while (::read(inotify_.get(), events, sizeof events) > 0) {
  }
  if (timer_ != 0) return;
  timer_ = loop_.after(kMoment, [this] {
    timer_ = 0;
    changed_();
  });
}

}  // namespace zeropool::daemon
