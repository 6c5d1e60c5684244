// What a changed file can change while the daemon runs.
#pragma once

#include <string>
#include <vector>

#include "daemon/config.hpp"

namespace zeropool::daemon {

struct ReloadPlan {
  std::vector<std::string> applied;  // "key: old -> new"
  std::vector<std::string> refused;  // "key: old -> new: why"
  Config effective;                  // `running` with what is applied: a valid Config again
};

// Applied: budget, log, limits.pending_attaches, and of each pool reserved, limit up to limit_max,
// client_quota, watermarks, release, thread_cache, thread_cache_idle, wait, handoff, scrub, access. All else needs a
// restart.
// With total memory unknown, a budget in percent is not held against the reservations.
ReloadPlan reload_diff(const Config& running, const Config& wanted,
                       const MachineFacts& machine = {});

// What the daemon lays out at start: gives each pool without a limit_max the one that its address
// space is set aside for. Done once, before the config runs; reload_diff() then holds to it.
Config fix_limit_max(Config config, std::uint64_t total_memory_bytes);

}  // namespace zeropool::daemon
