#include "daemon/machine_memory.hpp"

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>

#include "zeropool/lib/layout_constants.hpp"

namespace zeropool::daemon {
namespace {

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

std::uint64_t limit_in(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t bytes = kNoLimit;
  if (!(file >> bytes)) return kNoLimit;  // not there, or "max"
  return bytes;
}

// The limit of a cgroup and of all above it.
std::uint64_t limit_up_from(const std::string& mount, std::string group, const char* file) {
  std::uint64_t limit = kNoLimit;
  while (true) {
    limit = std::min(limit, limit_in(mount + group + "/" + file));
    const std::size_t slash = group.rfind('/');
    if (group.empty() || slash == std::string::npos) return limit;
    group.resize(slash);
  }
}

}  // namespace

MachineMemory read_machine_memory(const std::string& root) {
  MachineMemory memory;
  std::ifstream info(root + "/proc/meminfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("MemTotal:", 0) != 0) continue;
    std::istringstream value(line.substr(9));
    value >> memory.total_bytes;
    memory.total_bytes *= 1024;
  }
  std::uint64_t limit = kNoLimit;
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    // hierarchy:controllers:path
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first == std::string::npos ? first : first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      limit = std::min(limit, limit_up_from(root + "/sys/fs/cgroup", path, "memory.max"));
    } else if (("," + controllers + ",").find(",memory,") != std::string::npos) {
      limit = std::min(
          limit, limit_up_from(root + "/sys/fs/cgroup/memory", path, "memory.limit_in_bytes"));
    }
  }
  memory.usable_bytes = std::min(memory.total_bytes, limit);
  return memory;
}

std::string refuse_kernel_pages(std::uint64_t page_bytes) {
  if (page_bytes == lib::kSmallPage) return {};
  return "this kernel has pages of " + std::to_string(page_bytes) + " bytes, zeropool needs " +
         std::to_string(lib::kSmallPage) +
         ": boot a kernel with 4 KiB pages (Debian's linux-image-arm64 has them)";
}

}  // namespace zeropool::daemon
