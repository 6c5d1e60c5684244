#pragma once
// What the command line says.

#include <cstdint>
#include <string>
#include <vector>

namespace pipeline {

enum class Mode { kPool, kPipes };
enum class Role { kCoordinator, kReader, kHasher };

struct Options {
  std::vector<std::string> directories;
  Mode mode = Mode::kPool;
  std::string pool;    // empty: the daemon's only one
  std::string socket;  // empty: where the library looks by itself
  std::uint32_t readers = 2;
  std::uint32_t hashers = 2;
  std::uint64_t max_bytes = 0;         // 0: no cap
  std::vector<std::uint32_t> kill_at;  // percent of the bytes done
  std::string sums_path;
  bool json = false;
  bool list_only = false;

  // Of a child only.
  Role role = Role::kCoordinator;
  std::uint32_t index = 0;
  int control_fd = -1;
};

const char* mode_name(Mode mode);
const char* role_name(Role role);

// False: `exit_status` says how to end (help, or a usage error that was printed).
bool parse_options(int argc, char** argv, Options& options, int& exit_status);
// The command line of a child of this program.
std::vector<std::string> child_arguments(const Options& options, Role role, std::uint32_t index,
                                         int control_fd);

}  // namespace pipeline
