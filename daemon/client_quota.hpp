#pragma once
// Whether an order fits its client's quota, by the daemon's own count.
//
// Thread safety: the loop thread's.
// Invariants:
//   U1  What a client can write (its charge, client_charge.hpp) makes the answer stricter and never laxer: what the
//       marks and magazines showed at the last count, and what was granted since, have to fit as well.
//   U2  A count is at most kStaleNs old when something is decided by it, as long as counting takes no more than a
//       twentieth of the loop's time. In between a client that does not keep its charge gains by its own claims only,
//       and by no grant.
//   U3  A charge is corrected where two counts in a row found it wrong by the same, and unchanged during the count.
// Crash safety: counts are made anew by the next daemon; a charge that this one left wrong is corrected by U3.

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "daemon/pool.hpp"
#include "zeropool/lib/client_charge.hpp"

namespace zeropool::daemon {

enum class QuotaVerdict {
  kFits,
  kNotYet,  // it would fit if the client's caches gave something back, or after the next count
  kOver,    // not even then
};

class ClientQuota {
 public:
  static constexpr std::uint64_t kStaleNs = 100'000'000;

  explicit ClientQuota(const Pool& pool) : pool_(pool) {}

  bool set() const { return quota() != 0; }
  QuotaVerdict ask(const ClientInfo& client, std::uint64_t bytes, std::uint64_t now_ns);
  // Before the grant is committed (Q1); taken_back(): it was not.
  void grant(const ClientInfo& client, std::uint64_t bytes);
  void taken_back(const ClientInfo& client, std::uint64_t bytes);
  // Charges corrected since the start.
  std::uint64_t corrections() const { return corrections_; }

 private:
  struct Account {
    std::uint64_t held_bytes = 0;
    std::uint64_t cached_bytes = 0;
    std::uint64_t granted_bytes = 0;  // since the count
    std::int64_t wrong_by = 0;        // the charge, at the count
  };

  std::uint64_t quota() const { return pool_.config.client_quota_bytes.value_or(0); }
  lib::SharedClientCharge charge_of(const ClientInfo& client) const;
  bool fits(const ClientInfo& client, std::uint64_t bytes);
  bool may_count(std::uint64_t now_ns) const { return now_ns >= next_count_ns_; }
  void count(std::uint64_t now_ns);
  // U3
  std::int64_t correct(const ClientInfo& client, std::uint64_t before, std::uint64_t counted,
                       std::int64_t wrong_before);

  const Pool& pool_;
  std::unordered_map<std::uint32_t, Account> accounts_;
  std::uint64_t counted_ns_ = 0;  // 0: never
  std::uint64_t next_count_ns_ = 0;
  std::uint64_t corrections_ = 0;
};

}  // namespace zeropool::daemon
