#include "file_server/folder.hpp"

#include <cerrno>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace file_server {
namespace {

[[noreturn]] void fail(int code, const std::string& what) {
  throw std::system_error(code, std::generic_category(), what);
}

open_how how_to_open(int flags) {
  open_how how{};
  // Not of a pipe that nobody writes into, nor of a terminal.
  how.flags = static_cast<unsigned>(O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  return how;
}

}  // namespace

File::File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)), bytes_(other.bytes_) {}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

Folder::Folder(const std::string& path, Ring& ring)
    : ring_(ring), fd_(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {
  if (fd_ < 0) fail(errno, path);
}

Folder::~Folder() { ::close(fd_); }

boost::asio::awaitable<File> Folder::open(std::string name) {
  int fd = -EINVAL;
  // Some file systems have no O_DIRECT.
  for (const int direct : {O_DIRECT, 0}) {
    open_how how = how_to_open(direct);
    fd = co_await ring_.request(
        [&](io_uring_sqe* request) { io_uring_prep_openat2(request, fd_, name.c_str(), &how); });
    if (fd != -EINVAL) break;
  }
  if (fd < 0) fail(-fd, "open");
  File file(fd);
  struct statx status {};
  const int code = co_await ring_.request([&](io_uring_sqe* request) {
    io_uring_prep_statx(request, file.fd(), "", AT_EMPTY_PATH, STATX_TYPE | STATX_SIZE, &status);
  });
  if (code < 0) fail(-code, "statx");
  if (!S_ISREG(status.stx_mode)) fail(EISDIR, "no regular file");
  file.set_bytes(status.stx_size);
  co_return file;
}

boost::asio::awaitable<std::size_t> Folder::read(const File& file, std::uint64_t at,
                                                 const Chunk& chunk, std::size_t bytes) {
  const int got = co_await ring_.request([&](io_uring_sqe* request) {
    const auto length = static_cast<unsigned>(bytes);
    if (chunk.number() != Chunk::kNotRegistered) {
      io_uring_prep_read_fixed(request, file.fd(), chunk.data(), length, at, chunk.number());
    } else {
      io_uring_prep_read(request, file.fd(), chunk.data(), length, at);
    }
  });
  if (got < 0) fail(-got, "read");
  co_return static_cast<std::size_t>(got);
}

}  // namespace file_server
