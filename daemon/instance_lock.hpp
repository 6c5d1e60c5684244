#pragma once
// One daemon per socket: an exclusive lock on <socket>.lock, held while the daemon lives. The kernel drops it
// with the process, so a crash leaves no stale lock.
//
// Thread safety: a value with one owner.

#include <optional>
#include <string>

#include "zeropool/lib/unique_fd.hpp"

namespace zeropool::daemon {

class InstanceLock {
 public:
  // Nothing: another daemon has it, or the file cannot be made; `why` says which.
  static std::optional<InstanceLock> take(const std::string& socket_path, std::string& why);
  InstanceLock(InstanceLock&&) = default;
  InstanceLock& operator=(InstanceLock&&) = default;
  ~InstanceLock();  // removes the file, then the lock

 private:
  InstanceLock(std::string path, lib::UniqueFd fd);
  std::string path_;
  lib::UniqueFd fd_;
};

}  // namespace zeropool::daemon
