#include "standard_error.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <unistd.h>

namespace zeropool::client {

void standard_error_line(const char* format, ...) noexcept {
  const int errno_before = errno;
  char line[512] = "zeropool: ";
  constexpr std::size_t kPrefix = 10;
  std::va_list arguments;
  va_start(arguments, format);
  const int length = std::vsnprintf(line + kPrefix, sizeof(line) - kPrefix - 1, format, arguments);
  va_end(arguments);
  if (length < 0) return;
  const std::size_t bytes = std::min(sizeof(line) - 1, kPrefix + static_cast<std::size_t>(length));
  line[bytes] = '\n';
  // Nothing can be done where it cannot be written.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line, bytes + 1);
  errno = errno_before;
}

}  // namespace zeropool::client
