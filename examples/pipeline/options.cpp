#include "pipeline/options.hpp"

#include <map>

#include <CLI/CLI.hpp>

namespace pipeline {
namespace {

constexpr std::uint32_t kMaxChildren = 32;

const std::map<std::string, Mode> kModes = {{"pool", Mode::kPool}, {"pipes", Mode::kPipes}};
const std::map<std::string, Role> kRoles = {{"reader", Role::kReader}, {"hasher", Role::kHasher}};

}  // namespace

const char* mode_name(Mode mode) { return mode == Mode::kPool ? "pool" : "pipes"; }

const char* role_name(Role role) {
  switch (role) {
    case Role::kReader: return "reader";
    case Role::kHasher: return "hasher";
    case Role::kCoordinator: break;
  }
  return "coordinator";
}

bool parse_options(int argc, char** argv, Options& options, int& exit_status) {
  CLI::App app{
      "SHA-256 of every regular file below the directories, by a pipeline of processes: readers, "
      "hashers, and a coordinator. On the way one hasher is killed and its work done again."};
  bool no_kill = false;
  app.add_option("directories", options.directories, "Where to look (/usr/lib and /usr/share)");
  app.add_option("--mode", options.mode, "pool: buffers of zeropoold; pipes: malloc and pipes")
      ->transform(CLI::CheckedTransformer(kModes))
      ->default_str("pool");
  app.add_option("--pool", options.pool, "The pool's name (the daemon's only one)");
  app.add_option("--socket", options.socket, "The daemon's socket");
  app.add_option("--readers", options.readers, "Reader processes")
      ->check(CLI::Range(1U, kMaxChildren))
      ->capture_default_str();
  app.add_option("--hashers", options.hashers, "Hasher processes")
      ->check(CLI::Range(1U, kMaxChildren))
      ->capture_default_str();
  app.add_option("--max-bytes", options.max_bytes,
                 "Take files up to this many bytes (64MiB, 2GiB; 0: all), the directories in turn, "
                 "each in the order of its names")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--kill-at", options.kill_at,
                 "Kill a hasher when this percentage of the bytes is done (40); may be repeated")
      ->check(CLI::Range(0U, 100U));
  app.add_flag("--no-kill", no_kill, "Kill nobody");
  app.add_option("--sums", options.sums_path, "Write what sha256sum would print to this file");
  app.add_flag("--json", options.json, "A summary for programs on standard output");
  app.add_flag("--list", options.list_only,
               "Print the files' names, each ended by a zero, and exit");
  app.add_option("--role", options.role)->transform(CLI::CheckedTransformer(kRoles))->group("");
  app.add_option("--index", options.index)->group("");
  app.add_option("--control-fd", options.control_fd)->group("");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    exit_status = app.exit(error) == 0 ? 0 : 2;
    return false;
  }
  if (options.directories.empty()) options.directories = {"/usr/lib", "/usr/share"};
  if (options.kill_at.empty()) options.kill_at = {40};
  if (no_kill) options.kill_at.clear();
  std::sort(options.kill_at.begin(), options.kill_at.end());
  return true;
}

std::vector<std::string> child_arguments(const Options& options, Role role, std::uint32_t index,
                                         int control_fd) {
  std::vector<std::string> arguments = {"pipeline", "--role=" + std::string(role_name(role)),
                                        "--index=" + std::to_string(index),
                                        "--control-fd=" + std::to_string(control_fd),
                                        "--mode=" + std::string(mode_name(options.mode))};
  if (!options.pool.empty()) arguments.push_back("--pool=" + options.pool);
  if (!options.socket.empty()) arguments.push_back("--socket=" + options.socket);
  return arguments;
}

}  // namespace pipeline
