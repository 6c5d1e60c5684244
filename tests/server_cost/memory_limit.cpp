#include "memory_limit.hpp"

#include <cerrno>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

namespace zeropool::testing {
namespace {

bool write_to(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  return file.good();
}

// Where this process is: of the memory controller of v1, or of v2 ("0::").
std::string own_group(bool v2) {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (v2 ? line.rfind("0::", 0) == 0
           : ("," + controllers + ",").find(",memory,") != std::string::npos) {
      return line.substr(second + 1);
    }
  }
  return "/";
}

}  // namespace

bool MemoryLimit::make(const std::string& folder, const std::string& limit_file,
                       std::uint64_t bytes) {
  if (::mkdir(folder.c_str(), 0755) != 0) return false;
  if (write_to(folder + "/" + limit_file, std::to_string(bytes))) {
    folder_ = folder;
    return true;
  }
  ::rmdir(folder.c_str());
  return false;
}

MemoryLimit::MemoryLimit(std::uint64_t bytes) {
  const std::string name = "/zeropool-bench-" + std::to_string(::getpid());
  for (const char* root : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
    for (const std::string& parent : {own_group(true), std::string("/")}) {
      if (make(root + (parent == "/" ? "" : parent) + name, "memory.max", bytes)) {
        kind_ = "cgroup v2 memory.max";
        v2_ = true;
        write_to(folder_ + "/memory.swap.max", "0");
        return;
      }
    }
  }
  for (const std::string& parent : {own_group(false), std::string("/")}) {
    if (make("/sys/fs/cgroup/memory" + (parent == "/" ? "" : parent) + name,
             "memory.limit_in_bytes", bytes)) {
      kind_ = "cgroup v1 memory.limit_in_bytes";
      write_to(folder_ + "/memory.memsw.limit_in_bytes", std::to_string(bytes));
      return;
    }
  }
  kind_ = "none: no cgroup with a memory controller can be made here; run it as root";
}

MemoryLimit::~MemoryLimit() {
  // A process that has just ended may still be counted.
  for (int i = 0; holds() && ::rmdir(folder_.c_str()) != 0 && errno == EBUSY && i < 100; ++i) {
    ::usleep(20'000);
  }
}

std::uint64_t MemoryLimit::peak_bytes() const {
  std::ifstream file(folder_ + (v2_ ? "/memory.peak" : "/memory.max_usage_in_bytes"));
  std::uint64_t bytes = 0;
  file >> bytes;
  return bytes;
}

}  // namespace zeropool::testing
