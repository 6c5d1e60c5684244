#include "daemon/daemon_health.hpp"

#include <algorithm>

#include "daemon/human_bytes.hpp"
#include "daemon/statistics_words.hpp"

namespace zeropool::daemon {
namespace {

// From here on the budget is nearly spent: what is idle goes back to whoever orders, the rest waits.
constexpr std::uint64_t kNearlySpentPercent = 95;

std::string counted(std::uint64_t count, const char* one, const char* many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

// Collects; the level is kWarning unless said otherwise.
struct Sheet {
  std::vector<Warning> warnings;
  std::string pool;

  void warn(const char* code, std::string what, std::string remedy) {
    warnings.push_back({WarningLevel::kWarning, code, pool, std::move(what), std::move(remedy)});
  }
  void note(const char* code, std::string what, std::string remedy) {
    warnings.push_back({WarningLevel::kNote, code, pool, std::move(what), std::move(remedy)});
  }
};

void look_at_daemon(const DaemonStatistics& statistics, Sheet& sheet) {
  if (statistics.state != "running") {
    sheet.warn("not_running", "the daemon is " + statistics.state,
               statistics.state == "stopping" ? "clients keep what they hold; start it again"
                                              : "wait, or see its log");
  }
  if (!statistics.last_reload_successful) {
    sheet.warn("reload_refused",
               "the last reload was refused and the old configuration still holds",
               "run zeropoold --check-config");
  }
  const std::uint64_t budget = statistics.budget_bytes;
  const std::uint64_t committed = statistics.committed_bytes;
  if (committed > budget) {
    sheet.warn("above_budget",
               rounded_bytes(committed) + " are committed, above the budget of " +
                   rounded_bytes(budget) + " (it was lowered)",
               "nothing grows, and what clients give back goes back to the system, until it is "
               "there; to hasten it, end clients that hold much: zeropoolctl clients");
  } else if (budget > 0 && committed >= budget / 100 * kNearlySpentPercent) {
    sheet.note(
        "budget_nearly_spent",
        rounded_bytes(committed) + " of the budget of " + rounded_bytes(budget) + " are committed",
        "idle memory goes to who orders; if orders wait, raise the budget");
  }
}

void look_at_limit(const PoolStatistics& pool, std::uint64_t budget_bytes, Sheet& sheet) {
  const bool of_its_own = pool.limit_bytes < budget_bytes;
  if (!of_its_own || pool.committed_bytes <= pool.limit_bytes) return;
  sheet.warn("above_limit",
             rounded_bytes(pool.committed_bytes) + " are committed, above its limit of " +
                 rounded_bytes(pool.limit_bytes) + " (it was lowered)",
             "what its clients give back goes back to the system");
}

void look_at_users(const PoolStatistics& pool, Sheet& sheet) {
  if (pool.orders_waiting > 0) {
    sheet.warn("orders_waiting",
               counted(pool.orders_waiting, "order waits", "orders wait") + " for memory (" +
                   rounded_bytes(pool.committed_bytes) + " of " + rounded_bytes(pool.limit_bytes) +
                   " committed)",
               "raise its limit or the budget, or see who holds most with zeropoolctl clients");
  }
  const auto suspects = static_cast<std::uint64_t>(
      std::count_if(pool.clients.begin(), pool.clients.end(),
                    [](const ClientInfo& client) { return client.suspect; }));
  if (suspects > 0) {
    sheet.warn("client_hung_up",
               counted(suspects, "client has", "clients have") + " hung up but still runs",
               "what it holds comes back when it ends; zeropoolctl clients names it");
  }
}

void look_at_service(const PoolStatistics& pool, Sheet& sheet) {
  if (!pool.draining) return;
  sheet.warn("draining",
             "it is being drained, nobody new is attached; " +
                 counted(pool.clients.size(), "client is", "clients are") + " left",
             "zeropoolctl drain --stop " + pool.name + " attaches clients again");
}

void look_at_damage(const PoolStatistics& pool, Sheet& sheet) {
  const AuditCounters& audit = pool.counters.audit;
  if (audit.withheld > 0) {
    sheet.warn(
        "withheld",
        counted(audit.withheld, "slot or magazine is", "slots or magazines are") +
            " withheld, a client has damaged the word that says who uses them",
        "they come back when the clients attached at that time have gone; the log names them");
  }
  if (audit.stray_bytes > 0) {
    sheet.warn(
        "strays",
        rounded_bytes(audit.stray_bytes) + " were touched by a client without being committed",
        "they are punched out each second; see the daemon's log for who is attached");
  }
  if (pool.orphaned_puts > 0) {
    sheet.warn("orphaned_puts", counted(pool.orphaned_puts, "put", "puts") + " found no magazine",
               "run zeropoolctl audit");
  }
}

void look_at_pages(const PoolStatistics& pool, Sheet& sheet) {
  for (const auto& [sizes, count] : pool.page_fallbacks) {
    if (count == 0) continue;
    sheet.note("page_fallback",
               std::string("pages of ") + page_size_word(sizes.second) + " in place of " +
                   page_size_word(sizes.first) + " on " + counted(count, "node", "nodes"),
               "run zeropoolctl doctor, as root, for the command that mends it");
  }
  std::uint64_t misplaced = 0;
  for (const ArenaStatistics& arena : pool.arenas) misplaced += arena.misplaced_bytes;
  if (misplaced > 0) {
    sheet.note(
        "misplaced", rounded_bytes(misplaced) + " lie on another node than asked for",
        "run zeropoolctl trim once its buffers are free: what is committed again lies right");
  }
}

}  // namespace

std::string Warning::sentence() const {
  return (pool.empty() ? "" : "pool " + pool + ": ") + what + ": " + remedy;
}

const char* warning_level_word(WarningLevel level) {
  return level == WarningLevel::kWarning ? "warning" : "note";
}

std::vector<Warning> health_warnings(const DaemonStatistics& statistics) {
  Sheet sheet;
  look_at_daemon(statistics, sheet);
  for (const PoolStatistics& pool : statistics.pools) {
    sheet.pool = pool.name;
    look_at_service(pool, sheet);
    look_at_limit(pool, statistics.budget_bytes, sheet);
    look_at_users(pool, sheet);
    look_at_damage(pool, sheet);
    look_at_pages(pool, sheet);
  }
  std::stable_partition(sheet.warnings.begin(), sheet.warnings.end(), [](const Warning& warning) {
    return warning.level == WarningLevel::kWarning;
  });
  return std::move(sheet.warnings);
}

std::vector<std::string> health_problems(const DaemonStatistics& statistics) {
  std::vector<std::string> problems;
  for (const Warning& warning : health_warnings(statistics)) {
    if (warning.level == WarningLevel::kWarning) problems.push_back(warning.sentence());
  }
  return problems;
}

std::string health_verdict(const std::vector<Warning>& warnings) {
  const auto count = static_cast<std::uint64_t>(std::count_if(
      warnings.begin(), warnings.end(),
      [](const Warning& warning) { return warning.level == WarningLevel::kWarning; }));
  if (count == 0) return "All is well.";
  return counted(count, "thing is", "things are") + " not well.";
}

double hit_rate(const PoolStatistics& pool) {
  std::uint64_t hits = 0;
  std::uint64_t served = 0;
  for (const RingStatistics& ring : pool.rings) {
    hits += ring.tls_hits + ring.shared_hits;
    served += ring.tls_hits + ring.shared_hits + ring.allocations;
  }
  return served == 0 ? 1.0 : static_cast<double>(hits) / static_cast<double>(served);
}

}  // namespace zeropool::daemon
