// What a changed configuration changes in a running daemon.

#include <ctime>
#include <optional>

#include <spdlog/spdlog.h>

#include "daemon/config_check.hpp"
#include "daemon/config_reload.hpp"
#include "daemon/daemon.hpp"
#include "daemon/logging.hpp"
#include "daemon/notify.hpp"

namespace zeropool::daemon {

bool Daemon::reload(std::string& why) {
  notify::reloading();
  if (http_) http_->reread();
  reload_successful_ = false;
  if (options_.config_path.empty()) {
    why = "the daemon runs without a configuration file: there is nothing to reload";
  } else {
    MachineFacts machine;
    machine.total_memory_bytes = usable_memory_bytes_;
    for (const lib::Topology::Node& node : topology_.nodes) machine.nodes.push_back(node.id);
    const ConfigOutcome outcome =
        validate_against_machine(load_config(options_.config_path), machine);
    for (const ConfigError& error : outcome.errors) {
      spdlog::error("{}", error.to_string());
      why += (why.empty() ? "" : "\n") + error.to_string();
    }
    std::optional<ReloadPlan> planned;
    if (outcome.ok()) planned = reload_diff(config_, *outcome.config, machine);
    if (planned && promises_fit(planned->effective,
                                planned->effective.budget_bytes(usable_memory_bytes_), why)) {
      const ReloadPlan& plan = *planned;
      for (const std::string& applied : plan.applied) spdlog::info("reload: {}", applied);
      for (const std::string& refused : plan.refused) {
        spdlog::warn("reload: not applied: {}", refused);
        why += (why.empty() ? "" : "\n") + refused;
      }
      config_ = plan.effective;
      reload_successful_ = true;
      reloaded_unix_seconds_ = static_cast<std::uint64_t>(std::time(nullptr));
      budget_bytes_ = config_.budget_bytes(usable_memory_bytes_);
      budget_->set_budget(budget_bytes_);
      set_log_level(options_.log_level.empty() ? config_.log.level : options_.log_level);
      sessions_->set_pending_limit(config_.limits.pending_attaches);
      apply_to_pools();
      release_->look();
      for (const auto& service : services_) service->serve();
      spdlog::info("reload: {} changes applied, {} need a restart", plan.applied.size(),
                   plan.refused.size());
    }
  }
  if (!reload_successful_) spdlog::error("reload: nothing was changed: {}", why);
  notify::ready(status_line());
  return reload_successful_;
}

bool Daemon::promises_fit(const Config& config, std::uint64_t budget_bytes,
                          std::string& why) const {
  const std::uint64_t reserved = sum_of_reservations(config.pools);
  const std::uint64_t ledger = budget_->overhead();
  if (reserved == 0 || (reserved <= budget_bytes && ledger <= budget_bytes - reserved)) return true;
  why = "the pools reserve " + format_bytes(reserved) +
        " together, and the daemon's ledger takes " + format_bytes(ledger) +
        ": above the budget of " + format_bytes(budget_bytes) +
        "; lower a reservation or raise the budget";
  return false;
}

void Daemon::apply_to_pools() {
  for (const auto& service : services_) {
    Pool& pool = service->pool();
    for (const PoolConfig& config : config_.pools) {
      if (config.name == pool.config.name) pool.config = config;
    }
    pool.memory->reconfigure(pool.config);  // limits too
    service->apply_config(config_.socket, budget_bytes_,
                          budget_->snapshot(pool.memory->account()).limit_bytes);
  }
}

}  // namespace zeropool::daemon
