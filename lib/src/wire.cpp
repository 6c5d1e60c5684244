#include <cerrno>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <zeropool/lib/wire.hpp>

namespace zeropool::inline v1::lib {

bool send_message(int socket, const void* message, std::size_t bytes, const int* fds,
                  std::size_t fd_count) noexcept {
  iovec part{const_cast<void*>(message), bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxMessageFds)] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (fd_count > kMaxMessageFds) {
    errno = EINVAL;
    return false;
  }
  if (fd_count > 0) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
    std::memcpy(CMSG_DATA(rights), fds, sizeof(int) * fd_count);
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket, &header, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(bytes);
}

Received receive_message(int socket, int timeout_ms) {
  Received received;
  if (timeout_ms >= 0) {
    pollfd ready{socket, POLLIN, 0};
    int count = 0;
    do {
      count = ::poll(&ready, 1, timeout_ms);
    } while (count < 0 && errno == EINTR);
    if (count == 0) {
      received.outcome = ReceiveOutcome::kTimedOut;
      return received;
    }
  }
  received.bytes.resize(kMaxMessageBytes);
  iovec part{received.bytes.data(), received.bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxMessageFds)];
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  ssize_t got = 0;
  do {
    got = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) {
    received.error = errno;
    received.bytes.clear();
    const bool nothing = errno == EAGAIN || errno == EWOULDBLOCK;
    received.outcome = nothing ? ReceiveOutcome::kNothingYet : ReceiveOutcome::kBroken;
    return received;
  }
  // Take over every descriptor first, so that none leaks whatever the rest says.
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
      received.fds.emplace_back(fd);
    }
  }
  received.bytes.resize(static_cast<std::size_t>(got));
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    received.outcome = ReceiveOutcome::kBroken;
  } else if (got == 0) {
    received.outcome = ReceiveOutcome::kClosed;
  } else {
    received.outcome = ReceiveOutcome::kMessage;
  }
  return received;
}

}  // namespace zeropool::v1::lib
