#include "daemon/daemon.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <utility>

#include <spdlog/spdlog.h>

#include "daemon/drain.hpp"
#include "daemon/lease_watch.hpp"
#include "daemon/logging.hpp"
#include "daemon/notify.hpp"
#include "daemon/order_desk.hpp"

namespace zeropool::daemon {

namespace {

// What is under way comes yet, and no growth follows a growth while clients go on taking.
void end_top_up(const std::vector<std::unique_ptr<Pool>>& pools) {
  for (const auto& pool : pools) {
    pool->memory->no_top_up_before(std::chrono::steady_clock::time_point::max());
  }
}

}  // namespace

Daemon::Daemon(DaemonOptions options)
    : options_(std::move(options)),
      started_unix_seconds_(static_cast<std::uint64_t>(std::time(nullptr))),
      reloaded_unix_seconds_(started_unix_seconds_) {}

Daemon::~Daemon() {
  if (http_) http_->stopping();  // it goes after the memory, and looks at none of it from now on
  sessions_.reset();
  close_listener();
  if (loop_) loop_->around_sleep({}, {});
  end_top_up(pools_);
  if (commits_) commits_->finish();
}

std::unique_ptr<Daemon> Daemon::start(DaemonOptions options, const Config& config,
                                      std::string& why) {
  std::unique_ptr<Daemon> daemon(new Daemon(std::move(options)));
  if (!daemon->open(config, why)) {
    // What this start made is nobody's; what it found stays kept for the next one.
    if (daemon->fresh_) {
      if (daemon->reservation_) daemon->reservation_->give_back_at_end();
      daemon->store_->forget("ledger");
      daemon->store_->end();
    }
    return nullptr;
  }
  return daemon;
}

void Daemon::run() {
  state_ = "running";
  http_->running();
  notify::ready(status_line());
  loop_->run();
  if (!handing_over_) stop();
}

void Daemon::hand_over() {
  spdlog::info("making room for another zeropoold; clients go on");
  make_room_for_the_next();
}

void Daemon::leave() {
  if (handing_over_) return;
  notify::stopping();
  spdlog::info("stopping; {} has what the next zeropoold takes up, clients go on",
               store_->describe());
  make_room_for_the_next();
}

void Daemon::make_room_for_the_next() {
  handing_over_ = true;
  sessions_->stop_listening();
  http_.reset();  // its ports are the next daemon's
  keep_counters();
  // Who connects now waits for the next daemon.
  if (!activated_.path.empty()) close_listener();
  if (listener_) store_->keep("listener", listener_->fd());
  end_top_up(pools_);
  commits_->finish();
  loop_->stop();
}

void Daemon::close_listener() {
  if (!listener_) return;
  lib::UniqueFd fd = listener_->give_up();
  listener_.reset();  // nobody finds it any more
  closer_.close(std::move(fd));
}

void Daemon::stop() {
  if (state_ == "stopping") return;
  state_ = "stopping";
  notify::stopping();
  spdlog::info("stopping; clients keep what they hold");
  sessions_->stop_listening();
  close_listener();
  for (const auto& service : services_) service->stop();
  if (http_) http_->stopping();
  store_->end();
  reservation_->give_back_at_end();
  loop_->stop();
}

bool Daemon::watch_signals(std::string& why) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGHUP, SIGTERM, SIGINT}) sigaddset(&set, signal);
  signals_.reset(::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  if (signals_ && loop_->watch(signals_.get(), EPOLLIN, [this](std::uint32_t) { on_signals(); })) {
    return true;
  }
  why = std::string("signalfd: ") + std::strerror(errno);
  return false;
}

void Daemon::on_signals() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
    if (info.ssi_signo == SIGHUP) {
      std::string why;
      reload(why);
    } else if (store_->outlives_a_stop()) {
      leave();
    } else {
      stop();
    }
  }
}

bool Daemon::watch_commits(std::string& why) {
  const bool watched = loop_->watch(commits_->completion_fd(), EPOLLIN, [this](std::uint32_t) {
    commits_->deliver();
    // What could not be committed is not published: those who wait for it look elsewhere.
    for (const auto& service : services_) {
      if (service->pool().orders->waiting() > 0) service->serve();
    }
  });
  if (!watched) why = std::string("epoll_ctl: ") + std::strerror(errno);
  return watched;
}

void Daemon::watch_watchdog(std::chrono::nanoseconds interval) {
  if (interval.count() == 0) return;
  notify::alive();
  loop_->after(interval, [this, interval] { watch_watchdog(interval); });
}

// Of pools above their reservation, those first that are most above it.
TrimReport Daemon::trim_others(const Pool& wants, std::uint64_t bytes) {
  std::vector<std::pair<std::uint64_t, Pool*>> spare;
  for (const auto& pool : pools_) {
    if (pool.get() == &wants) continue;
    const PoolAccount account = budget_->snapshot(pool->memory->account());
    if (account.committed_bytes <= account.reserved_bytes) continue;
    spare.emplace_back(account.committed_bytes - account.reserved_bytes, pool.get());
  }
  std::stable_sort(spare.begin(), spare.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  TrimReport sum;
  for (const auto& [most, pool] : spare) {
    if (sum.bytes >= bytes) break;
    const TrimReport report = pool->memory->trim(std::min(most, bytes - sum.bytes), lib::kNone);
    sum.extents += report.extents;
    sum.bytes += report.bytes;
  }
  return sum;
}

std::uint64_t Daemon::limit_of(const PoolConfig& pool) const {
  return std::min(pool.limit_bytes.value_or(budget_bytes_), budget_bytes_);
}

bool Daemon::may_attach_somewhere(const Peer& peer) const {
  return std::any_of(services_.begin(), services_.end(),
                     [&](const auto& service) { return service->access().allows(peer); });
}

bool Daemon::attaches_clients() const {
  return std::any_of(pools_.begin(), pools_.end(),
                     [](const auto& pool) { return !pool->draining; });
}

void Daemon::drain(Pool& pool, bool draining) { set_draining(pool, *ledger_, draining); }

DaemonStatistics Daemon::statistics() { return complete(snapshot()); }

DaemonSnapshot Daemon::snapshot() {
  DaemonSnapshot snapshot;
  DaemonStatistics& statistics = snapshot.statistics;
  statistics.state = state_;
  statistics.budget_bytes = budget_->budget();
  statistics.committed_bytes = budget_->committed();
  statistics.started_unix_seconds = started_unix_seconds_;
  statistics.last_reload_successful = reload_successful_;
  statistics.last_reload_unix_seconds = reloaded_unix_seconds_;
  keep_counters();  // K1
  statistics.rejections = rejections();
  statistics.release = release_->statistics();
  statistics.release.pressure_events = pressure_events();
  statistics.top_clients = config_.metrics.top_clients;
  for (const auto& pool : pools_) snapshot.pools.push_back(snapshot_of(*pool, *budget_));
  return snapshot;
}

std::map<std::string, std::uint64_t> Daemon::rejections() const {
  std::map<std::string, std::uint64_t> sum = counted_before_.rejections;
  if (!sessions_) return sum;
  for (const auto& [reason, count] : sessions_->rejections()) sum[reason] += count;
  return sum;
}

PressureCounters Daemon::pressure_events() const {
  PressureCounters sum = counted_before_.pressure_events;
  const PressureCounters& own = release_->pressure_events();
  for (std::size_t source = 0; source < kPressureSources; ++source) sum[source] += own[source];
  return sum;
}

void Daemon::keep_counters() {
  for (const auto& pool : pools_) daemon::keep_counters(*pool, *ledger_);
  std::uint64_t counted =
      0;  // in each round of the loop: the ledger's words are looked for when there is something new
  for (const auto& [reason, count] : sessions_->rejections()) counted += count;
  for (const std::uint64_t count : release_->pressure_events()) counted += count;
  if (counted == counts_kept_) return;
  counts_kept_ = counted;
  keep_counts(rejections(), pressure_events(), *ledger_);
}

StatusView Daemon::status_view() {
  return {statistics(), occupancy_->ask(), AdminClock::now(), machine_name()};
}

std::string Daemon::status_line() const {
  return std::to_string(pools_.size()) + (pools_.size() == 1 ? " pool" : " pools") + " at " +
         socket_path_ + ", budget " + format_bytes(budget_bytes_);
}

}  // namespace zeropool::daemon
