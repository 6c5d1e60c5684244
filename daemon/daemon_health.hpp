#pragma once
// Is all well? The warnings of the status page, of `zeropoolctl status` and of `zeropoolctl top`.
//
// Thread safety: functions of their arguments.

#include <string>
#include <vector>

#include "daemon/statistics.hpp"

namespace zeropool::daemon {

enum class WarningLevel {
  kWarning,  // not all is well
  kNote,     // worth knowing; all may be well
};

struct Warning {
  WarningLevel level = WarningLevel::kWarning;
  std::string code;    // for programs: orders_waiting. Codes are added, never renamed
  std::string pool;    // empty: the whole daemon
  std::string what;    // "2 orders wait for memory (1.00 GiB of 1.00 GiB committed)"
  std::string remedy;  // what to do about it

  std::string sentence() const;  // "pool frames: WHAT: REMEDY"
};

const char* warning_level_word(WarningLevel level);

// Warnings first, then notes; nothing of level kWarning: all is well.
std::vector<Warning> health_warnings(const DaemonStatistics& statistics);
// The sentences of those of level kWarning.
std::vector<std::string> health_problems(const DaemonStatistics& statistics);
// "All is well.", "2 things are not well."
std::string health_verdict(const std::vector<Warning>& warnings);

// Of all gets that were served, the part that needed no order; 1 when nothing was asked for yet.
double hit_rate(const PoolStatistics& pool);

}  // namespace zeropool::daemon
