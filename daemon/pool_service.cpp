#include "daemon/pool_service.hpp"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <utility>

#include <spdlog/spdlog.h>

#include "daemon/hold_watch.hpp"
#include "daemon/idle_caches.hpp"
#include "daemon/lease_watch.hpp"

namespace zeropool::daemon {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

}  // namespace

PoolService::PoolService(EventLoop& loop, Pool& pool,
                         std::function<void(PoolService&)> leases_swept)
    : loop_(loop),
      pool_(pool),
      leases_swept_(std::move(leases_swept)),
      records_(pool.memory->plan().shape.client_capacity, false) {}

std::unique_ptr<PoolService> PoolService::start(EventLoop& loop, Pool& pool, OrderDeskHooks hooks,
                                                std::function<void(PoolService&)> leases_swept,
                                                std::function<void(ClientIds&)> add_departed,
                                                std::function<bool(std::uint32_t)> lives,
                                                lib::UniqueFd doorbell, std::string& why) {
  std::unique_ptr<PoolService> service(new PoolService(loop, pool, std::move(leases_swept)));
  service->doorbell_ = std::move(doorbell);
  if (!service->doorbell_) service->doorbell_.reset(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  struct stat control {};
  if (!service->doorbell_ || ::fstat(pool.memory->control_fd(), &control) != 0) {
    why = std::string("eventfd: ") + std::strerror(errno);
    return nullptr;
  }
  service->control_device_ = control.st_dev;
  service->control_inode_ = control.st_ino;
  pool.orders = std::make_unique<OrderDesk>(pool, std::move(hooks));
  pool.leases = std::make_unique<LeaseWatch>(pool);
  pool.audit = std::make_unique<AuditWatch>(pool, std::move(add_departed));
  pool.idle = std::make_unique<IdleCaches>(pool, std::move(lives));
  pool.holds = std::make_unique<HoldWatch>(*pool.memory);
  PoolService& self = *service;
  if (!loop.watch(self.doorbell(), EPOLLIN, [&self](std::uint32_t) { self.answer_doorbell(); })) {
    why = std::string("epoll_ctl: ") + std::strerror(errno);
    return nullptr;
  }
  pool.memory->on_published([&self](std::uint32_t) {
    self.watch_quarantine();
    if (self.pool_.orders->waiting() > 0) self.serve();
  });
  lib::ControlHeader& header = pool.memory->header();
  header.daemon_starts.fetch_add(1, kRelaxed);
  header.daemon_state.store(static_cast<std::uint32_t>(lib::DaemonState::kRunning),
                            std::memory_order_release);
  return service;
}

PoolService::~PoolService() {
  loop_.cancel(order_timer_);
  loop_.cancel(lease_timer_);
  loop_.cancel(audit_timer_);
  loop_.cancel(quarantine_timer_);
  if (doorbell_) loop_.unwatch(doorbell_.get());
  pool_.memory->on_published({});
}

void PoolService::apply_config(const SocketConfig& socket, std::uint64_t budget_bytes,
                               std::uint64_t limit_bytes) {
  lib::ControlHeader& header = pool_.memory->header();
  const PoolConfig& config = pool_.config;
  const auto ns = [](std::chrono::nanoseconds time) {
    return static_cast<std::uint64_t>(time.count());
  };
  header.wait_timeout_ns.store(ns(config.wait.timeout), kRelaxed);
  header.lease_ns.store(ns(config.handoff_lease), kRelaxed);
  header.client_quota_bytes.store(config.client_quota_bytes.value_or(0), kRelaxed);
  header.limit_bytes.store(limit_bytes, kRelaxed);
  header.budget_bytes.store(budget_bytes, kRelaxed);
  std::vector<std::string> unknown;
  access_ = resolve_access(config, socket, unknown);
  for (const std::string& name : unknown) {
    spdlog::warn("pool '{}': access names the {}, which this machine does not know", config.name,
                 name);
  }
}

std::uint32_t PoolService::take_record() {
  const auto capacity = static_cast<std::uint32_t>(records_.size());
  for (std::uint32_t step = 0; step < capacity; ++step) {
    const std::uint32_t number = (next_record_ + step) % capacity;
    if (records_[number]) continue;
    records_[number] = true;
    next_record_ = number + 1;
    return number;
  }
  return lib::kNone;
}

void PoolService::free_record(std::uint32_t record) {
  if (record < records_.size()) records_[record] = false;
}

void PoolService::keep_record(std::uint32_t record) {
  if (record < records_.size()) records_[record] = true;
}

void PoolService::take_up() {
  pool_.idle->resume();
  pool_.orders->take_up_everything();
  sweep_leases();
  replace_quarantined();
  serve();
  watch_audit();
}

bool PoolService::look_before_sleep() {
  lib::ControlHeader& header = pool_.memory->header();
  header.sleeping.store(1, kRelaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);  // B1
  const bool found = pool_.orders->look();
  const bool wishes = wishes_raised();
  // What was put since the last serve has rung no bell: its client saw a daemon that was awake.
  const bool answered = pool_.orders->serve_from_rings();
  if (!found && !wishes && !answered) return false;
  header.sleeping.store(0, kRelaxed);
  serve();
  return true;
}

bool PoolService::wishes_raised() const {
  const lib::ControlHeader& header = pool_.memory->header();
  return header.rings_low.load(kRelaxed) != 0 || header.threads_wanted.load(kRelaxed) != 0 ||
         header.orders_wanted.load(kRelaxed) != 0 || header.pins_wanted.load(kRelaxed) != 0 ||
         header.shares_wanted.load(kRelaxed) != 0 ||
         header.samples_wanted.load(kRelaxed) != 0;  // all answered by top_up(), which clears them
}

void PoolService::awake() { pool_.memory->header().sleeping.store(0, kRelaxed); }

void PoolService::answer_doorbell() {
  // Who waits comes first. A bell that is rung meanwhile is read below: what it was about, the look before the next
  // sleep finds (B1).
  pool_.orders->look();
  serve();
  std::uint64_t rings = 0;
  iovec into{&rings, sizeof(rings)};
  // Never more often than it was written: clients may write all the time. They have this very file, and could make it
  // one that blocks: RWF_NOWAIT is this call's own.
  const ssize_t got = ::preadv2(doorbell_.get(), &into, 1, -1, RWF_NOWAIT);
  // Kernels before 5.8 do not know it for eventfds.
  if (got < 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) {
    [[maybe_unused]] const ssize_t read = ::readv(doorbell_.get(), &into, 1);
  }
}

void PoolService::serve() {
  pool_.orders->serve();
  pool_.memory->top_up();
  arm_order_timer();
}

void PoolService::arm_order_timer() {
  loop_.cancel(std::exchange(order_timer_, 0));
  const std::chrono::nanoseconds wait = pool_.orders->next_look();
  if (wait.count() == 0) return;
  order_timer_ = loop_.after(wait, [this] {
    order_timer_ = 0;
    pool_.orders->look_everywhere();
    serve();
  });
}

void PoolService::watch_leases() {
  if (lease_timer_ != 0) return;
  const std::chrono::nanoseconds wait = pool_.leases->next_look();
  if (wait.count() == 0) return;
  lease_timer_ = loop_.after(wait, [this] {
    lease_timer_ = 0;
    const LeaseSweep sweep = pool_.leases->look(monotonic_ns());
    if (sweep.expired > 0) {
      spdlog::info("pool '{}': {} hand-offs that nobody adopted came back", pool_.config.name,
                   sweep.expired);
    }
    if (leases_swept_) leases_swept_(*this);
    if (sweep.shares.expired > 0) {
      spdlog::info("pool '{}': {} adoptions of shared buffers that nobody made are over",
                   pool_.config.name, sweep.shares.expired);
    }
    if (sweep.shares.quarantined > 0) replace_quarantined();
    if (sweep.expired + sweep.orphans + sweep.shares.ended > 0) serve();
    watch_leases();
  });
}

void PoolService::sweep_leases() {
  if (pool_.leases->sweep(monotonic_ns()).shares.quarantined > 0) replace_quarantined();
  if (leases_swept_) leases_swept_(*this);
  // Deaths in quick succession put the timer off again and again: nothing may wait for it alone.
  loop_.cancel(std::exchange(lease_timer_, 0));
  watch_leases();
}

void PoolService::watch_audit() {
  pool_.audit->client_came();
  arm_audit_timer();
}

void PoolService::arm_audit_timer() {
  if (audit_timer_ != 0 || !pool_.audit->needed()) return;
  audit_timer_ = loop_.after(AuditWatch::kEvery, [this] {
    audit_timer_ = 0;
    const std::uint64_t before = pool_.counters.repairs;
    const std::uint64_t quarantined_before = pool_.counters.quarantined_slots;
    pool_.audit->tick(monotonic_ns());
    // A share that the audit ended may have been read by the kernel for its last holder.
    if (pool_.counters.quarantined_slots != quarantined_before) replace_quarantined();
    pool_.holds->tick(monotonic_ns() + HoldWatch::kTickNs);
    const TakenCaches taken = pool_.idle->tick(monotonic_ns());
    // What came back may be what somebody waits for.
    if ((pool_.counters.repairs != before || taken.slots > 0) && pool_.orders->waiting() > 0)
      serve();
    arm_audit_timer();
  });
}

void PoolService::replace_quarantined() {
  pool_.memory->replace_quarantined();
  watch_quarantine();
}

void PoolService::watch_quarantine() {
  loop_.cancel(std::exchange(quarantine_timer_, 0));
  const std::chrono::nanoseconds wait = pool_.memory->next_replacement();
  if (wait.count() == 0) return;
  quarantine_timer_ = loop_.after(wait, [this] {
    quarantine_timer_ = 0;
    replace_quarantined();
  });
}

void PoolService::stop() {
  pool_.memory->header().daemon_state.store(static_cast<std::uint32_t>(lib::DaemonState::kStopping),
                                            std::memory_order_release);
  pool_.orders->look_everywhere();
  pool_.orders->refuse_all(lib::ErrorCode::stopping);
}

}  // namespace zeropool::daemon
