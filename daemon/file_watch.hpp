#pragma once
// Tells when files may have changed: by inotify on their folders, so that a file that is replaced, or named by a symbolic
// link that is (as Kubernetes does), is seen, too. Costs nothing while nothing changes.
//
// Thread safety: the loop's thread.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "daemon/event_loop.hpp"
#include "zeropool/lib/unique_fd.hpp"

namespace zeropool::daemon {

class FileWatch {
 public:
  // `changed` is called a moment after something happened in a folder; once for what happens together.
  FileWatch(EventLoop& loop, std::function<void()> changed);
  ~FileWatch();
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

  // These and no others. A sentence for each folder that cannot be watched.
  std::vector<std::string> watch(const std::vector<std::string>& files);

 private:
  void on_events();

  EventLoop& loop_;
  std::function<void()> changed_;
  lib::UniqueFd inotify_;
  std::map<std::string, int> folders_;
  EventLoop::TimerId timer_ = 0;
};

}  // namespace zeropool::daemon
