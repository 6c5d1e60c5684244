#include "zeropool/lib/order_cell.hpp"

#include <atomic>
#include <memory>

#include <doctest/doctest.h>

#include "tests/unit/support/schedule.hpp"

using namespace zeropool::lib;
using namespace zeropool::test;

namespace {

// Refuses by the code alone, whichever order it is then read for.
template <template <typename> class Atom>
ErrorCode broken_reason(const OrderCell<Atom>& cell) {
  return static_cast<ErrorCode>(cell.refusal.load() & 0xff);
}

}  // namespace

TEST_CASE("a refusal says of its own order why, and nothing of another in the same cell") {
  OrderCell<std::atomic> cell{};
  const auto order = OrderWord::make(7, OrderState::kPosted, 3, 1);
  cell.word = order.word;
  CHECK(reason_of(cell, order) == ErrorCode::ok);
  note_reason(cell, order, ErrorCode::budget_exhausted);
  CHECK(reason_of(cell, order) == ErrorCode::budget_exhausted);
  CHECK(reason_of(cell, OrderWord::make(8, OrderState::kPosted, 3, 1)) == ErrorCode::ok);
  CHECK(refuse_order(cell, order, ErrorCode::stopping));
  CHECK(reason_of(cell, order) == ErrorCode::stopping);
  CHECK_FALSE(refuse_order(cell, order, ErrorCode::too_large));
  // A sequence that does not fit into a reason.
  const auto late = OrderWord::make(0xfffffff7U, OrderState::kPosted, 3, 1);
  note_reason(cell, late, ErrorCode::too_large);
  CHECK(reason_of(cell, late) == ErrorCode::too_large);
}

TEST_CASE("an order that another's refusal falls into is told nothing; a bare code is caught" *
          doctest::skip(!kCanSchedule)) {
  for (const bool broken : {false, true}) {
    const Explored result = explore([broken] {
      auto cell = std::make_shared<OrderCell<ScheduledAtomic>>();
      const auto first = OrderWord::make(1, OrderState::kPosted, 2, 0);
      const auto second = OrderWord::make(2, OrderState::kPosted, 2, 0);
      cell->word.store(first.word);
      // The client's time is up: it cancels, and orders again in the same cell.
      const auto client = [=] {
        std::uint64_t expected = first.word;
        if (!cell->word.compare_exchange_strong(expected, first.freed().word)) return;
        cell->word.store(second.with_state(OrderState::kWriting).word);
        cell->refusal.store(0);
        cell->word.store(second.word);
      };
      const auto daemon = [=] {
        if (cell->word.load() != first.word) return;
        refuse_order(*cell, first, ErrorCode::stopping);
      };
      return Script{
          {{client}, {daemon}}, [=] {
            const OrderWord now{cell->word.load()};
            if (now == first.with_state(OrderState::kRefused)) {
              expect(reason_of(*cell, first) == ErrorCode::stopping, "refused without a reason");
              return;
            }
            expect(now == second, "the second order is not posted");
            const ErrorCode said = broken ? broken_reason(*cell) : reason_of(*cell, second);
            expect(said == ErrorCode::ok, "the second order was told of the first");
          }};
    });
    CHECK((result.failure != "") == broken);
    if (!broken) CHECK(result.complete);
  }
}
