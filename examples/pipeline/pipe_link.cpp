#include "pipeline/pipe_link.hpp"

#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <sys/uio.h>
#include <system_error>
#include <unistd.h>

namespace pipeline {
namespace {

// Fills all of it. False: the writer is gone.
bool read_all(int fd, std::span<std::byte> into) {
  while (!into.empty()) {
    const ssize_t got = ::read(fd, into.data(), into.size());
    if (got == 0) return false;
    if (got < 0) {
      if (errno == EINTR) continue;
      throw std::system_error(errno, std::generic_category(), "read from a pipe");
    }
    into = into.subspan(static_cast<std::size_t>(got));
  }
  return true;
}

// Writes all of it. False: the reader is gone (SIGPIPE is ignored in this program).
bool write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0) {
      if (errno == EINTR) continue;
      if (errno == EPIPE) return false;
      throw std::system_error(errno, std::generic_category(), "write to a pipe");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
  return true;
}

}  // namespace

std::pair<UniqueFd, UniqueFd> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) {
    throw std::system_error(errno, std::generic_category(), "pipe2");
  }
  // As large as it may be; a smaller one works too.
  static_cast<void>(::fcntl(fds[1], F_SETPIPE_SZ, static_cast<int>(kMaxChunkBytes)));
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

std::span<std::byte> PipeSink::prepare(std::size_t bytes) {
  buffer_ = std::make_unique_for_overwrite<std::byte[]>(bytes);
  return {buffer_.get(), bytes};
}

bool PipeSink::send(const ChunkHead& head) {
  const auto head_bytes = std::as_bytes(std::span(&head, 1));
  const std::span<const std::byte> body(buffer_.get(), head.length);
  // Both in one call where the pipe has room.
  const iovec parts[] = {{const_cast<std::byte*>(head_bytes.data()), head_bytes.size()},
                         {const_cast<std::byte*>(body.data()), body.size()}};
  ssize_t put = 0;
  do {
    put = ::writev(pipe_.get(), parts, body.empty() ? 1 : 2);
  } while (put < 0 && errno == EINTR);
  if (put < 0 && errno != EPIPE) {
    throw std::system_error(errno, std::generic_category(), "write to a pipe");
  }
  bool sent = put >= 0;
  if (sent) {
    const auto done = static_cast<std::size_t>(put);
    if (done < head_bytes.size()) {
      sent = write_all(pipe_.get(), head_bytes.subspan(done)) && write_all(pipe_.get(), body);
    } else {
      sent = write_all(pipe_.get(), body.subspan(done - head_bytes.size()));
    }
  }
  buffer_.reset();
  return sent;
}

ChunkSource::Outcome PipeSource::receive(ChunkHead& head, std::span<const std::byte>& bytes) {
  pollfd ready{pipe_.get(), POLLIN, 0};
  if (::poll(&ready, 1, 0) == 0) return Outcome::kNothingYet;
  if (!read_all(pipe_.get(), std::as_writable_bytes(std::span(&head, 1)))) {
    return Outcome::kReaderGone;
  }
  bytes = {};
  if (head.length > 0) {
    buffer_ = std::make_unique_for_overwrite<std::byte[]>(head.length);
    const std::span<std::byte> room(buffer_.get(), head.length);
    if (!read_all(pipe_.get(), room)) return Outcome::kReaderGone;
    bytes = room;
  }
  return Outcome::kChunk;
}

}  // namespace pipeline
