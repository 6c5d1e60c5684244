#include "daemon/config_check.hpp"

#include <algorithm>
#include <limits>

#include "daemon/config_bounds.hpp"

namespace zeropool::daemon {
namespace {

constexpr Amount kDefaultBudget = Amount::percent_hundredths(2'500);

std::uint64_t add_saturating(std::uint64_t a, std::uint64_t b) {
  return a + std::min(b, std::numeric_limits<std::uint64_t>::max() - a);
}

void check_nodes(const Config& config, const MachineFacts& machine, ConfigReport& report) {
  if (machine.nodes.empty()) return;
  for (const PoolConfig& pool : config.pools) {
    if (!pool.nodes) continue;
    for (std::uint32_t node : *pool.nodes) {
      if (std::find(machine.nodes.begin(), machine.nodes.end(), node) != machine.nodes.end()) {
        continue;
      }
      std::string there;
      for (std::uint32_t known : machine.nodes) {
        there += (there.empty() ? "" : ", ") + std::to_string(known);
      }
      const std::string key = "pools." + pool.name;
      report.refuse_key(
          key + ".nodes", key,
          "this machine has no node " + std::to_string(node) + "; allowed: all, or of " + there);
    }
  }
}

}  // namespace

std::uint64_t Config::budget_bytes(std::uint64_t total_memory_bytes) const {
  return budget.value_or(kDefaultBudget).of(total_memory_bytes);
}

std::uint64_t sum_of_reservations(const std::vector<PoolConfig>& pools) {
  std::uint64_t sum = 0;
  for (const PoolConfig& pool : pools) sum = add_saturating(sum, pool.reserved_bytes);
  return sum;
}

void check_reservations(const Config& config, std::uint64_t budget_bytes, ConfigReport& report) {
  std::uint64_t sum = 0;
  for (const PoolConfig& pool : config.pools) {
    sum = add_saturating(sum, pool.reserved_bytes);
    if (sum <= budget_bytes) continue;
    const std::string key = "pools." + pool.name;
    report.refuse_key(key + ".reserved", key,
                      "the pools reserve " + format_bytes(sum_of_reservations(config.pools)) +
                          " together, above the budget of " + format_bytes(budget_bytes) +
                          "; lower a reservation or raise the budget");
    return;
  }
}

ConfigOutcome validate_against_machine(ConfigOutcome outcome, const MachineFacts& machine) {
  if (!outcome.config) return outcome;
  const Config config = *std::move(outcome.config);
  ConfigReport report(std::move(outcome));
  if (machine.total_memory_bytes > 0) {
    const std::uint64_t budget_bytes = config.budget_bytes(machine.total_memory_bytes);
    const std::string size = format_bytes(budget_bytes);
    if (budget_bytes > machine.total_memory_bytes) {
      report.refuse_key("budget", "budget",
                        size + " is more than this machine's memory, " +
                            format_bytes(machine.total_memory_bytes));
    } else if (budget_bytes < kMinMemoryBytes) {
      report.refuse_key("budget", "budget",
                        "is " + size + " on this machine; allowed: " +
                            format_bytes(kMinMemoryBytes) + " or more");
    }
    check_reservations(config, budget_bytes, report);
  }
  check_nodes(config, machine, report);
  return std::move(report).finish(config);
}

}  // namespace zeropool::daemon
