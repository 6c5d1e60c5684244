#include "daemon/admin_json.hpp"

#include <utility>

#include "daemon/build_info.hpp"
#include "daemon/human_bytes.hpp"
#include "daemon/statistics_words.hpp"

namespace zeropool::daemon {
namespace {

using nlohmann::json;

constexpr std::uint64_t kNanosecondsPerSecond = 1'000'000'000;

json pool_summary(const PoolStatistics& pool) {
  return {{"name", pool.name},
          {"draining", pool.draining},
          {"committed_bytes", pool.committed_bytes},
          {"metadata_bytes", pool.metadata_bytes},
          {"limit_bytes", pool.limit_bytes},
          {"reserved_bytes", pool.reserved_bytes},
          {"clients", pool.clients.size()},
          {"threads", pool.threads},
          {"orders_waiting", pool.orders_waiting},
          {"hit_rate", hit_rate(pool)}};
}

json arenas_of(const PoolStatistics& pool) {
  json arenas = json::array();
  for (const ArenaStatistics& arena : pool.arenas) {
    arenas.push_back({{"node", arena.node},
                      {"page_size", page_size_word(arena.page_kind)},
                      {"committed_bytes", arena.committed_bytes},
                      {"misplaced_bytes", arena.misplaced_bytes},
                      {"pinned_bytes", arena.pinned_bytes}});
  }
  return arenas;
}

json ring_document(const RingStatistics& ring) {
  json failures = json::object();
  for (std::uint32_t reason = 0; reason < lib::kFailureReasons; ++reason) {
    failures[failure_word(reason)] = ring.failures[reason];
  }
  return {{"node", ring.node},
          {"class", exact_bytes(ring.class_bytes)},
          {"class_bytes", ring.class_bytes},
          {"slots",
           {{"published", ring.published},
            {"free", ring.free},
            {"cold", ring.cold},
            {"cached", ring.cached},
            {"held", ring.held},
            {"in_transit", ring.in_transit},
            {"shared", ring.shared},
            {"quarantined", ring.quarantined}}},
          {"gets", ring.gets()},
          {"tls_hits", ring.tls_hits},
          {"shared_hits", ring.shared_hits},
          {"allocations", ring.allocations},
          {"failures", std::move(failures)},
          {"puts", ring.puts},
          {"remote_gets", ring.remote_gets},
          {"ring_claims", ring.ring_claims},
          {"contention_events", ring.contention},
          {"handoffs", ring.released},
          {"adoptions", ring.adopted}};
}

json steals_of(const PoolCounters& counters) {
  json steals = json::object();
  for (std::size_t reason = 0; reason < kStealReasons; ++reason) {
    const StealCounters& steal = counters.steals[reason];
    steals[steal_word(static_cast<StealReason>(reason))] = {{"threads", steal.threads},
                                                            {"bytes", steal.bytes}};
  }
  return steals;
}

json released_by_reason(const ReleasedBytes& released) {
  json by_reason = json::object();
  for (std::size_t reason = 0; reason < kReleaseReasons; ++reason) {
    by_reason[release_word(static_cast<ReleaseReason>(reason))] = released[reason];
  }
  return by_reason;
}

json events_by_source(const PressureCounters& events) {
  json by_source = json::object();
  for (std::size_t source = 0; source < kPressureSources; ++source) {
    by_source[pressure_word(static_cast<PressureSource>(source))] = events[source];
  }
  return by_source;
}

json counters_of(const PoolStatistics& pool) {
  const PoolCounters& counters = pool.counters;
  return {{"orders_granted", counters.orders_granted},
          {"orders_refused", counters.orders_refused},
          {"orders_cancelled", counters.orders_cancelled},
          {"reclaims", counters.reclaims},
          {"reclaimed_slots", counters.reclaimed_slots},
          {"quarantined_slots", counters.quarantined_slots},
          {"repairs", counters.repairs},
          {"audit_passes", counters.audit.passes},
          {"withheld", counters.audit.withheld},
          {"stray_bytes", counters.audit.stray_bytes},
          {"punched_stray_bytes", counters.audit.punched_stray_bytes},
          {"handoffs_expired", counters.handoffs_expired},
          {"stale_handles", pool.stale_handles},
          {"double_puts", pool.double_puts},
          {"foreign_puts", pool.foreign_puts},
          {"orphaned_puts", pool.orphaned_puts},
          {"trims", pool.trims},
          {"trimmed_bytes", pool.trimmed_bytes},
          {"released_bytes", released_by_reason(pool.released_bytes)},
          {"steals", steals_of(counters)}};
}

ClientHolding holding_of(const std::vector<ClientHolding>& holdings, std::uint32_t id) {
  for (const ClientHolding& holding : holdings) {
    if (holding.id == id) return holding;
  }
  return {};
}

json audit_counts(const lib::AuditReport& report) {
  return {{"slots", report.slots},   {"free", report.free},
          {"cold", report.cold},     {"cached", report.cached},
          {"held", report.held},     {"in_transit", report.in_transit},
          {"shared", report.shared}, {"quarantined", report.quarantined},
          {"daemon", report.daemon}, {"orphaned", report.orphaned},
          {"lost", report.lost},     {"doubled", report.doubled},
          {"broken", report.broken}};
}

}  // namespace

json warnings_document(const std::vector<Warning>& warnings) {
  json list = json::array();
  for (const Warning& warning : warnings) {
    list.push_back({{"level", warning_level_word(warning.level)},
                    {"code", warning.code},
                    {"pool", warning.pool},
                    {"what", warning.what},
                    {"remedy", warning.remedy}});
  }
  return list;
}

json status_document(const DaemonStatistics& statistics, const AdminClock& clock) {
  json pools = json::array();
  for (const PoolStatistics& pool : statistics.pools) pools.push_back(pool_summary(pool));
  const std::vector<Warning> warnings = health_warnings(statistics);
  const std::vector<std::string> problems = health_problems(statistics);
  const bool started = clock.unix_seconds > statistics.started_unix_seconds;
  return {{"version", build_info::version},
          {"revision", build_info::revision},
          {"state", statistics.state},
          {"started_unix_seconds", statistics.started_unix_seconds},
          {"uptime_seconds", started ? clock.unix_seconds - statistics.started_unix_seconds : 0},
          {"budget_bytes", statistics.budget_bytes},
          {"committed_bytes", statistics.committed_bytes},
          {"excess_bytes", statistics.release.excess_bytes},
          {"pressure_events", events_by_source(statistics.release.pressure_events)},
          {"last_reload_successful", statistics.last_reload_successful},
          {"last_reload_unix_seconds", statistics.last_reload_unix_seconds},
          {"rejections", statistics.rejections},
          {"healthy", problems.empty()},
          {"problems", problems},
          {"verdict", health_verdict(warnings)},
          {"warnings", warnings_document(warnings)},
          {"pools", std::move(pools)}};
}

json pools_document(const DaemonStatistics& statistics) {
  json pools = json::array();
  for (const PoolStatistics& pool : statistics.pools) {
    json document = pool_summary(pool);
    document["counters"] = counters_of(pool);
    document["arenas"] = arenas_of(pool);
    json rings = json::array();
    for (const RingStatistics& ring : pool.rings) rings.push_back(ring_document(ring));
    document["rings"] = std::move(rings);
    pools.push_back(std::move(document));
  }
  return {{"pools", std::move(pools)}};
}

json clients_document(const DaemonStatistics& statistics,
                      const std::vector<std::vector<ClientHolding>>& holdings,
                      const AdminClock& clock) {
  json clients = json::array();
  for (std::size_t i = 0; i < statistics.pools.size(); ++i) {
    const PoolStatistics& pool = statistics.pools[i];
    for (const ClientInfo& client : pool.clients) {
      const ClientHolding holding =
          i < holdings.size() ? holding_of(holdings[i], client.id) : ClientHolding{};
      const std::uint64_t attached_ns =
          clock.monotonic_ns > client.attached_ns ? clock.monotonic_ns - client.attached_ns : 0;
      clients.push_back({{"pool", pool.name},
                         {"id", client.id},
                         {"epoch", client.epoch},
                         {"pid", client.pid},
                         {"uid", client.uid},
                         {"name", client.name},
                         {"attached_seconds", attached_ns / kNanosecondsPerSecond},
                         {"suspect", client.suspect},
                         {"direct_io", client.direct_io},
                         {"held_bytes", holding.held_bytes},
                         {"cached_bytes", holding.cached_bytes},
                         {"in_transit_bytes", holding.in_transit_bytes},
                         {"shared_bytes", holding.shared_bytes},
                         {"charged_bytes", holding.charged_bytes},
                         {"quota_bytes", pool.client_quota_bytes}});
    }
  }
  return {{"clients", std::move(clients)}};
}

json trim_document(const std::vector<TrimmedPool>& pools) {
  json list = json::array();
  TrimReport sum;
  TakenCaches taken;
  for (const TrimmedPool& pool : pools) {
    taken += pool.taken;
    sum.extents += pool.report.extents;
    sum.bytes += pool.report.bytes;
    list.push_back({{"name", pool.pool},
                    {"taken_threads", pool.taken.threads},
                    {"taken_bytes", pool.taken.bytes},
                    {"extents", pool.report.extents},
                    {"bytes", pool.report.bytes}});
  }
  return {{"taken_threads", taken.threads},
          {"taken_bytes", taken.bytes},
          {"extents", sum.extents},
          {"bytes", sum.bytes},
          {"pools", std::move(list)}};
}

json audit_document(const std::vector<AuditedRing>& rings, const std::vector<AuditedPool>& pools) {
  json of_pools = json::array();
  for (const AuditedPool& pool : pools) {
    of_pools.push_back({{"name", pool.pool},
                        {"stray_bytes", pool.strays.bytes},
                        {"punched_stray_bytes", pool.strays.punched_bytes}});
  }
  json list = json::array();
  lib::AuditReport sum;
  bool in_motion = false;
  for (const AuditedRing& ring : rings) {
    json document = audit_counts(ring.report);
    document["pool"] = ring.pool;
    document["node"] = ring.node;
    document["class"] = exact_bytes(ring.class_bytes);
    document["class_bytes"] = ring.class_bytes;
    document["clean"] = ring.report.clean();
    document["in_motion"] = ring.in_motion;
    list.push_back(std::move(document));
    sum += ring.report;
    in_motion = in_motion || ring.in_motion;
  }
  return {{"clean", sum.clean()},
          {"in_motion", in_motion},
          {"sum", audit_counts(sum)},
          {"pools", std::move(of_pools)},
          {"rings", std::move(list)}};
}

json reload_document(const std::string& note) { return {{"reloaded", true}, {"note", note}}; }

std::string document_text(const json& document) {
  return document.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace zeropool::daemon
