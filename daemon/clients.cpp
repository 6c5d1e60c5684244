#include "daemon/clients.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <utility>
#include <vector>

#include <spdlog/spdlog.h>

#include "daemon/client_reclaim.hpp"
#include "daemon/counter_settling.hpp"
#include "daemon/death.hpp"
#include "daemon/kept_counters.hpp"
#include "daemon/lease_watch.hpp"
#include "daemon/logging.hpp"
#include "zeropool/lib/tracepoint.hpp"

namespace zeropool::daemon {
namespace {

using namespace std::chrono_literals;
using lib::ErrorCode;

constexpr auto kRelaxed = std::memory_order_relaxed;
// Between looks at suspects: at first, and at most (each look without a result doubles it).
constexpr std::chrono::nanoseconds kSuspectLook = 10s;
constexpr std::chrono::nanoseconds kMostSuspectLook = 10min;

void fill_record(const PoolService& service, const AttachedClient& client, std::uint32_t uid) {
  lib::SharedClientRecord& record = service.pool().memory->view().client(client.record);
  record.pid.store(static_cast<std::uint32_t>(client.pid), kRelaxed);
  record.uid.store(uid, kRelaxed);
  record.charged_bytes.store(0, kRelaxed);
  for (auto& bits : record.answered) bits.store(0, kRelaxed);
  std::memset(record.name, 0, sizeof(record.name));
  std::memcpy(record.name, client.name.data(),
              std::min(client.name.size(), sizeof(record.name) - 1));
  record.presence.store(lib::presence(client.id, client.epoch, lib::PresenceState::kComing),
                        kRelaxed);
  record.owner.store(lib::OwnerWord::thread(client.id, client.epoch, 0).word,
                     std::memory_order_release);
}

// Whether the client, alive, has not come to the end of its attach, and never will now (client_record.hpp). One that is
// only slow attaches again by itself.
bool gives_up(const PoolService& service, const AttachedClient& client) {
  if (client.record >= service.pool().memory->plan().shape.client_capacity) return false;
  const std::uint64_t given_up =
      lib::presence(client.id, client.epoch, lib::PresenceState::kGivenUp);
  std::uint64_t found = lib::presence(client.id, client.epoch, lib::PresenceState::kComing);
  return service.pool()
             .memory->view()
             .client(client.record)
             .presence.compare_exchange_strong(found, given_up,
                                               std::memory_order_acq_rel) ||  // COMMIT
         found == given_up;  // by a daemon that was killed then
}

}  // namespace

Clients::Clients(EventLoop& loop, Ledger& ledger, DescriptorStore& store, std::uint32_t limit,
                 std::function<void(std::uint32_t)> gone)
    : loop_(loop), ledger_(ledger), store_(store), limit_(limit), gone_(std::move(gone)) {}

Clients::~Clients() {
  loop_.cancel(suspect_timer_);
  for (const auto& [id, client] : clients_) loop_.unwatch(client.pidfd.get());
}

AttachedClient* Clients::admit(PoolService& service, const Peer& peer, const std::string& name,
                               bool direct_io, lib::UniqueFd pidfd, ErrorCode& code,
                               std::string& why) {
  AttachedClient client;
  client.service = &service;
  client.pid = peer.pid;
  client.name = name;
  client.direct_io = direct_io;
  client.pidfd = std::move(pidfd);
  code = ErrorCode::too_many_clients;
  why = "the daemon serves " + std::to_string(clients_.size()) +
        " clients, as many as limits.clients allows; raise it";
  if (clients_.size() >= limit_) return nullptr;
  client.id = ledger_.allocate_client_id(client.epoch);
  if (client.id == 0 || client.id > lib::kMaxClientId) return nullptr;
  client.record = service.take_record();
  if (client.record == lib::kNone) return nullptr;

  const LedgerClient entry{client.id,
                           client.epoch,
                           peer.pid,
                           peer.uid,
                           process_start_ns(peer.pid),
                           static_cast<std::uint16_t>(service.pool().memory->ledger_index()),
                           direct_io ? kLedgerDirectIo : std::uint16_t{0},
                           client.record};
  int wake[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, wake) == 0) {
    client.wake.reset(wake[0]);
    client.wake_theirs.reset(wake[1]);
    // One way only: a descriptor that the client sent would be closed with our end, in the loop, and may take its time.
    if (::shutdown(wake[0], SHUT_RD) != 0) client.wake.reset();
  }
  const std::uint32_t id = client.id;
  if (!client.wake || !watch(client)) {
    code = ErrorCode::system;
    why = std::string("the daemon cannot watch the client: ") + std::strerror(errno);
    service.free_record(client.record);
    return nullptr;
  }
  store_.keep(pidfd_name(id), client.pidfd.get());  // N3
  store_.keep(wake_name(id), client.wake.get());
  if (!ledger_.add_client(entry)) {
    store_.forget(pidfd_name(id));
    store_.forget(wake_name(id));
    why = "the ledger is full of clients that are gone but have hand-offs under way; try again";
    loop_.unwatch(client.pidfd.get());
    service.free_record(client.record);
    return nullptr;
  }
  fill_record(service, client, peer.uid);
  service.pool().clients.push_back(ClientInfo{client.id, client.epoch, client.record, client.pid,
                                              peer.uid, client.name, monotonic_ns(), false,
                                              direct_io});
  service.watch_leases();
  service.watch_audit();
  code = ErrorCode::ok;
  why.clear();
  return &clients_.emplace(id, std::move(client)).first->second;
}

bool Clients::watch(const AttachedClient& client) {
  return loop_.watch(client.pidfd.get(), EPOLLIN, [this, id = client.id](std::uint32_t) {
    reclaim(id, "has ended");
    gone_(id);
  });
}

void Clients::restore(PoolService& service, const LedgerClient& entry, lib::UniqueFd pidfd,
                      lib::UniqueFd wake) {
  restoring_ = true;
  AttachedClient client;
  client.service = &service;
  client.id = entry.id;
  client.epoch = entry.epoch;
  client.record = entry.record;
  client.pid = entry.pid;
  client.direct_io = (entry.flags & kLedgerDirectIo) != 0;
  const lib::SharedClientRecord* record =
      entry.record < service.pool().memory->plan().shape.client_capacity
          ? &service.pool().memory->view().client(entry.record)
          : nullptr;
  if (record != nullptr) {  // where clients can write
    client.name =
        printable(std::string_view(record->name, ::strnlen(record->name, sizeof(record->name))),
                  sizeof(record->name) - 1);
  }
  client.pidfd = std::move(pidfd);
  client.wake = std::move(wake);
  service.keep_record(entry.record);
  service.pool().clients.push_back(ClientInfo{client.id, client.epoch, client.record, client.pid,
                                              entry.uid, client.name, monotonic_ns(), false,
                                              client.direct_io});
  const std::uint32_t id = client.id;
  const AttachedClient& kept = clients_.emplace(id, std::move(client)).first->second;
  if (!kept.pidfd || has_ended(kept.pidfd.get()) || !watch(kept)) {
    reclaim(id, "ended while no daemon ran", static_cast<bool>(kept.pidfd));
    return;
  }
  if ((entry.flags & kLedgerReclaiming) != 0) {
    reclaim(id, "was being reclaimed by the daemon before", false);
    return;
  }
  service.watch_leases();
  service.watch_audit();
  // Nobody hears its hang-up before it has connected again.
  suspects_.insert(id);
  watch_suspects(kSuspectLook);
}

bool Clients::reattach(std::uint32_t id, std::uint32_t epoch, const Peer& peer) {
  const auto found = clients_.find(id);
  if (found == clients_.end() || found->second.epoch != epoch ||
      process_of_pidfd(found->second.pidfd.get()) != peer.pid) {
    return false;
  }
  suspects_.erase(id);
  untold_.erase(id);
  for (ClientInfo& info : found->second.service->pool().clients) {
    if (info.id == id) info.suspect = false;
  }
  return true;
}

void Clients::detach(std::uint32_t id) {
  const auto found = clients_.find(id);
  if (found == clients_.end()) return;
  reclaim(id, "has detached", false);  // its session goes on, to say so
}

void Clients::hung_up(std::uint32_t id) {
  const auto found = clients_.find(id);
  if (found == clients_.end() || confirm_gone(id)) return;
  // Told at the next look: of a process that ends, the socket is closed a moment before its pidfd says so.
  suspects_.insert(id);
  untold_.insert(id);
  loop_.cancel(std::exchange(suspect_timer_, 0));
  watch_suspects(200ms);
}

void Clients::watch_suspects(std::chrono::nanoseconds wait) {
  if (suspect_timer_ != 0) return;
  suspect_wait_ = wait;
  suspect_timer_ = loop_.after(wait, [this] { look_at_suspects(); });
}

void Clients::mark_suspect(const AttachedClient& client) {
  for (ClientInfo& info : client.service->pool().clients) {
    if (info.id == client.id) info.suspect = true;
  }
  spdlog::warn(
      "client {} '{}' (pid {}) closed its socket and lives: what it holds of pool '{}' stays its "
      "own "
      "until it ends",
      client.id, client.name, client.pid, client.service->pool().config.name);
}

bool Clients::confirm_gone(std::uint32_t id) {
  const AttachedClient& client = clients_.at(id);
  if (has_ended(client.pidfd.get())) {
    reclaim(id, "has ended");
    return true;
  }
  if (gives_up(*client.service, client)) {
    reclaim(id, "has not come to the end of its attach");
    return true;
  }
  if (look_for_mapping(client.pid, client.service->control_device(),
                       client.service->control_inode()) != MappingSeen::kAbsent) {
    return false;
  }
  reclaim(id, "has given up its memory without a word");
  return true;
}

void Clients::look_at_suspects() {
  loop_.cancel(std::exchange(suspect_timer_, 0));
  const std::vector<std::uint32_t> ids(suspects_.begin(), suspects_.end());
  for (const std::uint32_t id : ids) {
    if (!confirm_gone(id) && untold_.erase(id) != 0) mark_suspect(clients_.at(id));
  }
  if (suspects_.empty()) return;
  watch_suspects(std::clamp(suspect_wait_ * 2, kSuspectLook, kMostSuspectLook));
}

void Clients::reclaim(std::uint32_t id, const char* how, bool died) {
  const auto found = clients_.find(id);
  if (found == clients_.end()) return;
  const AttachedClient client = std::move(found->second);
  clients_.erase(found);
  suspects_.erase(id);
  untold_.erase(id);
  loop_.unwatch(client.pidfd.get());
  PoolService& service = *client.service;
  Pool& pool = service.pool();

  ledger_.begin_reclaim(id);  // N2
  const ClientReclaim report =
      reclaim_client(pool, id, client.epoch, client.record, client.direct_io);
  lib::tracepoint::reclaim(pool.config.name.c_str(), id, client.pid, report.slots.held_slots,
                           report.slots.cached_slots, report.begun_ns);
  if (died) {
    ++pool.counters.reclaims;
    pool.counters.reclaimed_slots += report.slots.held_slots + report.slots.quarantined_slots +
                                     report.slots.cached_slots + report.slots.expired_slots;
    pool.counters.reclaim_duration.observe(report.seconds);
  }
  keep_counters(pool, ledger_);
  std::erase_if(pool.clients, [&](const ClientInfo& info) { return info.id == id; });
  service.free_record(client.record);
  store_.forget(pidfd_name(id));
  store_.forget(wake_name(id));
  if (report.slots.left_in_transit == 0) {
    ledger_.remove_client(id);  // N1
  } else {
    departed_[id] = &service;
    service.sweep_leases();
  }
  settle_if_deserted(service);
  spdlog::info(
      "client {} '{}' (pid {}) {}: {} slots held, {} cached, {} in transit to it came back to pool "
      "'{}' in {:.1f} ms; {} released by it wait for their adopters",
      id, client.name, client.pid, how, report.slots.held_slots, report.slots.cached_slots,
      report.slots.expired_slots, pool.config.name, report.seconds * 1e3,
      report.slots.left_in_transit);
  if (report.shares.holds + report.shares.ended > 0) {
    spdlog::info("client {}: {} holds of shared buffers are taken away, {} of those came back", id,
                 report.shares.holds, report.shares.ended + report.shares.quarantined);
  }
  if (report.slots.quarantined_slots + report.shares.quarantined > 0) {
    spdlog::info(
        "client {} did direct I/O: {} slots that it held are quarantined until they have new pages",
        id, report.slots.quarantined_slots + report.shares.quarantined);
    service.replace_quarantined();
  }
  if (report.slots.repairs + report.slots.without_room > 0) {
    spdlog::warn("pool '{}': {} repairs after client {}", pool.config.name,
                 report.slots.repairs + report.slots.without_room, id);
  }
  service.serve();
}

void Clients::restored(PoolService& service) {
  restoring_ = false;
  settle_if_deserted(service);
}

void Clients::settle_if_deserted(PoolService& service) {
  Pool& pool = service.pool();
  if (restoring_ || !pool.clients.empty()) return;
  const bool in_transit = std::any_of(departed_.begin(), departed_.end(),
                                      [&](const auto& entry) { return entry.second == &service; });
  if (in_transit) service.sweep_leases();
  settle_counters(pool, in_transit ? pool.leases->in_transit()
                                   : std::vector<std::uint64_t>(pool.memory->ring_count()));
  keep_counters(pool, ledger_);
  pool.may_be_drained = true;
}

void Clients::leases_swept(const PoolService& service) {
  service.pool().may_be_drained = true;

  const std::unordered_set<std::uint32_t>& named = service.pool().leases->named_clients();
  std::erase_if(departed_, [&](const auto& entry) {
    if (entry.second != &service || named.contains(entry.first)) return false;
    ledger_.remove_client(entry.first);
    return true;
  });
}

void Clients::add_departed(const Pool& pool, ClientIds& ids) const {
  for (const auto& [id, service] : departed_) {
    if (&service->pool() == &pool) ids.insert(id);
  }
}

bool Clients::lives(std::uint32_t id) const {
  const auto found = clients_.find(id);
  return found != clients_.end() && !has_ended(found->second.pidfd.get());
}

int Clients::wake_fd(std::uint32_t id) const {
  const auto found = clients_.find(id);
  return found == clients_.end() ? -1 : found->second.wake.get();
}

}  // namespace zeropool::daemon
