// How a daemon takes up what the one before it left: pools, clients, orders; and how the one before makes room.

#include <algorithm>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <utility>
#include <vector>

#include <spdlog/spdlog.h>

#include "daemon/commit.hpp"
#include "daemon/daemon.hpp"
#include "daemon/death.hpp"
#include "daemon/notify.hpp"
#include "daemon/pool_shape.hpp"
#include "daemon/take_over.hpp"

namespace zeropool::daemon {
namespace {

lib::UniqueFd taken(KeptDescriptors& kept, const std::string& name) {
  const auto found = kept.find(name);
  return found == kept.end() ? lib::UniqueFd() : std::move(found->second);
}

// Its pages are nobody's, and nobody is charged for them: they go at once, not when the store has let go of it.
void give_up(const lib::UniqueFd& segment) {
  struct stat info {};
  if (!segment || ::fstat(segment.get(), &info) != 0) return;
  CommitRange whole;
  whole.fd = segment.get();
  whole.bytes = static_cast<std::uint64_t>(info.st_size);
  punch_range(whole);
}

// Where the store has none (it was renewed at that very moment): by the pid, if it is still that process.
lib::UniqueFd pidfd_by_start_time(const LedgerClient& client) {
  if (client.pid <= 0 || client.start_time == 0) return {};
  lib::UniqueFd pidfd = open_pidfd(client.pid);
  if (!pidfd || process_start_ns(client.pid) != client.start_time) return {};
  return pidfd;
}

}  // namespace

bool Daemon::make_room(std::string& why) {
  why = ask_to_make_room(socket_path_);
  return why.empty();
}

void Daemon::watch_store() {
  const int fd = store_->fd();
  if (fd < 0) return;
  loop_->watch(fd, EPOLLIN, [this, fd](std::uint32_t) {
    loop_->unwatch(fd);
    store_->renew();
    watch_store();
  });
}

PoolConfig Daemon::config_of(const std::string& name) const {
  for (const PoolConfig& pool : config_.pools) {
    if (pool.name == name) return pool;
  }
  PoolConfig kept;
  kept.name = name;
  return kept;
}

bool Daemon::restore_pools(KeptDescriptors& kept, std::string& why) {
  if (!ledger_->keeps_pools()) return true;  // a new ledger
  for (std::uint32_t number = 0; number < kLedgerPools; ++number) {
    if (ledger_->pool(number).used.load(std::memory_order_relaxed) == 0) continue;
    if (!restore_pool(number, kept, why)) {
      why = "pool '" + ledger_->shape(number).name + "' of the daemon before: " + why;
      return false;
    }
  }
  return true;
}

bool Daemon::restore_pool(std::uint32_t number, KeptDescriptors& kept, std::string& why) {
  const lib::PoolShape shape = ledger_->shape(number);
  notify::starting("taking up pool '" + shape.name + "'");
  PoolSegments segments;
  segments.control = taken(kept, control_name(number));
  bool whole = static_cast<bool>(segments.control);
  for (std::uint32_t a = 0; a < shape.arenas.size(); ++a) {
    segments.data.push_back(taken(kept, data_name(number, a)));
    whole = whole && segments.data.back();
  }
  lib::UniqueFd doorbell = taken(kept, doorbell_name(number));
  if (!whole || !doorbell) {
    // Killed while it was being made: nobody can have attached to it.
    spdlog::warn("pool '{}' was not finished by the daemon before: made anew", shape.name);
    give_up(segments.control);
    for (const lib::UniqueFd& data : segments.data) give_up(data);
    forget_pool(number);
    return true;
  }
  auto pool = std::make_unique<Pool>();
  pool->config = config_of(shape.name);
  const bool configured =
      std::any_of(config_.pools.begin(), config_.pools.end(),
                  [&](const PoolConfig& config) { return config.name == shape.name; });
  if (!configured) {
    spdlog::warn(
        "pool '{}' is not configured any more, and kept for its clients: stop zeropoold to be rid "
        "of it",
        shape.name);
  }
  if (configured && pool_shape(pool->config, topology_, budget_bytes_, limit_of(pool->config), 1, 1)
                            .class_bytes != shape.class_bytes) {
    spdlog::warn(
        "pool '{}' keeps the classes that it has: others take a stop, which gives its memory up, "
        "and a start",
        shape.name);
  }
  pool->memory = PoolMemory::adopt(pool->config, limit_of(pool->config), number,
                                   std::move(segments), memory_services(), why);
  return pool->memory && serve_pool(std::move(pool), std::move(doorbell), why);
}

void Daemon::forget_pool(std::uint32_t number) {
  store_->forget(control_name(number));
  store_->forget(doorbell_name(number));
  for (std::uint32_t a = 0; a < lib::kMaxArenas; ++a) store_->forget(data_name(number, a));
  ledger_->keep_pools(false);
  ledger_->close_pool(number);
  ledger_->keep_pools(true);
}

void Daemon::restore_clients(KeptDescriptors& kept) {
  if (!ledger_->keeps_pools()) return;
  std::vector<LedgerClient> before;
  for (const LedgerClient& client : ledger_->clients()) {
    if (client.id != 0) before.push_back(client);
  }
  for (const LedgerClient& client : before) {
    const auto service = std::find_if(
        services_.begin(), services_.end(), [&](const std::unique_ptr<PoolService>& candidate) {
          return candidate->pool().memory->ledger_index() == client.pool;
        });
    if (service == services_.end()) {
      ledger_->remove_client(client.id);
      continue;
    }
    lib::UniqueFd pidfd = taken(kept, pidfd_name(client.id));
    if (!pidfd) pidfd = pidfd_by_start_time(client);
    clients_->restore(**service, client, std::move(pidfd), taken(kept, wake_name(client.id)));
  }
  // Kept for an attach that never came into the ledger, or by a reclaim that was broken off (F1).
  for (const auto& [name, fd] : kept) {
    const bool of_a_client = name.rfind("pidfd-", 0) == 0 || name.rfind("wake-", 0) == 0;
    if (of_a_client && fd) store_->forget(name);
  }
  for (const auto& service : services_) service->take_up();
  for (const auto& service : services_) clients_->restored(*service);
  spdlog::info("took up {} pools and {} clients of the daemon before", services_.size(),
               clients_->count());
}

}  // namespace zeropool::daemon
