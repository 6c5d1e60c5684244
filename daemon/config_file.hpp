#pragma once
// A small file as a whole, as configurations are.
//
// Thread safety: a function of its arguments. Never blocks, whatever the path names.

#include <string>

namespace zeropool::daemon {

// Why the file cannot be read; empty when `text` holds it, or as much as shows that it is above kMaxConfigFileBytes.
std::string read_config_file(const std::string& path, std::string& text);

}  // namespace zeropool::daemon
