#pragma once
// Bytes for a sentence: "64 MiB", "1.5 GiB", "4160 bytes".

#include <cstdint>
#include <string>

namespace zeropool::client {

std::string size_text(std::uint64_t bytes);

}  // namespace zeropool::client
