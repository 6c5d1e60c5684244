#include "daemon/config_reload.hpp"

#include <algorithm>
#include <utility>

#include "daemon/config_check.hpp"
#include "daemon/config_describe.hpp"

namespace zeropool::daemon {
namespace {

constexpr std::string_view kNeedsRestart = "needs a restart";

std::string octal(unsigned mode) {
  std::string text = "0000";
  for (std::size_t i = text.size(); i-- > 0; mode /= 8) text[i] = static_cast<char>('0' + mode % 8);
  return text;
}

const PoolConfig* find_pool(const Config& config, std::string_view name) {
  for (const PoolConfig& pool : config.pools) {
    if (pool.name == name) return &pool;
  }
  return nullptr;
}

// Collects a plan, one key at a time.
class Planner {
 public:
  explicit Planner(ReloadPlan& plan) : plan_(plan) {}

  template <typename T>
  void apply(const std::string& key, T& value, const T& wanted) {
    if (value == wanted) return;
    plan_.applied.push_back(change(key, value, wanted));
    value = wanted;
  }
  template <typename T>
  void refuse(const std::string& key, const T& value, const T& wanted,
              std::string_view why = kNeedsRestart) {
    if (value == wanted) return;
    plan_.refused.push_back(change(key, value, wanted) + ": " + std::string(why));
  }
  void refuse_whole(const std::string& key, std::string_view why) {
    plan_.refused.push_back(key + ": " + std::string(why));
  }

 private:
  template <typename T>
  static std::string change(const std::string& key, const T& value, const T& wanted) {
    return key + ": " + describe(value) + " -> " + describe(wanted);
  }

  ReloadPlan& plan_;
};

void plan_daemon(Planner& planner, Config& now, const Config& wanted) {
  planner.refuse("socket.path", now.socket.path, wanted.socket.path);
  planner.refuse("socket.mode", octal(now.socket.mode), octal(wanted.socket.mode));
  planner.refuse("socket.group", now.socket.group, wanted.socket.group);
  planner.refuse("pages.size", now.pages.size, wanted.pages.size);
  planner.refuse("pages.reserve", now.pages.reserve, wanted.pages.reserve);
  planner.refuse("metrics.listen", now.metrics.listen, wanted.metrics.listen);
  planner.refuse("metrics.web_config", now.metrics.web_config, wanted.metrics.web_config);
  planner.apply("metrics.top_clients", now.metrics.top_clients, wanted.metrics.top_clients);
  planner.refuse("limits.clients", now.limits.clients, wanted.limits.clients);
  planner.refuse("limits.threads", now.limits.threads, wanted.limits.threads);
  planner.apply("limits.pending_attaches", now.limits.pending_attaches,
                wanted.limits.pending_attaches);
  planner.apply("log.level", now.log.level, wanted.log.level);
}

// The pool's share changes as a whole, so that reserved <= limit <= limit_max holds throughout.
void plan_share(Planner& planner, const std::string& key, PoolConfig& now,
                const PoolConfig& wanted) {
  // Unset in the file keeps what was laid out at start.
  if (wanted.limit_max_bytes) {
    planner.refuse(key + "limit_max", now.limit_max_bytes, wanted.limit_max_bytes);
  }
  const std::optional<std::uint64_t> cap = now.limit_max_bytes;
  std::optional<std::uint64_t> limit = wanted.limit_bytes;
  if (cap && limit && *limit > *cap) {
    planner.refuse(key + "limit", now.limit_bytes, limit,
                   "above limit_max " + format_bytes(*cap) + ", which needs a restart");
    limit = now.limit_bytes;
  }
  const std::optional<std::uint64_t> reserved_cap = limit ? limit : cap;
  if (reserved_cap && wanted.reserved_bytes > *reserved_cap) {
    planner.refuse(key + "reserved", now.reserved_bytes, wanted.reserved_bytes,
                   "above the " + format_bytes(*reserved_cap) + " that the pool can have");
    if (now.reserved_bytes > *reserved_cap) {
      planner.refuse(key + "limit", now.limit_bytes, limit, "below what the pool reserves");
      limit = now.limit_bytes;
    }
  } else {
    planner.apply(key + "reserved", now.reserved_bytes, wanted.reserved_bytes);
  }
  planner.apply(key + "limit", now.limit_bytes, limit);
}

void plan_pool(Planner& planner, PoolConfig& now, const PoolConfig& wanted) {
  const std::string key = "pools." + now.name + ".";
  plan_share(planner, key, now, wanted);
  planner.apply(key + "client_quota", now.client_quota_bytes, wanted.client_quota_bytes);
  planner.refuse(key + "nodes", now.nodes, wanted.nodes);
  planner.refuse(key + "placement", now.placement, wanted.placement);
  planner.refuse(key + "classes", now.classes, wanted.classes);
  planner.apply(key + "thread_cache", now.thread_cache_bytes, wanted.thread_cache_bytes);
  planner.apply(key + "thread_cache_idle", now.thread_cache_idle, wanted.thread_cache_idle);
  planner.refuse(key + "hot_set", now.hot_set_bytes, wanted.hot_set_bytes);
  planner.refuse(key + "pages.size", now.page_sizes, wanted.page_sizes);
  planner.apply(key + "watermarks.low", now.watermarks.low_bytes, wanted.watermarks.low_bytes);
  planner.apply(key + "watermarks.high", now.watermarks.high_bytes, wanted.watermarks.high_bytes);
  planner.apply(key + "release.window", now.release.window, wanted.release.window);
  planner.apply(key + "release.rate", now.release.rate_bytes, wanted.release.rate_bytes);
  planner.apply(key + "wait.timeout", now.wait.timeout, wanted.wait.timeout);
  planner.apply(key + "wait.orders", now.wait.orders, wanted.wait.orders);
  planner.apply(key + "handoff.lease", now.handoff_lease, wanted.handoff_lease);
  planner.apply(key + "scrub", now.scrub, wanted.scrub);
  planner.apply(key + "access", now.access, wanted.access);
}

bool reservations_fit(const Config& config, const MachineFacts& machine) {
  const bool in_bytes = config.budget && config.budget->kind == Amount::Kind::kBytes;
  if (!in_bytes && machine.total_memory_bytes == 0) return true;
  return sum_of_reservations(config.pools) <= config.budget_bytes(machine.total_memory_bytes);
}

ReloadPlan plan_with(const Config& running, const Config& wanted) {
  ReloadPlan plan;
  plan.effective = running;
  Planner planner(plan);
  planner.apply("budget", plan.effective.budget, wanted.budget);
  plan_daemon(planner, plan.effective, wanted);
  for (PoolConfig& pool : plan.effective.pools) {
    if (const PoolConfig* changed = find_pool(wanted, pool.name)) {
      plan_pool(planner, pool, *changed);
    } else {
      planner.refuse_whole("pools." + pool.name, "cannot be removed: needs a restart");
    }
  }
  for (const PoolConfig& pool : wanted.pools) {
    if (find_pool(running, pool.name) == nullptr) {
      planner.refuse_whole("pools." + pool.name, "cannot be added: needs a restart");
    }
  }
  return plan;
}

}  // namespace

ReloadPlan reload_diff(const Config& running, const Config& wanted, const MachineFacts& machine) {
  ReloadPlan plan = plan_with(running, wanted);
  if (reservations_fit(plan.effective, machine)) return plan;
  // `wanted` is consistent by itself, but not with what could not be changed: keep the budget and
  // every reservation as they are.
  Config kept = wanted;
  Planner refusals(plan);
  kept.budget = running.budget;
  for (PoolConfig& pool : kept.pools) {
    const PoolConfig* now = find_pool(running, pool.name);
    if (now == nullptr) continue;
    pool.reserved_bytes = now->reserved_bytes;
    if (pool.limit_bytes && *pool.limit_bytes < pool.reserved_bytes) {
      pool.limit_bytes = now->limit_bytes;
    }
  }
  const std::string why = "all pools that run reserve " +
                          format_bytes(sum_of_reservations(plan.effective.pools)) +
                          " together, above the budget";
  plan = plan_with(running, kept);
  refusals.refuse("budget", running.budget, wanted.budget, why);
  for (const PoolConfig& pool : running.pools) {
    const PoolConfig* changed = find_pool(wanted, pool.name);
    if (changed == nullptr) continue;
    refusals.refuse("pools." + pool.name + ".reserved", pool.reserved_bytes,
                    changed->reserved_bytes, why);
    const PoolConfig* left = find_pool(kept, pool.name);
    refusals.refuse("pools." + pool.name + ".limit", left->limit_bytes, changed->limit_bytes, why);
  }
  return plan;
}

Config fix_limit_max(Config config, std::uint64_t total_memory_bytes) {
  const std::uint64_t budget_bytes = config.budget_bytes(total_memory_bytes);
  for (PoolConfig& pool : config.pools) {
    if (!pool.limit_max_bytes) {
      pool.limit_max_bytes = std::max(budget_bytes, pool.limit_bytes.value_or(0));
    }
  }
  return config;
}

}  // namespace zeropool::daemon
