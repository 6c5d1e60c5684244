#pragma once
// The ledger: what the daemon must find again after a restart, and what no client may write. A
// memfd of the
// daemon alone, never sent.
//
// Thread safety: the loop thread's.
// Invariants:
//   L1  A client id is never given out while the table names it; ids grow, and after the largest
//       they begin
//       again at 1 with the next epoch.
//   L2  An extent's state is written before the work that it announces begins, and again after it
//       has ended.
//   L3  Its own bytes are charged to the budget before they are committed.
// Crash safety (what a later daemon does with an extent found in a state):
//   absent      nothing
//   committing  punches it, refunds it: absent
//   published   nothing; slots of it that no magazine and no holder has are the daemon's (Absent
//   marks); of quarantined ones the pages are replaced, again if need be (quarantine.cpp)
//   draining    puts its Absent slots back: published
//   punching    punches it, refunds it: absent
//
// Layout of the memfd: LedgerHeader, LedgerClient[client_capacity], LedgerPool[kLedgerPools], then
// from
// `states_offset` one byte an extent, each pool's on pages of its own, ring by ring, its prefixes behind them, and behind
// those its counters. The daemon's own counters lie behind the header. What an older build laid out has no counters, or
// zeros there: they begin at 0.

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "daemon/budget.hpp"
#include "zeropool/lib/control_plan.hpp"
#include "zeropool/lib/segment.hpp"
#include "zeropool/lib/unique_fd.hpp"

namespace zeropool::daemon {

enum class ExtentState : std::uint8_t {
  kAbsent = 0,
  kCommitting = 1,
  kPublished = 2,  // committed; its slots are in the ring, or with holders
  kDraining = 3,   // its slots are being withdrawn
  kPunching = 4,   // the daemon holds all its slots, it is being punched
};

inline constexpr std::uint64_t kLedgerMagic = 0x315245474c5a5250ULL;
inline constexpr std::uint32_t kLedgerVersion = 1;
inline constexpr std::uint32_t kLedgerPools = 256;
inline constexpr std::uint32_t kFixedPrefixes = 6;  // the header's, and the five tables of entries

struct LedgerHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t client_capacity;
  std::uint64_t layout_hash;  // of the control segments that it goes with
  std::uint64_t segment_bytes;
  std::uint64_t clients_offset;
  std::uint64_t pools_offset;
  std::uint64_t states_offset;
  std::atomic<std::uint64_t> states_end;  // bytes from states_offset that pools have
  std::atomic<std::uint64_t> budget_bytes;
  std::atomic<std::uint64_t> committed_bytes;
  std::atomic<std::uint32_t> next_client_id;
  std::atomic<std::uint32_t> client_epoch;
  std::atomic<std::uint32_t> client_count;
  std::atomic<std::uint32_t> pool_count;
  std::uint64_t reserved[4];
};

struct LedgerClient {
  std::uint32_t id;  // 0: free. Written last when it is added: COMMIT
  std::uint32_t epoch;
  std::int32_t pid;
  std::uint32_t uid;
  std::uint64_t start_time;  // of the process, field 22 of /proc/PID/stat
  std::uint16_t pool;        // index in the ledger
  std::uint16_t flags;       // kLedger...
  std::uint32_t record;      // number of its ClientRecord
};
inline constexpr std::uint16_t kLedgerDirectIo = 1;    // it attached with kAttachDirectIo
inline constexpr std::uint16_t kLedgerReclaiming = 2;  // its reclaim has begun
static_assert(kLedgerPools <= 0xffff);

struct LedgerArena {
  std::uint32_t node;
  std::uint32_t page_kind;
};

// A pool's shape as laid out: plan_control_segment of it gives the plan again.
struct LedgerPool {
  char name[lib::kPoolNameBytes];
  std::atomic<std::uint32_t> used;  // 0: free. Written last: COMMIT
  std::uint32_t pool_tag;
  std::atomic<std::uint64_t> reserved_bytes;
  std::atomic<std::uint64_t> limit_bytes;
  std::atomic<std::uint64_t> committed_bytes;
  std::atomic<std::uint64_t> metadata_bytes;
  std::uint64_t states_offset;  // in the memfd
  std::uint64_t state_bytes;    // with the prefixes behind the states
  std::uint64_t
      prefixes_offset;  // in the memfd: u64 each, committed bytes of the control segment's tables
  std::uint64_t region_bytes;
  std::uint64_t thread_cache_bytes;
  std::uint64_t hot_set_bytes;
  std::uint32_t class_count;
  std::uint32_t arena_count;
  std::uint32_t domain_count;
  std::uint32_t cpu_count;
  std::uint32_t client_capacity;
  std::uint32_t thread_capacity;
  std::uint32_t order_capacity;
  std::uint32_t share_capacity;
  std::uint32_t pin_capacity;
  std::atomic<std::uint32_t> draining;  // 1: nobody new is attached (drain.hpp)
  std::atomic<std::uint32_t> threads_published;
  std::atomic<std::uint32_t> orders_published;
  std::uint64_t class_bytes[lib::kMaxClasses];
  LedgerArena arenas[lib::kMaxArenas];
};

// Counters that go on where the daemon before left them (kept_counters.hpp): a magic, then words.
inline constexpr std::uint64_t kCountersMagic = 0x31544e434c5a5250ULL;
inline constexpr std::uint32_t kDaemonCounterWords = 128;
inline constexpr std::uint32_t kPoolCounterWords =
    128;  // of the pool; then kRingCounterWords a ring
inline constexpr std::uint32_t kRingCounterWords = 2;

static_assert(sizeof(LedgerHeader) == 128);
static_assert(sizeof(LedgerHeader) + (1 + kDaemonCounterWords) * sizeof(std::uint64_t) <= 4096);
static_assert(sizeof(LedgerClient) == 32);
static_assert(sizeof(LedgerPool) == 952);
static_assert(std::atomic<ExtentState>::is_always_lock_free);

class Ledger {
 public:
  // `client_capacity`: clients of all pools together. Null: `why` says what could not be had.
  static std::unique_ptr<Ledger> create(Budget& budget, std::uint32_t client_capacity,
                                        std::string& why);

  // That of a daemon before this one. Null: `why`, and the memfd is as it was.
  static std::unique_ptr<Ledger> adopt(Budget& budget, lib::UniqueFd fd, std::string& why);

  ~Ledger();
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  int fd() const noexcept { return fd_.get(); }
  const LedgerHeader& header() const noexcept { return *header_; }

  // A number that names no other client, and its epoch. 0: all are in use (more than the table can
  // hold).
  std::uint32_t allocate_client_id(std::uint32_t& epoch);
  // False: the table is full, or `client.id` is 0 or in it already.
  bool add_client(const LedgerClient& client);
  // When all its slots are back. False: it is not in the table.
  bool remove_client(std::uint32_t id);
  // Before the first step of its reclaim.
  void begin_reclaim(std::uint32_t id);
  // The table; entries with id 0 are free.
  std::span<const LedgerClient> clients() const noexcept;

  // Index of the new pool, all its extents absent; lib::kNone: `why` says why not.
  std::uint32_t open_pool(const lib::ControlPlan& plan, std::uint32_t pool_tag, std::string& why);
  // Its extents must be absent.
  void close_pool(std::uint32_t pool);
  // While true, close_pool does nothing: a daemon that fails to start leaves everything to the next one.
  void keep_pools(bool keep) { keep_pools_ = keep; }
  bool keeps_pools() const { return keep_pools_; }
  std::uint32_t find_pool(const std::string& name) const;
  const LedgerPool& pool(std::uint32_t index) const noexcept { return pools_[index]; }
  lib::PoolShape shape(std::uint32_t index) const;

  // Extents of a pool are numbered through its rings: first_extent(plan, ring) + the ring's extent.
  static std::uint64_t first_extent(const lib::ControlPlan& plan, std::uint32_t ring) noexcept;
  ExtentState extent(std::uint32_t pool, std::uint64_t number) const noexcept;
  void set_extent(std::uint32_t pool, std::uint64_t number, ExtentState state) noexcept;
  // How much of the control segment's table `number` is committed: written after the commit, before anything of it
  // is published. Tables: kFixedPrefixes, then two a ring.
  std::uint64_t prefix(std::uint32_t pool, std::uint32_t number) const noexcept;
  void set_prefix(std::uint32_t pool, std::uint32_t number, std::uint64_t bytes) noexcept;
  // Words of counters, each written by a store of its own. Empty: an older build laid the pool out, without room.
  std::span<std::atomic<std::uint64_t>> counters() noexcept;
  std::span<std::atomic<std::uint64_t>> counters(std::uint32_t pool) noexcept;
  // What the account of a pool stands at, and the global budget.
  void record_account(std::uint32_t pool, const PoolAccount& account, std::uint64_t metadata_bytes);
  void set_draining(std::uint32_t pool, bool draining);
  void record_published(std::uint32_t pool, std::uint32_t threads, std::uint32_t orders);

 private:
  Ledger(Budget& budget, lib::UniqueFd fd, lib::Mapping mapping);
  void find_tables();
  bool commit(std::uint64_t offset, std::uint64_t bytes, std::string& why);
  bool in_use(std::uint32_t id) const noexcept;
  std::span<std::atomic<std::uint64_t>> counter_block(std::uint64_t offset,
                                                      std::uint64_t words) noexcept;
  std::atomic<ExtentState>& state(std::uint32_t pool, std::uint64_t number) const noexcept;

  Budget& budget_;
  lib::UniqueFd fd_;
  lib::Mapping mapping_;
  LedgerHeader* header_;
  LedgerClient* clients_ = nullptr;
  LedgerPool* pools_ = nullptr;
  std::uint64_t charged_bytes_ = 0;
  std::uint32_t highest_added_ =
      0;  // no client above it: ids need no look at the table until they wrap
  bool wrapped_ = false;
  bool keep_pools_ = false;
};

}  // namespace zeropool::daemon
