#include "pipeline/report.hpp"

#include <cstring>
#include <map>

#include <nlohmann/json.hpp>

#include "pipeline/figures.hpp"

namespace pipeline {
namespace {

double per_second(std::uint64_t bytes, double seconds) {
  return seconds > 0 ? static_cast<double>(bytes) / seconds : 0;
}

FinalBody all_stats(const Coordinator& coordinator) {
  FinalBody sum;
  for (const auto& child : coordinator.children()) {
    sum.gets += child->stats.gets;
    sum.tls_hits += child->stats.tls_hits;
    sum.shared_hits += child->stats.shared_hits;
    sum.allocations += child->stats.allocations;
    sum.released += child->stats.released;
    sum.adopted += child->stats.adopted;
  }
  return sum;
}

double all_cpu_seconds(const Coordinator& coordinator) {
  double sum = 0;
  for (const auto& child : coordinator.children()) sum += child->cpu_seconds();
  return sum;
}

void print_rest(std::FILE* out, const FileList& list, const WorkList& work) {
  std::map<int, std::uint64_t> errors;
  for (const FileWork& file : work.files()) {
    if (file.state == FileState::kUnreadable) ++errors[file.error];
  }
  for (const auto& [error, count] : errors) {
    std::fprintf(out, "skipped files: %llu (%s)\n", static_cast<unsigned long long>(count),
                 std::strerror(error));
  }
  if (list.unreadable_directories > 0) {
    std::fprintf(out, "skipped directories that cannot be read: %llu\n",
                 static_cast<unsigned long long>(list.unreadable_directories));
  }
  if (list.files.size() < list.found_files) {
    std::fprintf(out, "capped: %s of %s, %zu of %llu files (--max-bytes 0 takes all)\n",
                 bytes_text(list.bytes).c_str(), bytes_text(list.found_bytes).c_str(),
                 list.files.size(), static_cast<unsigned long long>(list.found_files));
  }
  if (work.redone_files() > 0) {
    std::fprintf(out, "done again after a hasher's death: %llu files, %s\n",
                 static_cast<unsigned long long>(work.redone_files()),
                 bytes_text(work.redone_bytes()).c_str());
  }
}

}  // namespace

void print_table(std::FILE* out, const Options& options, const FileList& list,
                 const Coordinator& coordinator) {
  const WorkList& work = coordinator.work();
  const double seconds = coordinator.result().seconds;
  std::fprintf(out, "\n%-24s %8s %9s %11s %8s %12s\n",
               options.mode == Mode::kPool ? "pool" : "pipes", "pid", "files", "bytes", "cpu",
               "speed");
  for (const auto& child : coordinator.children()) {
    std::fprintf(out, "%-24s %8d %9llu %11s %6.2f s %12s%s\n", child->name().c_str(), child->pid(),
                 static_cast<unsigned long long>(child->files), bytes_text(child->bytes).c_str(),
                 child->cpu_seconds(),
                 speed_text(per_second(child->bytes, child->life_seconds())).c_str(),
                 child->killed() ? "  killed" : "");
  }
  std::fprintf(out, "%-24s %8s %9llu %11s %6.2f s %12s  in %.2f s\n", "all", "",
               static_cast<unsigned long long>(work.done_files()),
               bytes_text(work.done_bytes()).c_str(), all_cpu_seconds(coordinator),
               speed_text(per_second(work.done_bytes(), seconds)).c_str(), seconds);
  print_rest(out, list, work);
  std::fflush(out);
}

void print_json(std::FILE* out, const Options& options, const FileList& list,
                const Coordinator& coordinator) {
  const WorkList& work = coordinator.work();
  const RunResult& result = coordinator.result();
  nlohmann::json processes = nlohmann::json::array();
  for (const auto& child : coordinator.children()) {
    processes.push_back({{"role", role_name(child->role())},
                         {"index", child->index()},
                         {"incarnation", child->incarnation()},
                         {"process_id", child->pid()},
                         {"process_files", child->files},
                         {"process_bytes", child->bytes},
                         {"process_cpu_seconds", child->cpu_seconds()},
                         {"killed", child->killed()}});
  }
  const FinalBody stats = all_stats(coordinator);
  const nlohmann::json document = {
      {"mode", mode_name(options.mode)},
      {"files", work.done_files()},
      {"bytes", work.done_bytes()},
      {"seconds", result.seconds},
      {"bytes_per_second", per_second(work.done_bytes(), result.seconds)},
      {"cpu_seconds", all_cpu_seconds(coordinator)},
      {"listed_files", list.files.size()},
      {"found_files", list.found_files},
      {"found_bytes", list.found_bytes},
      {"unreadable_files", work.unreadable_files()},
      {"unreadable_directories", list.unreadable_directories},
      {"kills", result.kills},
      {"replacements", result.replacements},
      {"redone_files", work.redone_files()},
      {"redone_bytes", work.redone_bytes()},
      {"gets", stats.gets},
      {"tls_hits", stats.tls_hits},
      {"shared_hits", stats.shared_hits},
      {"allocations", stats.allocations},
      {"released", stats.released},
      {"adopted", stats.adopted},
      {"processes", processes}};
  std::fprintf(out, "%s\n", document.dump(2).c_str());
  std::fflush(out);
}

}  // namespace pipeline
