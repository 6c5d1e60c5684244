#include "daemon/drain.hpp"

#include <algorithm>
#include <utility>

#include <spdlog/spdlog.h>

namespace zeropool::daemon {

bool DrainState::empty() const {
  return clients == 0 && held_bytes + cached_bytes + in_transit_bytes + shared_bytes == 0;
}

DrainState drain_state(const PoolStatistics& pool) {
  DrainState state;
  state.pool = pool.name;
  state.draining = pool.draining;
  state.clients = pool.clients.size();
  for (const RingStatistics& ring : pool.rings) {
    state.held_bytes += ring.held * ring.class_bytes;
    state.cached_bytes += ring.cached * ring.class_bytes;
    state.in_transit_bytes += ring.in_transit * ring.class_bytes;
    state.shared_bytes += ring.shared * ring.class_bytes;
  }
  return state;
}

nlohmann::json drain_document(const std::vector<DrainState>& pools) {
  nlohmann::json list = nlohmann::json::array();
  for (const DrainState& pool : pools) {
    list.push_back({{"name", pool.pool},
                    {"draining", pool.draining},
                    {"drained", pool.drained()},
                    {"clients", pool.clients},
                    {"held_bytes", pool.held_bytes},
                    {"cached_bytes", pool.cached_bytes},
                    {"in_transit_bytes", pool.in_transit_bytes},
                    {"shared_bytes", pool.shared_bytes}});
  }
  const bool drained = std::all_of(pools.begin(), pools.end(),
                                   [](const DrainState& pool) { return pool.drained(); });
  return {{"drained", drained}, {"pools", std::move(list)}};
}

std::string drain_refusal(const std::string& pool) {
  return "pool '" + pool +
         "' is being drained by its operator: nobody new is attached, who is attached goes on; try "
         "again later (zeropoolctl drain --stop " +
         pool + " ends it)";
}

void set_draining(Pool& pool, Ledger& ledger, bool draining) {
  if (pool.draining == draining) return;
  ledger.set_draining(pool.memory->ledger_index(), draining);
  pool.draining = draining;
  pool.told_drained = false;
  pool.may_be_drained = true;
  const std::string& name = pool.memory->name();
  const std::size_t clients = pool.clients.size();
  if (draining) {
    spdlog::info("pool '{}' is being drained: nobody new is attached, {} clients are left", name,
                 clients);
  } else {
    spdlog::info("pool '{}' is in service again, with {} clients", name, clients);
  }
}

void resume_draining(Pool& pool, const Ledger& ledger) {
  pool.draining =
      ledger.pool(pool.memory->ledger_index()).draining.load(std::memory_order_relaxed) != 0;
  if (!pool.draining) return;
  pool.may_be_drained = true;
  spdlog::warn(
      "pool '{}' is still being drained, as it was by the daemon before: end it with "
      "zeropoolctl drain --stop {}",
      pool.memory->name(), pool.memory->name());
}

void tell_when_drained(Pool& pool, Budget& budget) {
  if (!pool.draining || pool.told_drained || !pool.clients.empty()) return;
  if (!std::exchange(pool.may_be_drained, false)) return;
  if (!drain_state(collect_pool_statistics(pool, budget)).empty()) return;
  pool.told_drained = true;
  spdlog::info("pool '{}' is empty: its last client has gone, and every buffer is home",
               pool.memory->name());
}

}  // namespace zeropool::daemon
