#include "daemon/activation.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <systemd/sd-daemon.h>

#include "daemon/descriptor_store.hpp"

namespace zeropool::daemon {
namespace {

bool is_socket(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode);
}

// The file that the socket is bound to; empty: it has none.
std::string path_of(int fd) {
  sockaddr_un address{};
  socklen_t bytes = sizeof(address);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &bytes) != 0) return {};
  const std::size_t before = offsetof(sockaddr_un, sun_path);
  if (address.sun_family != AF_UNIX || bytes <= before || address.sun_path[0] == '\0') return {};
  return {address.sun_path, ::strnlen(address.sun_path, bytes - before)};
}

// A blocking accept would hold the loop up when a client has gone again.
bool make_ready(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
         ::fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

}  // namespace

bool take_activated_socket(ActivatedSocket& socket, std::string& why) {
  char** names = nullptr;
  const int count = ::sd_listen_fds_with_names(0, &names);
  if (count < 0) {
    why = std::string("LISTEN_FDS cannot be read: ") + std::strerror(-count);
    return false;
  }
  for (int i = 0; i < count && why.empty(); ++i) {
    const std::string name = names != nullptr && names[i] != nullptr ? names[i] : "";
    const int fd = SD_LISTEN_FDS_START + i;
    if (is_kept_name(name) || !is_socket(fd)) continue;
    const std::string passed = "the service manager passed the socket '" + name + "'";
    if (socket.fd) {
      why = passed +
            " after another one: a zeropoold serves one; give its socket unit one "
            "ListenSequentialPacket=";
    } else if (::sd_is_socket(fd, AF_UNIX, SOCK_SEQPACKET, 1) <= 0 || path_of(fd).empty()) {
      why = passed +
            ", which is not one that clients can use: its unit needs "
            "ListenSequentialPacket= with an absolute path";
    } else if (!make_ready(fd)) {
      why = passed + ", and fcntl says: " + std::strerror(errno);
    } else {
      socket.path = path_of(fd);
      socket.fd.reset(fd);
    }
  }
  for (int i = 0; i < count && names != nullptr; ++i) std::free(names[i]);
  std::free(static_cast<void*>(names));
  return why.empty();
}

}  // namespace zeropool::daemon
