#pragma once
// The global budget: what all pools together may commit, each pool's limit and reservation.
//
// Thread safety: every function may be called from any thread (one mutex; never on a hit's path).
// Invariants:
//   U1  No charge makes committed() more than budget(). A smaller budget, or a restart under one, finds more than that:
//       from then on committed() only falls, until it is there (excess(), release_watch.hpp).
//   U2  A charge of one pool, or of the ledger, never takes what another's reservation still guarantees:
//       committed + sum over the others of max(0, reserved - committed) <= budget. Pools that are not open yet count by
//       promise(), so that the first to be opened leaves the others theirs.
//   U3  overhead() + all reservations <= budget(), by the daemon's check at start and at reload: else U2 alone would
//       leave somebody short by the ledger's bytes.

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace zeropool::daemon {

struct PoolAccount {
  std::string name;
  std::uint64_t reserved_bytes = 0;
  std::uint64_t limit_bytes = 0;
  std::uint64_t committed_bytes = 0;
};

enum class ChargeOutcome { kCharged, kBudgetSpent, kLimitReached };

class Budget {
 public:
  explicit Budget(std::uint64_t budget_bytes);

  // A pool that is to be opened: its reservation is kept for it (U2) until open_account() of that name.
  void promise(std::string name, std::uint64_t reserved_bytes);
  void forget_promises();
  PoolAccount& open_account(std::string name, std::uint64_t reserved_bytes,
                            std::uint64_t limit_bytes);
  // Refunds what it still has. No reference to it may be used afterwards.
  void close_account(PoolAccount& account);
  ChargeOutcome charge(PoolAccount& account, std::uint64_t bytes);
  // Metadata that belongs to no pool (the ledger).
  bool charge_overhead(std::uint64_t bytes);
  void refund_overhead(std::uint64_t bytes);
  // For a moment, whatever is promised: refund_overhead() follows at once.
  bool borrow(std::uint64_t bytes);
  // What was committed before this daemon started: counted, never refused (U1 holds again once it shrank).
  void adopt(PoolAccount& account, std::uint64_t bytes);
  void adopt_overhead(std::uint64_t bytes);
  void refund(PoolAccount& account, std::uint64_t bytes);
  // What `account` could still commit now.
  std::uint64_t available(const PoolAccount& account) const;

  void set_budget(std::uint64_t budget_bytes);
  void set_limits(PoolAccount& account, std::uint64_t reserved_bytes, std::uint64_t limit_bytes);
  std::uint64_t budget() const;
  std::uint64_t committed() const;
  std::uint64_t overhead() const;  // of committed(), what belongs to no pool
  // What has to be released before committed() and every reservation that is not used up fit into the budget again.
  std::uint64_t excess() const;
  PoolAccount snapshot(const PoolAccount& account) const;

 private:
  std::uint64_t available_locked(const PoolAccount& account) const;
  std::uint64_t unpromised_locked(const PoolAccount* except) const;

  mutable std::mutex mutex_;
  std::uint64_t budget_bytes_;
  std::uint64_t committed_bytes_ = 0;
  std::uint64_t overhead_bytes_ = 0;
  std::vector<std::unique_ptr<PoolAccount>> accounts_;
  std::vector<PoolAccount> promised_;  // without an account yet
};

}  // namespace zeropool::daemon
