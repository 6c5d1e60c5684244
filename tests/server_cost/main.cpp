// zeropool_server_bench SERVER ROUNDS: examples/file_server with a pool of 32 buffers, and the same with std::vector, each under
// the same memory limit: throughput, the 99th percentile of a file's time, and memory, in turns within one run.

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <sys/stat.h>
#include <vector>

#include "memory_limit.hpp"
#include "tests/integration/support/daemon_process.hpp"
#include "tests/integration/support/file_crowd.hpp"

namespace zeropool::testing {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kClients = 2000;
constexpr std::uint64_t kMiB = 1 << 20;
constexpr const char* kConfig =
    "budget: 64MiB\nlimits: {clients: 16, threads: 16}\npages: {size: [4KiB]}\n"
    "pools: {files: {classes: [64KiB], limit: 3MiB, watermarks: {low: 0, high: 0}, wait: {timeout: "
    "60s}}}\n";

struct Run {
  bool done = false;  // every file came, whole
  double mb_per_second = 0;
  double p99_ms = 0;
  double rss_mib = 0;      // the server's peak
  double charged_mib = 0;  // the cgroup's: server, daemon, and what the kernel has for them
  std::string how;
};

std::uint64_t peak_rss(pid_t pid) {
  const std::string text = read_file("/proc/" + std::to_string(pid) + "/status");
  const std::size_t at = text.find("VmHWM:");
  return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + 6, nullptr, 10) * 1024;
}

// A program that runs `program` as one of those who share the limit.
std::string limited(const MemoryLimit& limit, const std::string& program,
                    const std::string& script) {
  if (!limit.holds()) return program;
  write_file(script,
             "#!/bin/sh\necho $$ >'" + limit.procs() + "'\nexec '" + program + "' \"$@\"\n");
  ::chmod(script.c_str(), 0755);
  return script;
}

Run run_once(const std::string& server_program, bool heap, std::uint64_t limit_bytes,
             const std::string& folder, const FileSet& files) {
  MemoryLimit limit(limit_bytes);
  const TemporaryFolder own;
  static const std::string daemon_path = daemon_program();
  ::setenv("ZEROPOOLD", limited(limit, daemon_path, own.path() + "/daemon").c_str(), 1);
  std::optional<DaemonProcess> daemon;
  if (!heap) daemon.emplace(kConfig);

  ProgramOptions options;
  options.arguments = {limited(limit, server_program, own.path() + "/server"), folder};
  if (heap) {
    options.arguments.push_back("--heap");
  } else {
    options.arguments.insert(options.arguments.end(), {"--socket", daemon->socket()});
  }
  options.output = own.path() + "/out";
  options.errors = own.path() + "/err";
  Program server(options);
  unsigned port = 0;
  eventually([&] {
    return std::sscanf(read_file(options.output).c_str(), "port %u", &port) == 1 || server.ended();
  });
  if (port == 0) {
    std::fprintf(stderr, "the server did not come up: %s\n", read_file(options.errors).c_str());
    std::exit(server.ended() ? std::max(1, server.ended()->status) : 1);
  }
  CrowdPlan plan;
  plan.clients = kClients;
  plan.limit = 120s;
  CrowdReport report = run_crowd(static_cast<std::uint16_t>(port), files, plan);

  Run run;
  run.done = report.files == kClients * plan.files && report.wrong == 0;
  run.mb_per_second = static_cast<double>(report.bytes) / 1e6 / report.seconds;
  if (!report.file_ms.empty()) {
    const auto at = report.file_ms.begin() +
                    static_cast<std::ptrdiff_t>((report.file_ms.size() - 1) * 99 / 100);
    std::nth_element(report.file_ms.begin(), at, report.file_ms.end());
    run.p99_ms = *at;
  }
  run.rss_mib = static_cast<double>(peak_rss(server.pid())) / kMiB;
  run.charged_mib = static_cast<double>(limit.peak_bytes()) / kMiB;
  if (const auto end = server.ended()) {
    run.how = describe(*end);
    if (end->signal == SIGKILL) run.how = "killed by the kernel: out of memory";
  } else if (!run.done) {
    run.how = std::to_string(report.refused) + " clients refused, " +
              std::to_string(report.unfinished) + " unfinished";
  }
  server.send(SIGTERM);
  server.finish(60s);
  daemon.reset();
  ::setenv("ZEROPOOLD", daemon_path.c_str(), 1);
  return run;
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void print(const char* name, std::uint64_t limit_bytes, const std::vector<Run>& runs) {
  std::vector<double> speed, p99, rss, charged;
  std::string how;
  for (const Run& run : runs) {
    if (!run.done) {
      how = run.how;
      continue;
    }
    speed.push_back(run.mb_per_second);
    p99.push_back(run.p99_ms);
    rss.push_back(run.rss_mib);
    charged.push_back(run.charged_mib);
  }
  std::printf("%5llu MiB  %-12s %2zu of %zu", static_cast<unsigned long long>(limit_bytes / kMiB),
              name, speed.size(), runs.size());
  if (!speed.empty()) {
    std::printf("  %8.0f  (%5.0f-%5.0f)  %8.0f  %8.1f  %8.1f", median(speed),
                *std::min_element(speed.begin(), speed.end()),
                *std::max_element(speed.begin(), speed.end()), median(p99), median(rss),
                median(charged));
  }
  std::printf("%s%s\n", how.empty() ? "" : "  ", how.c_str());
  std::fflush(stdout);
}

int run(const std::string& server_program, int rounds) {
  const TemporaryFolder folder;
  const FileSet files(folder.path(), 40, 1 << 20);
  std::printf("%zu clients, 3 files of up to 1 MiB each; memory limit: %s\n", kClients,
              MemoryLimit(64 * kMiB).kind().c_str());
  std::printf("%9s  %-12s %-7s  %8s  %13s  %8s  %8s  %8s\n", "limit", "server", "done", "MB/s",
              "range", "p99 ms", "RSS MiB", "all MiB");
  for (const std::uint64_t limit : {64 * kMiB, 1024 * kMiB}) {
    std::vector<Run> pool;
    std::vector<Run> heap;
    for (int round = 0; round < rounds; ++round) {
      pool.push_back(run_once(server_program, false, limit, folder.path(), files));
      heap.push_back(run_once(server_program, true, limit, folder.path(), files));
    }
    print("pool of 32", limit, pool);
    print("std::vector", limit, heap);
  }
  return 0;
}

}  // namespace
}  // namespace zeropool::testing

int main(int argc, char** argv) {
  if (argc != 3 || std::atoi(argv[2]) < 1) {
    std::fprintf(stderr, "usage: zeropool_server_bench SERVER ROUNDS\n");
    return 2;
  }
  return zeropool::testing::run(std::filesystem::absolute(argv[1]).string(), std::atoi(argv[2]));
}
