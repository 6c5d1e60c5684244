#include "daemon/peer_message.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <sys/socket.h>
#include <sys/uio.h>
#include <utility>
#include <vector>

#include "daemon/death.hpp"

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

namespace zeropool::daemon {
namespace {

ssize_t look(int socket, msghdr& header, lib::MessageHeader& begins) noexcept {
  iovec part{&begins, sizeof(begins)};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  ssize_t got = 0;
  do {
    got = ::recvmsg(socket, &header, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  header.msg_iov = nullptr;
  return got;
}

// Of the message that comes next, which brings some. There is room for one; what has none stays in the message.
bool brings_one_pidfd(int socket, Closer& closer) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  header.msg_control = control;
  header.msg_controllen = CMSG_LEN(sizeof(int));  // CMSG_SPACE has room for two
  lib::MessageHeader begins;
  if (look(socket, header, begins) < 0) return false;
  std::vector<lib::UniqueFd> fds;
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
      fds.emplace_back(fd);
    }
  }
  if ((header.msg_flags & MSG_CTRUNC) == 0 && fds.size() == 1 && is_pidfd(fds.front().get())) {
    return true;
  }
  for (lib::UniqueFd& fd : fds) closer.close(std::move(fd));
  return false;
}

// Whether messages in the queue of a socket bring descriptors. Where the kernel does not say, they may.
bool may_hold_descriptors(int socket) {
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(socket));
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("scm_fds:", 0) == 0) return line != "scm_fds: 0";
  }
  return true;
}

}  // namespace

lib::Received receive_from_peer(int socket, bool pidfd_may_come, Closer& closer) {
  msghdr header{};
  lib::Received none;
  lib::MessageHeader begins{0, 0, lib::MessageType::kAdmin, 0};
  if (look(socket, header, begins) < 0) {
    none.error = errno;
    const bool nothing = errno == EAGAIN || errno == EWOULDBLOCK;
    none.outcome = nothing ? lib::ReceiveOutcome::kNothingYet : lib::ReceiveOutcome::kBroken;
    return none;
  }
  // Cut, where there was no room for any: it brings some.
  const bool attach = begins.magic == lib::kWireMagic && begins.type == lib::MessageType::kAttach;
  if ((header.msg_flags & MSG_CTRUNC) != 0 &&
      !(attach && pidfd_may_come && brings_one_pidfd(socket, closer))) {
    none.outcome = lib::ReceiveOutcome::kBroken;
    return none;
  }
  return lib::receive_message(socket);
}

void refuse_descriptors(int socket) noexcept {
  const int none = 0;
  ::setsockopt(socket, SOL_SOCKET, SO_PASSRIGHTS, &none, sizeof(none));
}

void hang_up(lib::UniqueFd socket, Closer& closer) {
  if (!socket) return;
  ::shutdown(socket.get(), SHUT_RDWR);  // nothing comes after what is there now
  if (may_hold_descriptors(socket.get())) closer.close(std::move(socket));
}

}  // namespace zeropool::daemon
