#include "daemon/client_quota.hpp"

#include <algorithm>
#include <atomic>

#include "daemon/event_loop.hpp"
#include "daemon/holders.hpp"

namespace zeropool::daemon {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
// U2
constexpr std::uint64_t kCountPart = 20;
constexpr std::uint64_t kLeastBetweenNs = 1'000'000;
constexpr std::uint64_t kMostBetweenNs = 1'000'000'000;

}  // namespace

lib::SharedClientCharge ClientQuota::charge_of(const ClientInfo& client) const {
  return daemon::charge_of(pool_, client);
}

bool ClientQuota::fits(const ClientInfo& client, std::uint64_t bytes) {
  const Account& account = accounts_[client.id];
  const std::uint64_t seen = account.held_bytes + account.cached_bytes + account.granted_bytes;
  const std::uint64_t has = std::max(seen, charge_of(client).bytes());  // U1
  return bytes <= quota() && has <= quota() - bytes;
}

QuotaVerdict ClientQuota::ask(const ClientInfo& client, std::uint64_t bytes, std::uint64_t now_ns) {
  if (!set()) return QuotaVerdict::kFits;
  if (bytes > quota()) return QuotaVerdict::kOver;
  const bool stale = counted_ns_ == 0 || now_ns - counted_ns_ >= kStaleNs;
  if (stale && may_count(now_ns)) count(now_ns);  // U2
  if (fits(client, bytes)) return QuotaVerdict::kFits;
  // What is remembered may have been given back.
  if (counted_ns_ != now_ns) {
    if (!may_count(now_ns)) return QuotaVerdict::kNotYet;
    count(now_ns);
    if (fits(client, bytes)) return QuotaVerdict::kFits;
  }
  const Account& account = accounts_[client.id];
  const std::uint64_t kept = account.held_bytes + account.granted_bytes;
  return kept <= quota() - bytes ? QuotaVerdict::kNotYet : QuotaVerdict::kOver;
}

void ClientQuota::grant(const ClientInfo& client, std::uint64_t bytes) {
  charge_of(client).add(bytes);
  if (set()) accounts_[client.id].granted_bytes += bytes;
}

void ClientQuota::taken_back(const ClientInfo& client, std::uint64_t bytes) {
  charge_of(client).remove(bytes);
  if (!set()) return;
  std::uint64_t& granted = accounts_[client.id].granted_bytes;
  granted -= std::min(granted, bytes);
}

void ClientQuota::count(std::uint64_t now_ns) {
  const std::uint64_t begun_ns = monotonic_ns();
  std::vector<std::uint64_t> before;
  before.reserve(pool_.clients.size());
  for (const ClientInfo& client : pool_.clients) {
    before.push_back(charge_word(pool_, client).load(kRelaxed));
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const std::vector<ClientHolding> counted = holdings(pool_);
  std::unordered_map<std::uint32_t, Account> accounts;
  for (std::size_t i = 0; i < pool_.clients.size() && i < counted.size(); ++i) {
    const ClientInfo& client = pool_.clients[i];
    Account& account = accounts[client.id];
    account.held_bytes = counted[i].held_bytes;
    account.cached_bytes = counted[i].cached_bytes;
    account.wrong_by = correct(client, before[i], account.held_bytes + account.cached_bytes,
                               accounts_.contains(client.id) ? accounts_[client.id].wrong_by : 0);
  }
  accounts_.swap(accounts);  // those of clients that are gone go with the old one
  counted_ns_ = now_ns;
  const std::uint64_t took_ns = monotonic_ns() - begun_ns;
  next_count_ns_ = now_ns + std::clamp(took_ns * kCountPart, kLeastBetweenNs, kMostBetweenNs);
}

std::int64_t ClientQuota::correct(const ClientInfo& client, std::uint64_t before,
                                  std::uint64_t counted, std::int64_t wrong_before) {
  std::atomic<std::uint64_t>& charge = charge_word(pool_, client);
  if (charge.load(kRelaxed) != before) return 0;  // at work: what was counted is no moment's
  const auto wrong_by = static_cast<std::int64_t>(before - counted);
  if (wrong_by == 0 || wrong_by != wrong_before) return wrong_by;
  if (!charge.compare_exchange_strong(before, counted, kRelaxed)) return 0;
  ++corrections_;
  return 0;
}

}  // namespace zeropool::daemon
