#include "daemon/memory_guard.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string_view>
#include <utility>

namespace zeropool::daemon {
namespace {

constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::uint64_t kNodeReserve = 64 * kMiB;
constexpr std::uint64_t kCgroupReserve = 16 * kMiB;
// A reading serves so long, and for so much of the headroom that it showed.
constexpr std::chrono::milliseconds kReadingLife{10};
constexpr std::uint64_t kReadingPart = 8;

std::uint64_t less(std::uint64_t from, std::uint64_t bytes) {
  return from > bytes ? from - bytes : 0;
}

// 1% of what there is, at least `least`, but never more than an eighth of it.
std::uint64_t reserve_of(std::uint64_t total, std::uint64_t least) {
  return std::min(std::max(least, total / 100), total / 8);
}

bool parse_number(std::string_view text, std::uint64_t& value) {
  const std::size_t start = text.find_first_of("0123456789");
  if (start == std::string_view::npos) return false;
  const auto parsed = std::from_chars(text.data() + start, text.data() + text.size(), value);
  return parsed.ec == std::errc{};
}

// The number after `key` in a file of "key value" lines; false when there is none. `unit`
// multiplies it.
class KeyedFile {
 public:
  KeyedFile(const std::string& path, std::uint64_t unit) : unit_(unit) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) lines_.push_back(std::move(line));
  }
  bool read(std::string_view key, std::uint64_t& value) const {
    for (const std::string& line : lines_) {
      const std::size_t at = line.find(key);
      if (at == std::string::npos || (at != 0 && line[at - 1] != ' ')) continue;
      std::uint64_t number = 0;
      if (!parse_number(std::string_view(line).substr(at + key.size()), number)) return false;
      value = number * unit_;
      return true;
    }
    return false;
  }
  std::uint64_t read_or_zero(std::string_view key) const {
    std::uint64_t value = 0;
    read(key, value);
    return value;
  }

 private:
  std::uint64_t unit_;
  std::vector<std::string> lines_;
};

// A file with one number; kUnlimited for "max" and for no file.
std::uint64_t read_limit(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::uint64_t value = 0;
  if (!std::getline(file, line) || !parse_number(line, value)) return kUnlimited;
  return value;
}

}  // namespace

MemoryGuard::MemoryGuard(MemoryGuardPaths paths) : paths_(std::move(paths)) { find_cgroups(); }

bool MemoryGuard::take(std::uint32_t node, std::uint64_t bytes) {
  const auto now = std::chrono::steady_clock::now();
  Reading& reading = readings_[node];
  if (bytes > reading.allowance || now - reading.at > kReadingLife) {
    const std::uint64_t left = headroom(node);
    reading.at = now;
    reading.allowance = 0;
    if (bytes > left) return false;
    reading.allowance = std::max(bytes, left / kReadingPart);
  }
  reading.allowance -= bytes;
  return true;
}

std::uint64_t MemoryGuard::headroom(std::uint32_t node) const {
  return std::min(node_headroom(node), cgroup_headroom());
}

std::uint64_t MemoryGuard::node_headroom(std::uint32_t node) const {
  const KeyedFile own(paths_.nodes + "/node" + std::to_string(node) + "/meminfo", 1024);
  std::uint64_t total = 0;
  std::uint64_t free = 0;
  if (own.read("MemTotal:", total) && own.read("MemFree:", free)) {
    // The page cache can be reclaimed, but not all of it, and not at once: half of it counts.
    const std::uint64_t cache =
        own.read_or_zero("Active(file):") + own.read_or_zero("Inactive(file):");
    return less(free + cache / 2, reserve_of(total, kNodeReserve));
  }
  const KeyedFile machine(paths_.proc + "/meminfo", 1024);
  if (machine.read("MemTotal:", total) && machine.read("MemAvailable:", free)) {
    return less(free, reserve_of(total, kNodeReserve));
  }
  return kUnlimited;
}

std::uint64_t MemoryGuard::cgroup_headroom() const {
  std::uint64_t left = kUnlimited;
  for (const CgroupFiles& files : cgroups_) {
    std::uint64_t limit = read_limit(files.limit);
    if (!files.soft_limit.empty()) limit = std::min(limit, read_limit(files.soft_limit));
    if (limit >= kUnlimited / 4) continue;  // v1 says "none" by a number near 2^63
    const std::uint64_t usage = read_limit(files.usage);
    if (usage == kUnlimited) continue;
    const KeyedFile statistics(files.statistics, 1);
    const std::uint64_t cache = statistics.read_or_zero("inactive_file");
    left = std::min(left, less(limit, less(usage, cache / 2) + reserve_of(limit, kCgroupReserve)));
  }
  return left;
}

// Every level from our cgroup up to the root of its hierarchy, for v2 and for v1's memory
// controller. In a
// container /proc/self/cgroup may name a path that is not visible: then the levels that are.
void MemoryGuard::find_cgroups() {
  std::ifstream file(paths_.proc + "/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool unified = controllers.empty();
    const bool memory = ("," + controllers + ",").find(",memory,") != std::string::npos;
    if (!unified && !memory) continue;
    for (const char* mount : {"", "/unified", "/memory"}) {
      std::string path = line.substr(second + 1);
      for (;;) {
        if (path == "/") path.clear();
        const std::string folder = paths_.cgroup + mount + path + "/";
        std::error_code ignored;
        const bool v2 = unified && std::filesystem::exists(folder + "memory.current", ignored);
        const bool v1 =
            memory && std::filesystem::exists(folder + "memory.usage_in_bytes", ignored);
        if (v2) {
          cgroups_.push_back({folder + "memory.max", folder + "memory.high",
                              folder + "memory.current", folder + "memory.stat"});
        }
        if (v1) {
          cgroups_.push_back({folder + "memory.limit_in_bytes", "",
                              folder + "memory.usage_in_bytes", folder + "memory.stat"});
        }
        const std::size_t slash = path.rfind('/');
        if (path.empty() || slash == std::string::npos) break;
        path.resize(slash);
      }
    }
  }
}

}  // namespace zeropool::daemon
