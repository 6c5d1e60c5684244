#pragma once
// What a person wants to see at once: the source of the status page, of /status.json and of `zeropoolctl top`.
//
// Thread safety: functions of values.
// Invariants:
//   V1  The document is bounded, whatever there is: the largest rows of each list, and how many were left out.
//   V2  Keys are an interface: they are added, never renamed.

#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "daemon/admin_clock.hpp"
#include "daemon/occupancy.hpp"
#include "daemon/statistics.hpp"

namespace zeropool::daemon {

struct StatusView {
  DaemonStatistics statistics;
  std::shared_ptr<const Occupancy> occupancy;  // null: the first look is under way
  AdminClock clock;
  std::string machine;
};

// Most rows of each list.
struct StatusRows {
  static constexpr std::size_t kWarnings = 32;
  static constexpr std::size_t kPools = 64;
  static constexpr std::size_t kClasses = 256;
  static constexpr std::size_t kMaps = 64;
  static constexpr std::size_t kClients = 100;
};

nlohmann::json status_view_document(const StatusView& view);

}  // namespace zeropool::daemon
