#include "daemon/process_metrics.hpp"

#include <cstdint>
#include <dirent.h>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <sys/resource.h>
#include <unistd.h>
#include <utility>

namespace zeropool::daemon {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

void add(std::vector<MetricFamily>& families, const char* name, const char* help, MetricType type,
         double value) {
  MetricFamily family;
  family.name = name;
  family.help = help;
  family.type = type;
  prometheus::ClientMetric& metric = family.metric.emplace_back();
  if (type == MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
  families.push_back(std::move(family));
}

struct ProcessStat {
  std::uint64_t user_ticks = 0;
  std::uint64_t system_ticks = 0;
  std::uint64_t start_ticks = 0;  // after boot
  std::uint64_t virtual_bytes = 0;
  std::uint64_t resident_pages = 0;
};

// Fields 14, 15, 22, 23 and 24 of proc_pid_stat(5); the name in field 2 may hold anything but ends
// in the last ')'.
std::optional<ProcessStat> read_stat() {
  std::ifstream file("/proc/self/stat");
  std::string text;
  if (!std::getline(file, text)) return std::nullopt;
  const std::size_t end = text.rfind(')');
  if (end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(end + 1));
  ProcessStat stat;
  std::string skipped;
  for (int field = 3; field <= 24; ++field) {
    switch (field) {
      case 14: fields >> stat.user_ticks; break;
      case 15: fields >> stat.system_ticks; break;
      case 22: fields >> stat.start_ticks; break;
      case 23: fields >> stat.virtual_bytes; break;
      case 24: fields >> stat.resident_pages; break;
      default: fields >> skipped; break;
    }
  }
  if (!fields) return std::nullopt;
  return stat;
}

std::optional<std::uint64_t> read_boot_seconds() {
  std::ifstream file("/proc/stat");
  std::string word;
  std::uint64_t seconds = 0;
  while (file >> word) {
    if (word == "btime" && file >> seconds) return seconds;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> count_open_descriptors() {
  const auto close = [](DIR* folder) { ::closedir(folder); };
  const std::unique_ptr<DIR, decltype(close)> folder(::opendir("/proc/self/fd"), close);
  if (!folder) return std::nullopt;
  std::uint64_t count = 0;
  while (const dirent* entry = ::readdir(folder.get())) {
    if (entry->d_name[0] != '.') ++count;
  }
  return count > 0 ? count - 1 : 0;  // less the one that reads them
}

std::optional<double> soft_limit(decltype(RLIMIT_NOFILE) resource) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0) return std::nullopt;
  if (limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  return static_cast<double>(limit.rlim_cur);
}

}  // namespace

std::vector<MetricFamily> process_metric_families() {
  std::vector<MetricFamily> families;
  const auto hertz = static_cast<double>(::sysconf(_SC_CLK_TCK));
  if (const std::optional<ProcessStat> stat = read_stat()) {
    add(families, "process_cpu_seconds_total", "CPU time spent, user and system, in seconds.",
        MetricType::Counter, static_cast<double>(stat->user_ticks + stat->system_ticks) / hertz);
    add(families, "process_virtual_memory_bytes",
        "Address space of the daemon in bytes: arenas are mapped at full size.", MetricType::Gauge,
        static_cast<double>(stat->virtual_bytes));
    add(families, "process_resident_memory_bytes",
        "Resident memory in bytes; huge pages of hugetlbfs do not count here.", MetricType::Gauge,
        static_cast<double>(stat->resident_pages) * static_cast<double>(::sysconf(_SC_PAGESIZE)));
    if (const std::optional<std::uint64_t> boot = read_boot_seconds()) {
      add(families, "process_start_time_seconds", "Start of the process, in seconds since 1970.",
          MetricType::Gauge,
          static_cast<double>(*boot) + static_cast<double>(stat->start_ticks) / hertz);
    }
  }
  if (const std::optional<std::uint64_t> count = count_open_descriptors()) {
    add(families, "process_open_fds", "Open file descriptors.", MetricType::Gauge,
        static_cast<double>(*count));
  }
  if (const std::optional<double> limit = soft_limit(RLIMIT_NOFILE)) {
    add(families, "process_max_fds", "File descriptors that may be open.", MetricType::Gauge,
        *limit);
  }
  return families;
}

}  // namespace zeropool::daemon
