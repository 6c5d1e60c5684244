#include "daemon/budget.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace zeropool::daemon {
namespace {

// 0 where the difference would be negative.
std::uint64_t less(std::uint64_t from, std::uint64_t bytes) {
  return from > bytes ? from - bytes : 0;
}

std::uint64_t add_saturating(std::uint64_t a, std::uint64_t b) {
  return a + std::min(b, std::numeric_limits<std::uint64_t>::max() - a);
}

}  // namespace

Budget::Budget(std::uint64_t budget_bytes) : budget_bytes_(budget_bytes) {}

void Budget::promise(std::string name, std::uint64_t reserved_bytes) {
  const std::lock_guard lock(mutex_);
  promised_.push_back({std::move(name), reserved_bytes});
}

void Budget::forget_promises() {
  const std::lock_guard lock(mutex_);
  promised_.clear();
}

PoolAccount& Budget::open_account(std::string name, std::uint64_t reserved_bytes,
                                  std::uint64_t limit_bytes) {
  const std::lock_guard lock(mutex_);
  std::erase_if(promised_, [&](const PoolAccount& pool) { return pool.name == name; });
  accounts_.push_back(std::make_unique<PoolAccount>());
  PoolAccount& account = *accounts_.back();
  account.name = std::move(name);
  account.reserved_bytes = reserved_bytes;
  account.limit_bytes = limit_bytes;
  return account;
}

void Budget::close_account(PoolAccount& account) {
  const std::lock_guard lock(mutex_);
  committed_bytes_ = less(committed_bytes_, account.committed_bytes);
  std::erase_if(accounts_, [&](const auto& other) { return other.get() == &account; });
}

ChargeOutcome Budget::charge(PoolAccount& account, std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes > less(account.limit_bytes, account.committed_bytes)) {
    return ChargeOutcome::kLimitReached;
  }
  if (bytes > available_locked(account)) return ChargeOutcome::kBudgetSpent;
  account.committed_bytes += bytes;
  committed_bytes_ += bytes;
  return ChargeOutcome::kCharged;
}

bool Budget::charge_overhead(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes > unpromised_locked(nullptr)) return false;
  committed_bytes_ += bytes;
  overhead_bytes_ += bytes;
  return true;
}

bool Budget::borrow(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes > less(budget_bytes_, committed_bytes_)) return false;
  committed_bytes_ += bytes;
  overhead_bytes_ += bytes;
  return true;
}

void Budget::refund_overhead(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t refunded = std::min(bytes, overhead_bytes_);
  overhead_bytes_ -= refunded;
  committed_bytes_ = less(committed_bytes_, refunded);
}

void Budget::adopt(PoolAccount& account, std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  account.committed_bytes += bytes;
  committed_bytes_ += bytes;
}

void Budget::adopt_overhead(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  committed_bytes_ += bytes;
  overhead_bytes_ += bytes;
}

void Budget::refund(PoolAccount& account, std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t refunded = std::min(bytes, account.committed_bytes);
  account.committed_bytes -= refunded;
  committed_bytes_ = less(committed_bytes_, refunded);
}

std::uint64_t Budget::available(const PoolAccount& account) const {
  const std::lock_guard lock(mutex_);
  return available_locked(account);
}

void Budget::set_budget(std::uint64_t budget_bytes) {
  const std::lock_guard lock(mutex_);
  budget_bytes_ = budget_bytes;
}

void Budget::set_limits(PoolAccount& account, std::uint64_t reserved_bytes,
                        std::uint64_t limit_bytes) {
  const std::lock_guard lock(mutex_);
  account.reserved_bytes = reserved_bytes;
  account.limit_bytes = limit_bytes;
}

std::uint64_t Budget::budget() const {
  const std::lock_guard lock(mutex_);
  return budget_bytes_;
}

std::uint64_t Budget::committed() const {
  const std::lock_guard lock(mutex_);
  return committed_bytes_;
}

std::uint64_t Budget::overhead() const {
  const std::lock_guard lock(mutex_);
  return overhead_bytes_;
}

std::uint64_t Budget::excess() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t needed = committed_bytes_;
  for (const auto& account : accounts_) {
    needed = add_saturating(needed, less(account->reserved_bytes, account->committed_bytes));
  }
  return less(needed, budget_bytes_);
}

PoolAccount Budget::snapshot(const PoolAccount& account) const {
  const std::lock_guard lock(mutex_);
  return account;
}

std::uint64_t Budget::available_locked(const PoolAccount& account) const {
  return std::min(unpromised_locked(&account), less(account.limit_bytes, account.committed_bytes));
}

// U2, by subtraction only, so that no sum of reservations can overflow.
std::uint64_t Budget::unpromised_locked(const PoolAccount* except) const {
  std::uint64_t left = less(budget_bytes_, committed_bytes_);
  for (const auto& other : accounts_) {
    if (other.get() == except) continue;
    left = less(left, less(other->reserved_bytes, other->committed_bytes));
  }
  for (const PoolAccount& other : promised_) left = less(left, other.reserved_bytes);
  return left;
}

}  // namespace zeropool::daemon
