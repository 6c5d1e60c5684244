#include "pipeline/packet_socket.hpp"

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <sys/socket.h>
#include <sys/uio.h>
#include <system_error>

#include "pipeline/messages.hpp"

namespace pipeline {

std::pair<PacketSocket, PacketSocket> PacketSocket::pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
    throw std::system_error(errno, std::generic_category(), "socketpair");
  }
  return {PacketSocket(UniqueFd(fds[0])), PacketSocket(UniqueFd(fds[1]))};
}

SendOutcome PacketSocket::send(std::span<const std::byte> message, bool wait, int passed_fd) {
  iovec part{const_cast<std::byte*>(message.data()), message.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  if (passed_fd >= 0) {
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &passed_fd, sizeof(int));
  }
  while (true) {
    if (::sendmsg(fd_.get(), &header, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT)) >= 0) {
      return SendOutcome::kSent;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return SendOutcome::kFull;
    if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN) return SendOutcome::kPeerGone;
    throw std::system_error(errno, std::generic_category(), "sendmsg");
  }
}

ReceiveOutcome PacketSocket::receive_into(std::span<std::byte> room, std::size_t& bytes, bool wait,
                                          UniqueFd* passed_fd) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  while (true) {
    iovec part{room.data(), room.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    const ssize_t got = ::recvmsg(fd_.get(), &header, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
    if (got < 0) {
      // ECONNRESET says once that the peer left something of ours unread; what it sent is still there.
      if (errno == EINTR || errno == ECONNRESET) continue;
      if (errno == EAGAIN) return ReceiveOutcome::kNothingYet;
      throw std::system_error(errno, std::generic_category(), "recvmsg");
    }
    if (got == 0) return ReceiveOutcome::kPeerGone;
    if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
      throw std::runtime_error("a message longer than agreed came");
    }
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c), sizeof(int));
      UniqueFd owned(fd);
      if (passed_fd != nullptr) *passed_fd = std::move(owned);
    }
    bytes = static_cast<std::size_t>(got);
    return ReceiveOutcome::kMessage;
  }
}

ReceiveOutcome PacketSocket::receive(std::vector<std::byte>& message, bool wait,
                                     UniqueFd* passed_fd) {
  message.resize(kMaxMessageBytes);
  std::size_t bytes = 0;
  const ReceiveOutcome outcome = receive_into(message, bytes, wait, passed_fd);
  message.resize(bytes);
  return outcome;
}

}  // namespace pipeline
