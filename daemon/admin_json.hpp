#pragma once
// The documents that `zeropoolctl --json` prints. Keys are an interface: they are added, never
// renamed.
//
// Thread safety: functions of their arguments.

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "daemon/admin_clock.hpp"
#include "daemon/daemon_health.hpp"
#include "daemon/idle_caches.hpp"
#include "daemon/statistics.hpp"
#include "zeropool/lib/audit.hpp"

namespace zeropool::daemon {

struct AuditedRing {
  std::string pool;
  std::uint32_t node = 0;
  std::uint64_t class_bytes = 0;
  bool in_motion = false;  // buffers moved while it was counted: lost and doubled may be none
  lib::AuditReport report;
};

struct AuditedPool {
  std::string pool;
  StrayReport strays;
};

struct TrimmedPool {
  std::string pool;
  TrimReport report;
  TakenCaches taken = {};  // before it
};

nlohmann::json warnings_document(const std::vector<Warning>& warnings);
nlohmann::json status_document(const DaemonStatistics& statistics, const AdminClock& clock);
nlohmann::json pools_document(const DaemonStatistics& statistics);
// `holdings[i]` are those of the clients of statistics.pools[i].
nlohmann::json clients_document(const DaemonStatistics& statistics,
                                const std::vector<std::vector<ClientHolding>>& holdings,
                                const AdminClock& clock);
nlohmann::json trim_document(const std::vector<TrimmedPool>& pools);
nlohmann::json audit_document(const std::vector<AuditedRing>& rings,
                              const std::vector<AuditedPool>& pools = {});
nlohmann::json reload_document(const std::string& note);

// As text; bytes that are no UTF-8 (names come from clients) become U+FFFD.
std::string document_text(const nlohmann::json& document);

}  // namespace zeropool::daemon
