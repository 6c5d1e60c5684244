#pragma once
// `zeropoolctl holders`: who holds what, since when, and from where; for people, for programs, or as a pprof profile.
//
// Thread safety: one thread's.

#include <cstdint>
#include <string>

namespace CLI {
class App;
}

namespace zeropool::ctl {

struct HoldersOptions {
  std::string socket;
  double older_than_seconds = 0;
  std::string pool;          // empty: all
  std::uint32_t client = 0;  // 0: all
  bool as_json = false;
  std::string pprof;  // a file to write; empty: none
};

// The subcommand with its options, read into `options`.
void add_holders(CLI::App& app, HoldersOptions& options);
// The exit code.
int run_holders(const HoldersOptions& options);

}  // namespace zeropool::ctl
