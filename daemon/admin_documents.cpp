#include "daemon/admin_documents.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <string_view>

#include "daemon/admin_json.hpp"
#include "daemon/config_keys.hpp"
#include "daemon/daemon.hpp"
#include "daemon/doctor_document.hpp"
#include "daemon/drain.hpp"
#include "daemon/event_loop.hpp"
#include "daemon/hold_document.hpp"
#include "daemon/holders.hpp"
#include "daemon/idle_caches.hpp"
#include "daemon/thread_counters.hpp"

namespace zeropool::daemon {
namespace {

constexpr std::array<std::string_view, 13> kCommands = {
    "status", "pools", "clients",   "holders", "trim",       "audit",      "reload",
    "doctor", "top",   "hand-over", "drain",   "drain-stop", "drain-state"};
// What is really lost is lost in every look; what only moved is somewhere else in the next.
constexpr int kAuditLooks = 3;
constexpr std::uint64_t kStrayLookNs = 10'000'000;
constexpr int kMostStrayLooks = 32;  // somebody may touch faster than we punch

struct Refusal {
  lib::ErrorCode code = lib::ErrorCode::ok;
  std::string sentence;
};

// The pool of that name, or all of them for no name; empty: there is none, `refusal` says so.
std::vector<Pool*> chosen_pools(Daemon& daemon, const std::string& name, Refusal& refusal) {
  std::vector<Pool*> chosen;
  std::string known;
  for (const std::unique_ptr<Pool>& pool : daemon.pools()) {
    if (name.empty() || pool->memory->name() == name) chosen.push_back(pool.get());
    known += (known.empty() ? "" : ", ") + pool->memory->name();
  }
  if (chosen.empty()) {
    refusal = {lib::ErrorCode::no_such_pool,
               "there is no pool " + quote(name) + "; there are: " + known};
  }
  return chosen;
}

std::uint64_t defects(const lib::AuditReport& report) {
  return report.lost + report.doubled + report.broken + report.orphaned;
}

// Changes with every get, put and hand-off of the ring.
std::uint64_t activity(const PoolMemory& memory, std::uint32_t ring) {
  PoolStatistics statistics;
  statistics.rings.resize(memory.plan().rings.size());
  add_thread_counters(memory.view(), memory.plan(), published_records(memory), statistics);
  const RingStatistics& counted = statistics.rings[ring];
  return counted.gets() + counted.puts + counted.ring_claims + counted.released + counted.adopted;
}

AuditedRing audited(const PoolMemory& memory, std::uint32_t number) {
  const lib::RingPlan& plan = memory.plan().rings[number];
  AuditedRing ring;
  ring.pool = memory.name();
  ring.node = memory.plan().shape.arenas[plan.arena].node;
  ring.class_bytes = plan.class_bytes;
  ring.report = lib::audit_ring(memory.ring(number));
  for (int look = 1; look < kAuditLooks && !ring.report.clean(); ++look) {
    const std::uint64_t before = activity(memory, number);
    const lib::AuditReport again = lib::audit_ring(memory.ring(number));
    ring.in_motion = ring.in_motion || activity(memory, number) != before;
    if (defects(again) < defects(ring.report)) ring.report = again;
  }
  return ring;
}

nlohmann::json trim(Daemon& daemon, const std::string& name, Refusal& refusal) {
  std::vector<TrimmedPool> trimmed;
  for (Pool* pool : chosen_pools(daemon, name, refusal)) {
    const TakenCaches taken = pool->idle->take_all();  // first: it may be all that pins an extent
    trimmed.push_back({pool->memory->name(),
                       pool->memory->trim(std::numeric_limits<std::uint64_t>::max(), lib::kNone,
                                          ReleaseReason::kCommand),
                       taken});
  }
  return trim_document(trimmed);
}

// "drain-state" changes nothing: who waits does not take back what somebody else has said meanwhile.
nlohmann::json drain(Daemon& daemon, const std::string& command, const std::string& name,
                     Refusal& refusal) {
  std::vector<DrainState> states;
  for (Pool* pool : chosen_pools(daemon, name, refusal)) {
    if (command != "drain-state") daemon.drain(*pool, command == "drain");
    states.push_back(drain_state(collect_pool_statistics(*pool, daemon.budget())));
  }
  return drain_document(states);
}

// All of it, not within a tick: whoever asks for the whole waits for it.
StrayReport punched_strays(Pool& pool) {
  StrayReport sum;
  for (int look = 0; look < kMostStrayLooks; ++look) {
    const std::uint64_t now_ns = monotonic_ns();
    const StrayReport found = pool.memory->punch_strays(now_ns, now_ns + kStrayLookNs);
    sum.bytes = std::max(sum.bytes, found.bytes);
    sum.punched_bytes += found.punched_bytes;
    pool.counters.audit.stray_bytes = found.bytes - std::min(found.bytes, found.punched_bytes);
    if (!found.searching || found.bytes == 0) break;
  }
  pool.counters.audit.punched_stray_bytes += sum.punched_bytes;
  return sum;
}

nlohmann::json audit(Daemon& daemon, const std::string& name, Refusal& refusal) {
  std::vector<AuditedRing> rings;
  std::vector<AuditedPool> pools;
  for (Pool* pool : chosen_pools(daemon, name, refusal)) {
    pools.push_back({pool->memory->name(), punched_strays(*pool)});
    for (std::uint32_t ring = 0; ring < pool->memory->ring_count(); ++ring) {
      rings.push_back(audited(*pool->memory, ring));
    }
  }
  return audit_document(rings, pools);
}

nlohmann::json clients(Daemon& daemon) {
  const DaemonStatistics statistics = daemon.statistics();
  std::vector<std::vector<ClientHolding>> held;
  for (const PoolStatistics& pool : statistics.pools) {
    std::vector<ClientHolding>& of_pool = held.emplace_back();
    for (const std::unique_ptr<Pool>& candidate : daemon.pools()) {
      if (candidate->memory->name() == pool.name) of_pool = holdings(*candidate);
    }
  }
  return clients_document(statistics, held, AdminClock::now());
}

nlohmann::json holders(Daemon& daemon, const std::string& argument, Refusal& refusal) {
  HoldQuery query;
  const std::string why = parse_hold_query(argument, query);
  if (!why.empty()) {
    refusal = {lib::ErrorCode::invalid_argument, why};
    return {};
  }
  const std::vector<Pool*> pools = chosen_pools(daemon, query.pool, refusal);
  return pools.empty() ? nlohmann::json{} : hold_document(pools, query);
}

nlohmann::json reload(Daemon& daemon, Refusal& refusal) {
  std::string why;
  if (!daemon.reload(why)) {
    refusal = {lib::ErrorCode::invalid_argument,
               why.empty() ? "the configuration was refused; see the daemon's log" : why};
  }
  return reload_document(why);
}

Refusal unknown_command(const std::string& command) {
  std::string sentence =
      "there is no command " + quote(command) + "; there are: " + join_words(kCommands);
  if (const auto near = nearest_key(command, kCommands)) {
    sentence += " (did you mean " + std::string(*near) + "?)";
  }
  return {lib::ErrorCode::invalid_argument, sentence};
}

bool is_drain(std::string_view command) { return command.starts_with("drain"); }

bool takes_argument(std::string_view command) {
  return command == "trim" || command == "audit" || command == "holders" || is_drain(command);
}

}  // namespace

std::string admin_reply_document(Daemon& daemon, const std::string& command,
                                 const std::string& argument, lib::ErrorCode& code,
                                 std::string& sentence) {
  Refusal refusal;
  nlohmann::json document;
  if (std::find(kCommands.begin(), kCommands.end(), command) == kCommands.end()) {
    refusal = unknown_command(command);
  } else if (!argument.empty() && !takes_argument(command)) {
    refusal = {lib::ErrorCode::invalid_argument, command + " takes no argument"};
  } else if (command == "status") {
    document = status_document(daemon.statistics(), AdminClock::now());
  } else if (command == "pools") {
    document = pools_document(daemon.statistics());
  } else if (command == "clients") {
    document = clients(daemon);
  } else if (command == "holders") {
    document = holders(daemon, argument, refusal);
  } else if (command == "trim") {
    document = trim(daemon, argument, refusal);
  } else if (command == "audit") {
    document = audit(daemon, argument, refusal);
  } else if (is_drain(command)) {
    document = drain(daemon, command, argument, refusal);
  } else if (command == "top") {
    document = status_view_document(daemon.status_view());
  } else if (command == "doctor") {
    document = doctor_document(daemon);
  } else if (command == "hand-over") {
    daemon.hand_over();
    document = {{"handed_over", true}};
  } else {
    document = reload(daemon, refusal);
  }
  code = refusal.code;
  sentence = refusal.sentence;
  return code == lib::ErrorCode::ok ? document_text(document) : std::string{};
}

}  // namespace zeropool::daemon
