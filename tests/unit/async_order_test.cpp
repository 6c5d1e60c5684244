// How a suspended get's order ends: by a grant, a refusal, or its client's withdrawal, at the same instant, with either side
// killed anywhere. One of them is first, the magazine comes back once, and no cell stays.

#include <atomic>
#include <cstdint>
#include <memory>

#include <doctest/doctest.h>

#include "tests/unit/support/schedule.hpp"
#include "zeropool/lib/client_record.hpp"
#include "zeropool/lib/order_cell.hpp"
#include "zeropool/lib/owner_word.hpp"

using namespace zeropool::lib;
using namespace zeropool::test;

namespace {

constexpr std::uint32_t kClient = 5;
constexpr std::uint32_t kEpoch = 1;
constexpr std::uint32_t kCell = 300;
constexpr std::uint32_t kCapacity = 10'000;
constexpr auto kOrder = OrderWord::make(9, OrderState::kPosted, kClient, kEpoch);
constexpr auto kGrant = OwnerWord::grant(kClient, kEpoch, kCell, 9);

struct Shared {
  OrderCell<ScheduledAtomic> order;
  ClientRecord<ScheduledAtomic> record;
  ScheduledAtomic<std::uint64_t> owner;    // of the one magazine
  ScheduledAtomic<std::uint32_t> eventfd;  // what the daemon has written and nobody has read
  ScheduledAtomic<std::uint32_t> granted;  // what the client says of its end: each counts once
  ScheduledAtomic<std::uint32_t> refused;
  ScheduledAtomic<std::uint32_t> withdrawn;
};

// Breaks the protocol: the withdrawal looks, then writes, where it must be one step.
bool withdraw(Shared& shared, bool broken) {
  if (!broken) return withdraw_order(shared.order, kOrder);
  if (answer_of(shared.order, kOrder) != OrderAnswer::kWaits) return false;
  shared.order.word.store(kOrder.freed().word);
  return true;
}

// Client: what deliver() does with an answer.
void take_answer(Shared& shared) {
  switch (answer_of(shared.order, kOrder)) {
    case OrderAnswer::kGranted: {
      std::uint64_t expected = kGrant.word;
      expect(shared.order.first_granted.load() == 1, "a grant without its magazine");
      expect(shared.owner.compare_exchange_strong(expected,
                                                  OwnerWord::thread(kClient, kEpoch, 2).word),
             "the granted magazine is not the order's");
      shared.owner.store(0);  // used, put, released
      end_order(shared.order, kOrder);
      shared.granted.fetch_add(1);
      return;
    }
    case OrderAnswer::kRefused:
      end_order(shared.order, kOrder);
      shared.refused.fetch_add(1);
      return;
    case OrderAnswer::kWaits:
    case OrderAnswer::kGone: return;
  }
}

void grant(Shared& shared) {
  std::uint64_t in_ring = 0;
  if (!shared.owner.compare_exchange_strong(in_ring, OwnerWord::daemon().word)) return;
  shared.owner.store(kGrant.word);  // grant 1
  if (!grant_order(shared.order, kOrder, 1)) {
    shared.owner.store(0);
    return;
  }
  if (note_answer(shared.record, kCell, kCapacity)) shared.eventfd.fetch_add(1);
}
void refuse(Shared& shared) {
  if (!refuse_order(shared.order, kOrder, ErrorCode::stopping)) return;
  if (note_answer(shared.record, kCell, kCapacity)) shared.eventfd.fetch_add(1);
}

// As the daemon's reclaim of a dead client.
void reclaim(Shared& shared) {
  const OwnerWord owner{shared.owner.load()};
  if (!owner.in_ring() && owner.client() == kClient) shared.owner.store(0);
  const OrderWord word{shared.order.word.load()};
  if (word.state() != OrderState::kFree && word.client() == kClient) {
    shared.order.word.store(word.freed().word);
  }
}
// As the next daemon's recovery.
void recover(Shared& shared) {
  const OwnerWord owner{shared.owner.load()};
  if (owner.kind() == OwnerKind::kDaemon) shared.owner.store(0);
  const bool granted =
      OrderWord{shared.order.word.load()} == kOrder.with_state(OrderState::kGranted);
  if (owner == kGrant && !granted) shared.owner.store(0);
}

struct Plan {
  bool refuses = false;
  bool broken = false;
  std::uint32_t client_dies = kNever;
  std::uint32_t daemon_dies = kNever;
};

Script make(const Plan& plan) {
  auto shared = std::make_shared<Shared>();
  shared->order.word.store(kOrder.word);
  const auto client = [=] {
    if (withdraw(*shared, plan.broken)) {
      shared->withdrawn.fetch_add(1);
    } else {
      take_answer(*shared);
    }
  };
  const auto daemon = [=] { plan.refuses ? refuse(*shared) : grant(*shared); };
  return Script{
      {{client, plan.client_dies}, {daemon, plan.daemon_dies}}, [=] {
        if (plan.daemon_dies != kNever) recover(*shared);
        if (plan.client_dies != kNever) {
          reclaim(*shared);
        } else {
          // Killed or not, the daemon has left an answer, or the order was withdrawn.
          expect(shared->granted.load() + shared->refused.load() + shared->withdrawn.load() == 1,
                 "the get ended not once");
        }
        expect(shared->owner.load() == 0, "the magazine is not in the ring");
        expect(OrderWord{shared->order.word.load()}.state() == OrderState::kFree,
               "the cell is in use");
      }};
}

}  // namespace

TEST_CASE(
    "withdrawal against grant and refusal: one is first; a withdrawal in two steps is caught" *
    doctest::skip(!kCanSchedule)) {
  for (const bool refuses : {false, true}) {
    const Explored result = explore([=] { return make({.refuses = refuses}); });
    CHECK(result.failure == "");
    CHECK(result.complete);
    CHECK(result.runs > 1);
  }
  CHECK(explore([] { return make({.broken = true}); }).failure != "");
}

TEST_CASE("a client killed at any access of it leaves neither a cell nor a magazine" *
          doctest::skip(!kCanSchedule)) {
  for (const bool refuses : {false, true}) {
    const Explored result = explore_kills([=](std::uint32_t kill_after) {
      return make({.refuses = refuses, .client_dies = kill_after});
    });
    CHECK(result.failure == "");
    CHECK(result.killed > 0);
  }
}

TEST_CASE("a daemon killed at any access of it: the get ends once, and its magazine is there" *
          doctest::skip(!kCanSchedule)) {
  for (const bool refuses : {false, true}) {
    const Explored result = explore_kills([=](std::uint32_t kill_after) {
      return make({.refuses = refuses, .daemon_dies = kill_after});
    });
    CHECK(result.failure == "");
    CHECK(result.killed > 0);
  }
}

TEST_CASE("who reads the eventfd and then the hints finds every answer, or will be woken again" *
          doctest::skip(!kCanSchedule)) {
  for (const bool broken : {false, true}) {
    const Explored result = explore([broken] {
      auto shared = std::make_shared<Shared>();
      // Two answers; between them the client looks. Broken: it takes the hints before it reads the eventfd.
      const auto daemon = [=] {
        for (const std::uint32_t cell : {kCell, kCell + 1}) {
          shared->granted.fetch_add(1);  // the answer itself
          if (note_answer(shared->record, cell, kCapacity)) shared->eventfd.fetch_add(1);
        }
      };
      const auto client = [=] {
        if (!broken) shared->eventfd.exchange(0);
        std::uint64_t bits = 0;
        for (auto& word : shared->record.answered) bits |= word.exchange(0);
        if (bits != 0) shared->refused.store(shared->granted.load());  // how many it has seen
        if (broken) shared->eventfd.exchange(0);
      };
      return Script{{{daemon}, {client}}, [=] {
                      bool hinted = false;
                      for (auto& word : shared->record.answered) hinted |= word.load() != 0;
                      expect(shared->refused.load() == 2 || shared->eventfd.load() != 0 || !hinted,
                             "a hint that nobody is woken for");
                    }};
    });
    CHECK((result.failure != "") == broken);
    if (!broken) CHECK(result.complete);
  }
}

TEST_CASE(
    "the first answer of a word of hints wakes its client, further ones do not until it has "
    "looked") {
  ClientRecord<std::atomic> record{};
  const std::uint32_t per_bit = cells_per_answer_bit(kCapacity);
  CHECK(note_answer(record, kCell, kCapacity));
  CHECK_FALSE(note_answer(record, kCell, kCapacity));
  CHECK_FALSE(note_answer(record, kCell + per_bit, kCapacity));  // another bit of the same word
  const std::uint32_t bit = kCell / per_bit % kAnswerBits;
  const std::uint64_t hints = record.answered[bit / 64].exchange(0);
  CHECK((hints >> (bit % 64) & 1) == 1);
  CHECK(note_answer(record, kCell, kCapacity));
  // The last cell there can be has a bit, too.
  CHECK((kCapacity - 1) / per_bit < kAnswerBits);
}
