#include "daemon/instance_lock.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <utility>

namespace zeropool::daemon {

InstanceLock::InstanceLock(std::string path, lib::UniqueFd fd)
    : path_(std::move(path)), fd_(std::move(fd)) {}

InstanceLock::~InstanceLock() {
  if (fd_) ::unlink(path_.c_str());
}

std::optional<InstanceLock> InstanceLock::take(const std::string& socket_path, std::string& why) {
  const std::string path = socket_path + ".lock";
  // A daemon that stops removes the file: what was locked must be what the name still means.
  for (int attempt = 0; attempt < 16; ++attempt) {
    lib::UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) {
      why = "cannot open the lock file " + path + ": " + std::strerror(errno);
      return std::nullopt;
    }
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      why = errno == EWOULDBLOCK
                ? "another zeropoold serves " + socket_path + " (it holds " + path + ")"
                : "cannot lock " + path + ": " + std::strerror(errno);
      return std::nullopt;
    }
    struct stat locked {};
    struct stat named {};
    if (::fstat(fd.get(), &locked) == 0 && ::stat(path.c_str(), &named) == 0 &&
        locked.st_ino == named.st_ino && locked.st_dev == named.st_dev) {
      return InstanceLock(path, std::move(fd));
    }
  }
  why = "the lock file " + path + " keeps changing";
  return std::nullopt;
}

}  // namespace zeropool::daemon
