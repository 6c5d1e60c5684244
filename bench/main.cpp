// Runs the benchmarks, then prints the goals beside what was measured.

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

namespace {

// Keeps every repetition's time per operation (or per item), beside the ordinary console output.
class KeepingReporter : public benchmark::ConsoleReporter {
 public:
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.error_occurred) {
        failed_ = true;
      } else if (run.run_type == Run::RT_Iteration) {
        const auto items = run.counters.find("items_per_second");
        const double ns =
            items == run.counters.end() ? run.GetAdjustedRealTime() : 1e9 / items->second;
        std::string name = run.benchmark_name();
        if (const std::size_t at = name.find("/real_time"); at != std::string::npos)
          name.resize(at);
        if (const std::size_t at = name.find("/repeats"); at != std::string::npos) name.resize(at);
        times_[name].push_back(ns);
      }
    }
    // The repetitions are kept; shown are their summaries.
    std::vector<Run> shown;
    for (const Run& run : runs) {
      if (run.run_type == Run::RT_Aggregate || run.repetitions <= 1) shown.push_back(run);
    }
    if (!shown.empty()) ConsoleReporter::ReportRuns(shown);
  }
  // Of the repetitions; all 0 when there are none.
  struct Spread {
    double min = 0;
    double median = 0;
    double max = 0;
  };
  Spread spread(const std::string& name) const {
    const auto found = times_.find(name);
    if (found == times_.end()) return {};
    std::vector<double> sorted = found->second;
    std::sort(sorted.begin(), sorted.end());
    return {sorted.front(), sorted[sorted.size() / 2], sorted.back()};
  }
  bool failed() const { return failed_; }

 private:
  std::map<std::string, std::vector<double>> times_;
  bool failed_ = false;
};

struct Goal {
  const char* id;
  const char* work;
  const char* ours;
  const char* peer;
  const char* peer_name;
};

constexpr Goal kGoals[] = {
    {"P1", "get+put hit, 4 KiB, C++", "p1_zeropool/4096", "p1_tcmalloc/4096", "tcmalloc"},
    {"P1", "get+put hit, 64 KiB, C++", "p1_zeropool/65536", "p1_tcmalloc/65536", "tcmalloc"},
    {"P1", "get+put hit, 1 MiB, C++", "p1_zeropool/1048576", "p1_tcmalloc/1048576", "tcmalloc"},
    {"P1", "get+put hit, 4 MiB, C++", "p1_zeropool/4194304", "p1_tcmalloc/4194304", "tcmalloc"},
    {"P1", "get+put hit, 64 KiB, C++", "p1_zeropool/65536", "p1_floor/4096", "floor"},
    {"P1", "get+put hit, 64 KiB, C ABI", "p1_zeropool_c/65536", "p1_tcmalloc/65536", "tcmalloc"},
    {"P2", "64 gets, 64 puts, 4 KiB, each", "p2_zeropool/4096", "p2_tcmalloc/4096", "tcmalloc"},
    {"P2", "64 gets, 64 puts, 64 KiB, each", "p2_zeropool/65536", "p2_tcmalloc/65536", "tcmalloc"},
    {"P2", "get_batch + put_batch of 64, each", "p2_zeropool_batch/4096", "p2_floor/4096", "floor"},
    {"P3", "hits in two processes at once", "p3_two_processes", "p3_one_process", "one process"},
    {"P4", "hand-off, one by one", "p4_hand_off", "probe_ping_pong", "line there and back"},
    {"P4", "hand-off, batches of 32, each", "p4_hand_off_batch", "probe_ping_pong",
     "line there and back"},
};

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  KeepingReporter reporter;
  benchmark::RunSpecifiedBenchmarks(&reporter);
  std::printf("\nNanoseconds, the median and the range of the repetitions.\n\n");
  std::printf("%-3s %-34s %8s %16s %8s %16s %8s  %s\n", "", "work", "ours", "range", "peer",
              "range", "ratio", "peer");
  for (const Goal& goal : kGoals) {
    const KeepingReporter::Spread ours = reporter.spread(goal.ours);
    const KeepingReporter::Spread peer = reporter.spread(goal.peer);
    if (ours.median == 0 || peer.median == 0) continue;
    std::printf("%-3s %-34s %8.2f %8.2f-%7.2f %8.2f %8.2f-%7.2f %8.2f  %s\n", goal.id, goal.work,
                ours.median, ours.min, ours.max, peer.median, peer.min, peer.max,
                ours.median / peer.median, goal.peer_name);
  }
  return reporter.failed() ? 1 : 0;
}
