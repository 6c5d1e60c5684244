#pragma once
// A line on standard error: only for what the program's owner asked to be told ($ZEROPOOL_DEBUG).
//
// Thread safety: any thread; a line is one write.

namespace zeropool::client {

__attribute__((format(printf, 1, 2))) void standard_error_line(const char* format, ...) noexcept;

}  // namespace zeropool::client
