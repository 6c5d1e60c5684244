#include "daemon/budget.hpp"

#include <limits>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

using zeropool::daemon::Budget;
using zeropool::daemon::ChargeOutcome;
using zeropool::daemon::PoolAccount;

TEST_CASE("what is committed never exceeds the budget") {
  Budget budget(100);
  PoolAccount& pool = budget.open_account("a", 0, 1000);
  CHECK(budget.charge(pool, 60) == ChargeOutcome::kCharged);
  CHECK(budget.charge(pool, 41) == ChargeOutcome::kBudgetSpent);
  CHECK(budget.charge(pool, 40) == ChargeOutcome::kCharged);
  CHECK(budget.committed() == 100);
  CHECK_FALSE(budget.charge_overhead(1));
  budget.refund(pool, 30);
  CHECK(budget.available(pool) == 30);
  CHECK(budget.charge_overhead(30));
  CHECK(budget.committed() == 100);
}

TEST_CASE("a pool's own limit is told from the budget") {
  Budget budget(100);
  PoolAccount& pool = budget.open_account("a", 0, 50);
  CHECK(budget.charge(pool, 51) == ChargeOutcome::kLimitReached);
  CHECK(budget.available(pool) == 50);
}

TEST_CASE("another pool's reservation is left alone, as far as it is not used yet") {
  Budget budget(100);
  PoolAccount& a = budget.open_account("a", 0, 100);
  PoolAccount& b = budget.open_account("b", 40, 100);
  CHECK(budget.available(a) == 60);
  CHECK(budget.charge(a, 61) == ChargeOutcome::kBudgetSpent);
  CHECK(budget.charge(b, 40) == ChargeOutcome::kCharged);
  CHECK(budget.available(a) == 60);
  CHECK(budget.charge(a, 60) == ChargeOutcome::kCharged);
  budget.refund(b, 10);
  CHECK(budget.available(a) == 0);
  CHECK(budget.available(b) == 10);
}

TEST_CASE("sums of reservations and charges near 2^64 do not wrap around") {
  const std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  Budget budget(most);
  PoolAccount& a = budget.open_account("a", most, most);
  budget.open_account("b", most, most);
  CHECK(budget.available(a) == 0);
  CHECK(budget.charge(a, most) == ChargeOutcome::kBudgetSpent);
  CHECK(budget.charge(a, 1) == ChargeOutcome::kBudgetSpent);
}

TEST_CASE("a smaller budget refuses further charges and takes nothing back") {
  Budget budget(100);
  PoolAccount& pool = budget.open_account("a", 0, 100);
  CHECK(budget.charge(pool, 80) == ChargeOutcome::kCharged);
  budget.set_budget(50);
  CHECK(budget.committed() == 80);
  CHECK(budget.available(pool) == 0);
  CHECK(budget.charge(pool, 1) == ChargeOutcome::kBudgetSpent);
  budget.refund(pool, 1000);  // more than it has: an error of ours, that gives nobody bytes
  CHECK(budget.committed() == 0);
}

TEST_CASE("a closed account gives back what it had") {
  Budget budget(100);
  PoolAccount& pool = budget.open_account("a", 50, 100);
  CHECK(budget.charge(pool, 80) == ChargeOutcome::kCharged);
  budget.close_account(pool);
  CHECK(budget.committed() == 0);
  CHECK(budget.available(budget.open_account("b", 0, 100)) == 100);
}

TEST_CASE("threads that charge and refund at once never exceed the budget") {
  Budget budget(1000);
  PoolAccount& a = budget.open_account("a", 100, 900);
  PoolAccount& b = budget.open_account("b", 100, 900);
  std::vector<std::thread> threads;
  for (PoolAccount* account : {&a, &b, &a, &b}) {
    threads.emplace_back([&budget, account] {
      for (int i = 0; i < 5000; ++i) {
        if (budget.charge(*account, 137) == ChargeOutcome::kCharged) budget.refund(*account, 137);
        if (budget.committed() > 1000) std::abort();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(budget.committed() == 0);
}

TEST_CASE("what is promised to pools that are still to be opened is left alone") {
  Budget budget(100);
  budget.promise("a", 0);
  budget.promise("b", 70);
  CHECK(budget.charge_overhead(10));
  CHECK_FALSE(budget.charge_overhead(21));
  PoolAccount& a = budget.open_account("a", 0, 100);
  CHECK(budget.available(a) == 20);
  PoolAccount& b = budget.open_account("b", 70, 100);
  CHECK(budget.available(a) == 20);
  CHECK(budget.charge(b, 70) == ChargeOutcome::kCharged);
  CHECK(budget.available(a) == 20);
  budget.promise("gone", 20);
  CHECK(budget.available(a) == 0);
  budget.forget_promises();
  CHECK(budget.available(a) == 20);
}

TEST_CASE("excess is what has to go before budget and reservations fit again") {
  Budget budget(100);
  PoolAccount& a = budget.open_account("a", 30, 100);
  PoolAccount& b = budget.open_account("b", 0, 100);
  CHECK(budget.charge(b, 70) == ChargeOutcome::kCharged);
  CHECK(budget.excess() == 0);
  budget.set_limits(a, 40, 100);
  CHECK(budget.excess() == 10);  // not to be had by a now
  budget.set_budget(50);
  CHECK(budget.excess() == 60);
  budget.refund(b, 60);
  CHECK(budget.excess() == 0);
  budget.adopt(a, 80);
  CHECK(budget.excess() == 40);
  const std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  budget.set_limits(a, most, most);
  CHECK(budget.excess() > 0);  // and no wrap-around
}

TEST_CASE("what is borrowed for a moment counts, whatever is promised") {
  Budget budget(100);
  PoolAccount& a = budget.open_account("a", 100, 100);
  CHECK(budget.borrow(60));
  CHECK_FALSE(budget.borrow(41));
  CHECK(budget.committed() == 60);
  CHECK(budget.overhead() == 60);
  CHECK(budget.charge(a, 41) == ChargeOutcome::kBudgetSpent);
  budget.refund_overhead(60);
  CHECK(budget.charge(a, 100) == ChargeOutcome::kCharged);
}
