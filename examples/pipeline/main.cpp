// pipeline: SHA-256 of a directory tree by separate processes that hand buffers to each other. See README.md.
//
// Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

#include <cstdio>
#include <exception>
#include <signal.h>

#include "pipeline/coordinator.hpp"
#include "pipeline/figures.hpp"
#include "pipeline/hasher.hpp"
#include "pipeline/progress.hpp"
#include "pipeline/reader.hpp"
#include "pipeline/report.hpp"

namespace pipeline {
namespace {

int print_list(const FileList& list) {
  for (const ListedFile& file : list.files) {
    std::fwrite(file.path.c_str(), 1, file.path.size() + 1, stdout);
  }
  return std::fflush(stdout) == 0 ? 0 : 1;
}

int run_coordinator(const Options& options) {
  const FileList list = list_files(options.directories, options.max_bytes);
  if (options.list_only) return print_list(list);
  std::FILE* people = options.json ? stderr : stdout;
  std::fprintf(people, "%s mode: %zu files, %s; %u readers, %u hashers\n", mode_name(options.mode),
               list.files.size(), bytes_text(list.bytes).c_str(), options.readers, options.hashers);
  std::fflush(people);
  Progress progress(people, list);
  Coordinator coordinator(options, list, progress);
  const bool whole = coordinator.run();
  progress.end();
  if (!whole) {
    std::fprintf(stderr, "pipeline: interrupted\n");
    return 130;
  }
  print_table(people, options, list, coordinator);
  if (!options.sums_path.empty()) write_sums(options.sums_path, list, coordinator.work());
  if (options.json) print_json(stdout, options, list, coordinator);
  return 0;
}

int run(const Options& options) {
  switch (options.role) {
    case Role::kReader: return run_reader(options);
    case Role::kHasher: return run_hasher(options);
    case Role::kCoordinator: break;
  }
  return run_coordinator(options);
}

}  // namespace
}  // namespace pipeline

int main(int argc, char** argv) {
  // A dead peer is an outcome of a write, not the end of this process.
  ::signal(SIGPIPE, SIG_IGN);
  pipeline::Options options;
  int exit_status = 0;
  if (!pipeline::parse_options(argc, argv, options, exit_status)) return exit_status;
  try {
    return pipeline::run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pipeline: %s\n", error.what());
    return 1;
  }
}
