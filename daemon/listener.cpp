#include "daemon/listener.hpp"

#include <cerrno>
#include <cstring>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>

#include "daemon/access.hpp"

namespace zeropool::daemon {
namespace {

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

std::string failed(const std::string& what) { return what + ": " + std::strerror(errno); }

// Connects, to see whether anybody listens there.
bool answers(const sockaddr_un& address) {
  const lib::UniqueFd probe(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

}  // namespace

std::string prepare_socket_folder(const std::string& socket_path) {
  const std::string folder = folder_of(socket_path);
  const bool in_tmp = folder.rfind("/tmp/", 0) == 0;
  if (::mkdir(folder.c_str(), 0700) == 0) {
    if (!in_tmp && ::chmod(folder.c_str(), 0755) != 0) return failed("cannot chmod " + folder);
    return {};
  }
  if (errno != EEXIST) {
    return failed("cannot create the socket's folder " + folder) +
           "; create it for this user, or set socket.path";
  }
  if (!in_tmp) return {};
  // Anybody can have made it before us.
  struct stat info {};
  if (::lstat(folder.c_str(), &info) != 0) return failed("cannot look at " + folder);
  if (!S_ISDIR(info.st_mode) || info.st_uid != ::geteuid() ||
      (info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return folder + " is not a folder that only this user can write; remove it, or set socket.path";
  }
  return {};
}

Listener::Listener(std::string path, lib::UniqueFd fd)
    : path_(std::move(path)), fd_(std::move(fd)) {
  struct stat info {};
  if (!path_.empty() && ::stat(path_.c_str(), &info) == 0) inode_ = info.st_ino;
}

Listener::~Listener() {
  if (path_.empty()) return;
  struct stat info {};
  if (::stat(path_.c_str(), &info) == 0 && info.st_ino == inode_) ::unlink(path_.c_str());
}

std::unique_ptr<Listener> Listener::activated(lib::UniqueFd fd) {
  return std::unique_ptr<Listener>(new Listener({}, std::move(fd)));
}

std::unique_ptr<Listener> Listener::open(const std::string& path, const SocketConfig& config,
                                         lib::UniqueFd inherited, std::string& why) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    why = "the socket path " + path + " is longer than " +
          std::to_string(sizeof(address.sun_path) - 1) + " bytes";
    return nullptr;
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);

  if (inherited && answers(address)) {
    return std::unique_ptr<Listener>(new Listener(path, std::move(inherited)));
  }
  struct stat there {};
  if (::lstat(path.c_str(), &there) == 0) {
    if (!S_ISSOCK(there.st_mode)) {
      why = path + " exists and is not a socket; move it away, or set socket.path";
      return nullptr;
    }
    if (answers(address)) {
      why = "another process listens on " + path;
      return nullptr;
    }
  }
  ::unlink(path.c_str());  // of one that was killed

  lib::UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // The mode of the socket is the file's when bound: nobody gets in before owner and mode are right.
  if (!fd || ::fchmod(fd.get(), 0600) != 0 ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    why = failed("cannot bind the socket " + path);
    return nullptr;
  }
  std::unique_ptr<Listener> listener(new Listener(path, std::move(fd)));
  if (!config.group.empty()) {
    gid_t group = 0;
    if (!find_group(config.group, group)) {
      why = "socket.group: there is no group '" + config.group + "'";
      return nullptr;
    }
    if (::chown(path.c_str(), static_cast<uid_t>(-1), group) != 0) {
      why = failed("cannot give " + path + " to the group '" + config.group + "'") +
            "; run as a member of it";
      return nullptr;
    }
  }
  if (::chmod(path.c_str(), config.mode) != 0) {
    why = failed("cannot chmod " + path);
    return nullptr;
  }
  if (::listen(listener->fd(), SOMAXCONN) != 0) {
    why = failed("cannot listen on " + path);
    return nullptr;
  }
  return listener;
}

lib::UniqueFd Listener::accept() const {
  return lib::UniqueFd(::accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

}  // namespace zeropool::daemon
