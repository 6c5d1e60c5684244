#pragma once
// The whole: everything that zeropoold is made of, started, reloaded and stopped.
//
// Thread safety: one thread's, the loop's. Members are in the order in which they depend on each other; they go
// in the opposite one.

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/activation.hpp"
#include "daemon/budget.hpp"
#include "daemon/clients.hpp"
#include "daemon/closer.hpp"
#include "daemon/commit_thread.hpp"
#include "daemon/config.hpp"
#include "daemon/descriptor_store.hpp"
#include "daemon/event_loop.hpp"
#include "daemon/http_front.hpp"
#include "daemon/instance_lock.hpp"
#include "daemon/kept_counters.hpp"
#include "daemon/ledger.hpp"
#include "daemon/listener.hpp"
#include "daemon/occupancy.hpp"
#include "daemon/page_reservation.hpp"
#include "daemon/pool.hpp"
#include "daemon/pool_service.hpp"
#include "daemon/release_watch.hpp"
#include "daemon/session.hpp"
#include "daemon/statistics_snapshot.hpp"
#include "daemon/status_view.hpp"
#include "zeropool/lib/topology.hpp"

namespace zeropool::daemon {

struct DaemonOptions {
  std::string config_path;  // empty: none, the defaults
  std::string log_level;    // empty: as configured; else it stays through reloads
  bool take_over = false;   // from a daemon that runs: it makes room
};

class Daemon {
 public:
  // Null: `why` says what could not be had, and what to do. SIGHUP, SIGTERM and SIGINT must be blocked.
  static std::unique_ptr<Daemon> start(DaemonOptions options, const Config& config,
                                       std::string& why);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Until SIGTERM, SIGINT or stop().
  void run();
  void stop();

  // Reads the file again. False: it changed nothing, `why` says why. True: `why` names what takes a restart.
  bool reload(std::string& why);

  DaemonStatistics statistics();
  DaemonSnapshot snapshot();
  StatusView status_view();  // begins a look at who holds what, where the last one is old
  const std::vector<std::unique_ptr<Pool>>& pools() const { return pools_; }
  const Config& config() const { return config_; }
  const lib::Topology& topology() const { return topology_; }
  bool mempolicy_refused() const { return commits_->bind_refused(); }
  EventLoop& loop() { return *loop_; }
  Budget& budget() { return *budget_; }
  const std::string& socket_path() const { return socket_path_; }
  bool may_attach_somewhere(const Peer& peer) const;
  // Some pool at least is not being drained.
  bool attaches_clients() const;
  // Nobody new is attached to it from now on, or attached again.
  void drain(Pool& pool, bool draining);
  // Makes room for another daemon, soon: the loop ends, and nothing is given up.
  void hand_over();
  // As the service manager says, which alone knows whether another one follows: nothing is given up here either.
  void leave();
  // Then the process must end at once, by _exit: destructors would give up what the next daemon takes up.
  bool handed_over() const { return handing_over_; }

 private:
  explicit Daemon(DaemonOptions options);
  bool open(const Config& config, std::string& why);
  bool make_room(std::string& why);
  bool open_memory(std::string& why);
  bool open_ledger(KeptDescriptors& kept, std::string& why);
  bool open_commits(std::string& why);
  void reserve_hugepages();
  bool open_pool(const PoolConfig& config, std::string& why);
  bool serve_pool(std::unique_ptr<Pool> pool, lib::UniqueFd doorbell, std::string& why);
  MemoryServices memory_services();
  // daemon_restore.cpp
  bool restore_pools(KeptDescriptors& kept, std::string& why);
  bool restore_pool(std::uint32_t ledger_pool, KeptDescriptors& kept, std::string& why);
  PoolConfig config_of(const std::string& name) const;
  void restore_clients(KeptDescriptors& kept);
  void forget_pool(std::uint32_t ledger_pool);
  void watch_store();
  bool find_socket(std::string& why);
  bool open_socket(std::string& why);
  void make_room_for_the_next();
  void close_listener();
  bool watch_signals(std::string& why);
  bool watch_commits(std::string& why);
  void watch_watchdog(std::chrono::nanoseconds interval);
  void on_signals();
  void apply_to_pools();
  TrimReport trim_others(const Pool& wants, std::uint64_t bytes);
  std::uint64_t limit_of(const PoolConfig& pool) const;
  // The reservations and the ledger fit into the budget (U3); else `why`.
  bool promises_fit(const Config& config, std::uint64_t budget_bytes, std::string& why) const;
  std::map<std::string, std::uint64_t> rejections() const;  // since the first daemon of the ledger
  PressureCounters pressure_events() const;
  void keep_counters();
  std::string status_line() const;
  void say_what_was_chosen() const;

  DaemonOptions options_;
  Config config_;
  lib::Topology topology_;
  std::uint64_t total_memory_bytes_ = 0;
  std::uint64_t usable_memory_bytes_ = 0;
  std::uint64_t budget_bytes_ = 0;
  std::uint64_t started_unix_seconds_ = 0;
  bool reload_successful_ = true;
  std::uint64_t reloaded_unix_seconds_ = 0;
  std::string state_ = "starting";
  std::string socket_path_;

  bool handing_over_ = false;
  bool fresh_ = false;  // nothing was left by a daemon before
  lib::UniqueFd inherited_listener_;
  ActivatedSocket activated_;

  std::optional<InstanceLock> lock_;
  std::unique_ptr<PageReservation> reservation_;  // goes after all that has pages of it
  std::unique_ptr<DescriptorStore> store_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<HttpFront> http_;  // answers from before there is memory until after it
  lib::UniqueFd signals_;
  std::unique_ptr<Budget> budget_;
  std::unique_ptr<Ledger> ledger_;
  DaemonCounts counted_before_;    // by the daemons before
  std::uint64_t counts_kept_ = 0;  // of this one's counts of no pool
  std::unique_ptr<CommitThread> commits_;
  std::vector<std::unique_ptr<Pool>> pools_;
  std::vector<std::unique_ptr<PoolService>> services_;
  std::unique_ptr<ReleaseWatch> release_;
  std::unique_ptr<Clients> clients_;
  Closer closer_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<Sessions> sessions_;
  std::unique_ptr<OccupancyWatch> occupancy_;
};

}  // namespace zeropool::daemon
