#pragma once
// What `zeropoolctl doctor` found: one thing, whether it is well, and the command that mends it.
//
// Thread safety: values.

#include <string>
#include <vector>

namespace zeropool::ctl {

enum class Level { kOk, kWarn, kBad };

struct Finding {
  Level level = Level::kOk;
  std::string
      what;  // "node 1: 0 of 64 pages of 2MiB are free: its arenas fall back to the next size"
  std::string command;  // empty: nothing to mend
};
using Findings = std::vector<Finding>;

}  // namespace zeropool::ctl
