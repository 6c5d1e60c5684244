#pragma once
// Text as a gzip member (RFC 1952).
//
// Thread safety: a function of its argument.

#include <optional>
#include <string>
#include <string_view>

namespace zeropool::daemon {

// None: zlib had no memory, or the text is of 4 GiB and more.
std::optional<std::string> gzipped(std::string_view text);

}  // namespace zeropool::daemon
