#pragma once
// The control socket: made, protected, and removed again.
//
// Thread safety: the loop thread's. The caller holds the socket's InstanceLock, so a socket file that is there
// belongs to nobody any more.

#include <memory>
#include <string>
#include <utility>

#include "daemon/config.hpp"
#include "zeropool/lib/unique_fd.hpp"

namespace zeropool::daemon {

// Makes the folder that the socket is to lie in: 0755, under /tmp 0700 and ours. Empty string: it is there.
std::string prepare_socket_folder(const std::string& socket_path);

class Listener {
 public:
  // Null: `why` says what stands in the way.
  static std::unique_ptr<Listener> open(const std::string& path, const SocketConfig& config,
                                        lib::UniqueFd inherited, std::string& why);
  // One that systemd has made: its file, mode and group are its unit's.
  static std::unique_ptr<Listener> activated(lib::UniqueFd fd);
  ~Listener();  // removes the socket, if it is still this one and was made here
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  int fd() const noexcept { return fd_.get(); }
  // For who closes it: with it go connections that nobody has accepted, and what they bring (peer_message.hpp).
  lib::UniqueFd give_up() noexcept { return std::move(fd_); }
  // A new connection, non-blocking; empty: none waits, or errno (EMFILE, ...).
  lib::UniqueFd accept() const;

 private:
  Listener(std::string path, lib::UniqueFd fd);
  std::string path_;  // empty: somebody else's to remove
  lib::UniqueFd fd_;
  unsigned long inode_ = 0;
};

}  // namespace zeropool::daemon
