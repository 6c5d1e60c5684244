// What a load that rises, falls and changes its size makes a pool and two allocators take from the system.
//
//   zeropool_elastic SVG SCALE DAEMON-PID STAMP      runs all of them, one after the other; prints a table, writes the plot
//   zeropool_elastic load pool SCALE DAEMON-PID      one of them; its samples on standard output
//   zeropool_elastic load malloc SCALE 0
//
// A pool: what the kernel counts in all segments of zeropoold. An allocator: its process's resident bytes, in a
// process of its own, by LD_PRELOAD.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <fstream>
#include <map>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <zeropool/zeropool.hpp>

#include "load.hpp"
#include "plot.hpp"

namespace {

using namespace zeropool_elastic;
using namespace std::chrono_literals;

// A get that waits longer is a refusal.
constexpr auto kPatience = 100ms;

std::uint64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t all = 0;
  std::uint64_t resident = 0;
  file >> all >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

// Descriptors of all memfds of a process that are pool memory.
std::vector<int> segments_of(const std::string& pid) {
  std::vector<int> found;
  std::map<ino_t, bool> known;
  const std::string folder = "/proc/" + pid + "/fd";
  DIR* fds = ::opendir(folder.c_str());
  if (fds == nullptr) return found;
  while (const dirent* entry = ::readdir(fds)) {
    const std::string path = folder + "/" + entry->d_name;
    char target[256] = {};
    if (::readlink(path.c_str(), target, sizeof(target) - 1) < 0) continue;
    if (std::strncmp(target, "/memfd:zeropool-", 16) != 0) continue;
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat info {};
    if (fd >= 0 && ::fstat(fd, &info) == 0 && !std::exchange(known[info.st_ino], true)) {
      found.push_back(fd);
    }
  }
  ::closedir(fds);
  return found;
}

std::uint64_t bytes_of(const std::vector<int>& segments) {
  std::uint64_t sum = 0;
  for (const int fd : segments) {
    struct stat info {};
    if (::fstat(fd, &info) == 0) sum += static_cast<std::uint64_t>(info.st_blocks) * 512;
  }
  return sum;
}

std::vector<Sample> run_pool(const Course& course, const std::string& daemon) {
  const std::vector<int> segments = segments_of(daemon);
  auto pool = zeropool::Pool::open("elastic");
  if (segments.empty() || !pool) {
    std::fprintf(stderr, "zeropool_elastic: no zeropoold: %s\n", pool.error().sentence.c_str());
    std::exit(1);
  }
  // The load keeps addresses; buffers lie beside them.
  std::map<void*, zeropool::Buffer> buffers;
  Source source;
  source.get = [&](std::size_t bytes) -> void* {
    zeropool::Buffer buffer = pool->get(bytes, kPatience);
    if (!buffer) return nullptr;
    void* const data = buffer.data();
    buffers.emplace(data, std::move(buffer));
    return data;
  };
  source.put = [&](void* data) { buffers.erase(data); };
  source.footprint = [&] { return bytes_of(segments); };
  return run(course, source);
}

std::vector<Sample> run_malloc(const Course& course) {
  const std::uint64_t before = resident_bytes();
  Source source;
  source.get = [](std::size_t bytes) { return std::malloc(bytes); };
  source.put = [](void* data) { std::free(data); };
  source.footprint = [before] {
    const std::uint64_t now = resident_bytes();
    return now > before ? now - before : 0;
  };
  return run(course, source);
}

int print_samples(const std::vector<Sample>& samples) {
  for (const Sample& sample : samples) {
    std::printf("%.3f %.1f %.1f %llu %.3f\n", sample.seconds, sample.in_use_mib,
                sample.footprint_mib, static_cast<unsigned long long>(sample.refusals),
                sample.slowest_get_ms);
  }
  return 0;
}

std::vector<Sample> run_apart(const std::string& command) {
  std::vector<Sample> samples;
  FILE* output = ::popen(command.c_str(), "r");
  if (output == nullptr) return samples;
  Sample sample;
  unsigned long long refusals = 0;
  while (std::fscanf(output, "%lf %lf %lf %llu %lf", &sample.seconds, &sample.in_use_mib,
                     &sample.footprint_mib, &refusals, &sample.slowest_get_ms) == 5) {
    sample.refusals = refusals;
    samples.push_back(sample);
  }
  if (::pclose(output) != 0) samples.clear();
  return samples;
}

// Of a stretch: most and last footprint, refusals in it, its slowest get, and when all that it wants was held.
void print_row(const Course& course, const Curve& curve, const Stretch& stretch) {
  double most = 0;
  double last = 0;
  double least = 1e9;
  double slowest = 0;
  double full = -1;
  bool below = false;  // what a stretch begins with is of the one before
  std::uint64_t before = 0;
  std::uint64_t after = 0;
  for (const Sample& sample : curve.samples) {
    if (sample.seconds < stretch.begin) before = sample.refusals;
    if (sample.seconds < stretch.begin || sample.seconds >= stretch.end) continue;
    most = std::max(most, sample.footprint_mib);
    least = std::min(least, sample.footprint_mib);
    last = sample.footprint_mib;
    after = sample.refusals;
    slowest = std::max(slowest, sample.slowest_get_ms);
    const Need need = course.at(sample.seconds);
    const double wanted = static_cast<double>(need.bytes) / (1 << 20);
    if (!stretch.constant || need.bytes == 0) continue;
    const bool reached = sample.in_use_mib >= wanted * 0.98;
    if (full < 0 && below && reached) full = sample.seconds - stretch.begin;
    below = below || !reached;
  }
  char held[32] = "-";
  if (full >= 0) std::snprintf(held, sizeof(held), "%.2f s", full);
  std::printf("%-18s %-10s %9.0f %9.0f %9.0f %10llu %12.1f %10s\n", stretch.name,
              curve.name.c_str(), least, most, last,
              static_cast<unsigned long long>(after > before ? after - before : 0), slowest, held);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 5 && std::strcmp(argv[1], "load") == 0) {
    const Course course(std::strtod(argv[3], nullptr));
    return print_samples(std::strcmp(argv[2], "pool") == 0 ? run_pool(course, argv[4])
                                                           : run_malloc(course));
  }
  if (argc != 5) {
    std::fprintf(stderr, "usage: zeropool_elastic SVG SCALE DAEMON-PID STAMP\n");
    return 2;
  }
  const std::string self = argv[0];
  const std::string scale = argv[2];
  const Course course(std::strtod(argv[2], nullptr));
  std::vector<Curve> curves = {
      {"zeropool", "#c0392b", run_apart(self + " load pool " + scale + " " + argv[3])}};
  const std::pair<const char*, const char*> peers[] = {{"mimalloc", ZEROPOOL_MIMALLOC},
                                                       {"jemalloc", ZEROPOOL_JEMALLOC}};
  const char* const colours[] = {"#2980b9", "#27ae60"};
  for (std::size_t i = 0; i < 2; ++i) {
    if (*peers[i].second == 0) {
      std::printf("%s is not installed: left out\n", peers[i].first);
      continue;
    }
    curves.push_back({peers[i].first, colours[i],
                      run_apart(std::string("LD_PRELOAD=") + peers[i].second + " " + self +
                                " load malloc " + scale + " 0")});
  }
  for (const Curve& curve : curves) {
    if (!curve.samples.empty()) continue;
    std::fprintf(stderr, "zeropool_elastic: the load failed on %s\n", curve.name.c_str());
    return 1;
  }
  std::printf("%-18s %-10s %9s %9s %9s %10s %12s %10s\n", "stretch", "", "least MiB", "most MiB",
              "last MiB", "refusals", "slowest ms", "all held");
  for (const Stretch& stretch : course.stretches()) {
    for (const Curve& curve : curves) print_row(course, curve, stretch);
  }
  std::ofstream(argv[1]) << plot(course, curves, argv[4]);
  std::printf("plot: %s\n", argv[1]);
  return 0;
}
