#pragma once
// A pool at work in the loop: its doorbell, its orders and leases, who may attach.
//
// Thread safety: the loop thread's.
// Edges:
//   B1 (daemon): sleeping = 1; full fence; look at orders and wishes; sleep. Pairs with
//   B1 (client): post; full fence; read sleeping; ring if it is 1. One of the two sees the other.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/access.hpp"
#include "daemon/audit_watch.hpp"
#include "daemon/event_loop.hpp"
#include "daemon/order_desk.hpp"
#include "daemon/pool.hpp"
#include "zeropool/lib/unique_fd.hpp"

namespace zeropool::daemon {

class PoolService {
 public:
  // Null: `why`. `pool` has its memory and outlives the service. `leases_swept` is called after each sweep.
  // `add_departed`: for the audit (audit_watch.hpp). `lives`: for idle caches (idle_caches.hpp). `doorbell`: that of the daemon before; empty: a new one.
  static std::unique_ptr<PoolService> start(EventLoop& loop, Pool& pool, OrderDeskHooks hooks,
                                            std::function<void(PoolService&)> leases_swept,
                                            std::function<void(ClientIds&)> add_departed,
                                            std::function<bool(std::uint32_t)> lives,
                                            lib::UniqueFd doorbell, std::string& why);
  ~PoolService();
  PoolService(const PoolService&) = delete;
  PoolService& operator=(const PoolService&) = delete;

  Pool& pool() const { return pool_; }
  int doorbell() const { return doorbell_.get(); }
  dev_t control_device() const { return control_device_; }
  std::uint64_t control_inode() const { return control_inode_; }
  const AccessRule& access() const { return access_; }
  // Takes up pool().config: policy words, access list (unknown names are logged).
  void apply_config(const SocketConfig& socket, std::uint64_t budget_bytes,
                    std::uint64_t limit_bytes);

  // A number for a new ClientRecord; lib::kNone: all are taken.
  std::uint32_t take_record();
  void free_record(std::uint32_t record);
  // The record of a client of the daemon before.
  void keep_record(std::uint32_t record);
  // After its clients of before are known again: their orders, and what the daemon before was about.
  void take_up();

  // B1. True: something was found and done.
  bool look_before_sleep();
  void awake();
  // Orders, watermarks, timers: after a doorbell, after slots came back.
  void serve();
  // Clients came or went.
  void watch_leases();
  // Clients came, or there was damage to take up.
  void watch_audit();
  void sweep_leases();
  // New pages for quarantined slots: now, and again for as long as there are any.
  void replace_quarantined();
  void stop();

 private:
  PoolService(EventLoop& loop, Pool& pool, std::function<void(PoolService&)> leases_swept);
  void answer_doorbell();
  void arm_audit_timer();
  bool wishes_raised() const;
  void arm_order_timer();
  void watch_quarantine();

  EventLoop& loop_;
  Pool& pool_;
  std::function<void(PoolService&)> leases_swept_;
  lib::UniqueFd doorbell_;
  dev_t control_device_ = 0;
  std::uint64_t control_inode_ = 0;
  AccessRule access_;
  std::vector<bool> records_;
  std::uint32_t next_record_ = 0;
  EventLoop::TimerId order_timer_ = 0;
  EventLoop::TimerId lease_timer_ = 0;
  EventLoop::TimerId audit_timer_ = 0;
  EventLoop::TimerId quarantine_timer_ = 0;
};

}  // namespace zeropool::daemon
