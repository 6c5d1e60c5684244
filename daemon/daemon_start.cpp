// How the daemon comes up: memory, pools, socket, HTTP; and what it says about it.

#include <algorithm>
#include <sys/resource.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

#include <spdlog/spdlog.h>

#include "daemon/admin_channel.hpp"
#include "daemon/config_describe.hpp"
#include "daemon/config_reload.hpp"
#include "daemon/daemon.hpp"
#include "daemon/drain.hpp"
#include "daemon/kept_counters.hpp"
#include "daemon/lease_watch.hpp"
#include "daemon/logging.hpp"
#include "daemon/machine_memory.hpp"
#include "daemon/notify.hpp"
#include "zeropool/lib/socket_path.hpp"

namespace zeropool::daemon {
namespace {

// Each client takes three descriptors.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

std::string describe_pages(lib::PageKind kind) {
  switch (kind) {
    case lib::PageKind::kGiant1GiB: return "1GiB";
    case lib::PageKind::kHuge2MiB: return "2MiB";
    case lib::PageKind::kTransparent: return "thp";
    case lib::PageKind::kSmall4KiB: return "4KiB";
  }
  return "?";
}

// A record a thread, and one a client for the cache that its further threads share.
std::uint32_t thread_records(const LimitsConfig& limits) {
  return std::min(limits.threads + limits.clients, lib::kMaxThreads);
}

}  // namespace

bool Daemon::open(const Config& config, std::string& why) {
  why = refuse_kernel_pages(static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)));
  if (!why.empty()) return false;
  raise_descriptor_limit();
  const MachineMemory memory = read_machine_memory();
  total_memory_bytes_ = memory.total_bytes;
  usable_memory_bytes_ = memory.usable_bytes;
  topology_ = lib::read_topology();
  for (const std::uint32_t node : lib::keep_to_allowed_nodes(topology_)) {
    spdlog::warn(
        "node {} has memory, and this process may not use it (its cpuset, or NUMAPolicy): no pool "
        "has an "
        "arena there",
        node);
  }
  config_ = fix_limit_max(config, usable_memory_bytes_);
  budget_bytes_ = config_.budget_bytes(usable_memory_bytes_);
  if (budget_bytes_ == 0) {
    why = "the budget is 0 bytes; set budget";
    return false;
  }
  if (!find_socket(why)) return false;
  if (options_.take_over && !make_room(why)) return false;
  lock_ = InstanceLock::take(socket_path_, why);
  if (!lock_) return false;
  reservation_ = std::make_unique<PageReservation>(
      PageReservationPaths{.record = socket_path_ + ".hugepages"});
  store_ = open_descriptor_store(socket_path_, why);
  if (!store_) return false;
  loop_ = EventLoop::create(why);
  if (!loop_) return false;
  occupancy_ = std::make_unique<OccupancyWatch>(*loop_, pools_);
  http_ = std::make_unique<HttpFront>(
      *loop_, [this] { return snapshot(); }, [this] { return status_view(); },
      [this] { return attaches_clients(); });
  http_->start(config_.metrics);
  if (!watch_signals(why) || !open_memory(why) || !open_socket(why)) return false;
  watch_watchdog(notify::watchdog_interval());
  watch_store();
  ledger_->keep_pools(false);
  say_what_was_chosen();
  return true;
}

// Where it is, made or to be made.
bool Daemon::find_socket(std::string& why) {
  if (!take_activated_socket(activated_, why)) return false;
  const std::string& configured = config_.socket.path;
  socket_path_ = !configured.empty()        ? configured
                 : !activated_.path.empty() ? activated_.path
                                            : lib::default_listen_path();
  if (!activated_.path.empty() && activated_.path != socket_path_) {
    why = "the service manager listens at " + activated_.path + ", and socket.path is " +
          socket_path_ + ": make them the same, or disable zeropoold.socket";
    return false;
  }
  why = prepare_socket_folder(socket_path_);
  return why.empty();
}

bool Daemon::open_memory(std::string& why) {
  budget_ = std::make_unique<Budget>(budget_bytes_);
  KeptDescriptors kept = store_->take();
  for (const PoolConfig& pool : config_.pools)
    budget_->promise(pool.name, pool.reserved_bytes);  // U2
  if (!open_ledger(kept, why)) return false;
  if (!open_commits(why)) return false;
  // Pools that are taken up have their pages; and what was raised for them is in the record.
  if (config_.pages.reserve && fresh_) {
    notify::starting("asking for hugepages");
    reserve_hugepages();
  }
  clients_ = std::make_unique<Clients>(*loop_, *ledger_, *store_, config_.limits.clients,
                                       [this](std::uint32_t id) { sessions_->client_gone(id); });
  if (!restore_pools(kept, why)) return false;
  for (const PoolConfig& pool : config_.pools) {
    const bool restored = ledger_->find_pool(pool.name) != lib::kNone;
    if (!restored && !open_pool(pool, why)) {
      why = "pool '" + pool.name + "': " + why;
      return false;
    }
  }
  budget_->forget_promises();
  // Of pools that are taken up, what is not to be had is had later; none is turned away for it.
  std::string short_of;
  if (!promises_fit(config_, budget_bytes_, short_of)) spdlog::warn("{}", short_of);
  counted_before_ = kept_counts(*ledger_);
  release_ = std::make_unique<ReleaseWatch>(*loop_, *budget_, pools_);
  apply_to_pools();
  restore_clients(kept);
  release_->look();
  if (const auto listener = kept.find("listener"); listener != kept.end()) {
    inherited_listener_ = std::move(listener->second);
    store_->forget("listener");
  }
  if (!watch_commits(why)) return false;
  loop_->around_sleep(
      [this] {
        bool found = false;
        for (const auto& service : services_) found = service->look_before_sleep() || found;
        release_->look_before_sleep();
        for (const auto& pool : pools_) tell_when_drained(*pool, *budget_);
        if (!found) keep_counters();
        return found;
      },
      [this] {
        for (const auto& service : services_) service->awake();
      });
  return true;
}

bool Daemon::open_ledger(KeptDescriptors& kept, std::string& why) {
  const auto before = kept.find("ledger");
  fresh_ = before == kept.end();
  if (before != kept.end()) {
    ledger_ = Ledger::adopt(*budget_, std::move(before->second), why);
  } else {
    // Ids of clients that are gone stay in the ledger while a hand-off of theirs is under way.
    ledger_ = Ledger::create(*budget_, config_.limits.clients * 2, why);
  }
  if (!ledger_) return false;
  store_->keep("ledger", ledger_->fd());
  return true;
}

MemoryServices Daemon::memory_services() {
  return MemoryServices{*budget_, *ledger_, *commits_, topology_, config_.pages.size};
}

bool Daemon::open_commits(std::string& why) {
  try {
    commits_ = std::make_unique<CommitThread>(topology_.nodes.size() > 1);
  } catch (const std::system_error& error) {
    why = std::string("the thread that commits memory does not start: ") + error.what() +
          "; raise the limit of processes (ulimit -u) or the cgroup's pids.max";
    return false;
  }
  if (commits_->completion_fd() >= 0) return true;
  why = "no eventfd for the thread that commits memory; raise the limit of open files (ulimit -n)";
  return false;
}

void Daemon::reserve_hugepages() {
  const std::vector<PageWish> wishes = page_wishes(config_, topology_, budget_bytes_);
  if (wishes.empty()) {
    spdlog::warn(
        "pages.reserve: nothing to reserve: no pool's pages.size begins with 1GiB or 2MiB");
  }
  for (const PageGrant& grant : reservation_->raise(wishes)) {
    spdlog::log(grant.full() ? spdlog::level::info : spdlog::level::warn, "pages.reserve: {}",
                grant.describe());
  }
}

bool Daemon::open_pool(const PoolConfig& config, std::string& why) {
  notify::starting("making pool '" + config.name + "'");
  auto pool = std::make_unique<Pool>();
  pool->config = config;
  pool->memory = PoolMemory::create(config, limit_of(config), config_.limits.clients,
                                    thread_records(config_.limits), memory_services(), why);
  return pool->memory && serve_pool(std::move(pool), {}, why);
}

// What the next daemon needs of it is kept before any client can attach.
bool Daemon::serve_pool(std::unique_ptr<Pool> pool, lib::UniqueFd doorbell, std::string& why) {
  const Pool* wants = pool.get();
  resume_counters(*pool, *ledger_);
  resume_draining(*pool, *ledger_);
  OrderDeskHooks hooks;
  hooks.now_ns = monotonic_ns;
  hooks.wake_fd = [this](std::uint32_t client) { return clients_->wake_fd(client); };
  hooks.trim_other_pools = [this, wants](std::uint64_t bytes) {
    return trim_others(*wants, bytes);
  };
  auto service = PoolService::start(
      *loop_, *pool, std::move(hooks),
      [this](PoolService& swept) { clients_->leases_swept(swept); },
      [this, wants](ClientIds& ids) { clients_->add_departed(*wants, ids); },
      [this](std::uint32_t client) { return clients_->lives(client); }, std::move(doorbell), why);
  if (!service) return false;
  const std::uint32_t number = pool->memory->ledger_index();
  store_->keep(control_name(number), pool->memory->control_fd());
  const auto arenas = static_cast<std::uint32_t>(pool->memory->plan().shape.arenas.size());
  for (std::uint32_t a = 0; a < arenas; ++a) {
    store_->keep(data_name(number, a), pool->memory->data_fd(a));
  }
  store_->keep(doorbell_name(number), service->doorbell());
  pools_.push_back(std::move(pool));
  services_.push_back(std::move(service));
  return true;
}

bool Daemon::open_socket(std::string& why) {
  SessionHooks hooks;
  hooks.attach = [this](int socket, const Peer& peer, lib::Received& message,
                        std::uint64_t connected_ns) {
    return attach(services_, *clients_, socket, peer, message, connected_ns);
  };
  hooks.administer = [this](int socket, const Peer& peer, const lib::AdminRequest& request) {
    return answer_admin_request(*this, socket, peer, request);
  };
  hooks.reattach = [this](const Peer& peer, const lib::ReattachRequest& request) {
    return clients_->reattach(request.client_id, request.epoch, peer);
  };
  hooks.detach = [this](std::uint32_t client) { clients_->detach(client); };
  hooks.hung_up = [this](std::uint32_t client) { clients_->hung_up(client); };
  sessions_ = std::make_unique<Sessions>(*loop_, closer_, std::move(hooks));
  listener_ = activated_.fd ? Listener::activated(std::move(activated_.fd))
                            : Listener::open(socket_path_, config_.socket,
                                             std::move(inherited_listener_), why);
  return listener_ && sessions_->listen(*listener_, config_.limits.pending_attaches, why);
}

void Daemon::say_what_was_chosen() const {
  spdlog::info("{}", options_.config_path.empty() ? "no configuration file: running with defaults"
                                                  : "configured by " + options_.config_path);
  if (activated_.path.empty()) {
    spdlog::info("socket {} (mode {:04o})", socket_path_, config_.socket.mode);
  } else {
    spdlog::info("socket {} (the service manager's, with its mode and group)", socket_path_);
  }
  spdlog::info("descriptors are kept by {}", store_->describe());
  spdlog::info("budget {} of {} memory{}", format_bytes(budget_bytes_),
               format_bytes(usable_memory_bytes_),
               usable_memory_bytes_ < total_memory_bytes_ ? " that our cgroup allows" : "");
  for (const auto& pool : pools_) {
    const lib::PoolShape& shape = pool->memory->plan().shape;
    std::string arenas;
    for (const lib::PoolShape::Arena& arena : shape.arenas) {
      arenas += (arenas.empty() ? "" : ", ") + std::string("node ") + std::to_string(arena.node) +
                " on " + describe_pages(arena.page_kind) + " pages";
    }
    std::string classes;
    for (const std::uint64_t bytes : shape.class_bytes) {
      classes += (classes.empty() ? "" : ", ") + format_bytes(bytes);
    }
    spdlog::info("pool '{}': classes {}; limit {}; {}", pool->config.name, classes,
                 format_bytes(limit_of(pool->config)), arenas);
  }
}

}  // namespace zeropool::daemon
