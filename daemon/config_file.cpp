#include "daemon/config_file.hpp"

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

#include "daemon/config.hpp"

namespace zeropool::daemon {
namespace {

class OpenFile {
 public:
  // Not blocking: a FIFO that stands in for the file must not hang the daemon.
  explicit OpenFile(const std::string& path)
      : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) {}
  ~OpenFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

std::string reason() { return std::generic_category().message(errno); }

}  // namespace

std::string read_config_file(const std::string& path, std::string& text) {
  const OpenFile file(path);
  if (file.descriptor() < 0) return "cannot be opened: " + reason();
  struct stat status {};
  if (::fstat(file.descriptor(), &status) != 0) return "cannot be examined: " + reason();
  if (!S_ISREG(status.st_mode)) return "is not a regular file";
  std::string read_so_far(kMaxConfigFileBytes + 1, '\0');
  std::size_t size = 0;
  while (size < read_so_far.size()) {
    const ssize_t got =
        ::read(file.descriptor(), read_so_far.data() + size, read_so_far.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return "cannot be read: " + reason();
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  read_so_far.resize(size);
  text = std::move(read_so_far);
  return {};
}

}  // namespace zeropool::daemon
