#include <atomic>
#include <cstdint>

#include <doctest/doctest.h>

#include <zeropool/lib/audit.hpp>

#include "tests/unit/support/test_ring.hpp"

using namespace zeropool::lib;
using PlainRing = zeropool::test::TestRing<std::atomic>;

TEST_CASE("every slot is counted once, where it is") {
  PlainRing ring({.cells = 4, .slots = 10});
  ring.fill(0, {0, 1});
  ring.fill(1, {2});
  ring.view.cells[1].owner.store(OwnerWord::thread(5, 1, 1).word);
  ring.fill(2, {3});
  ring.view.cells[2].owner.store(OwnerWord::daemon().word);
  ring.give(4, 5);
  const SlotState states[] = {SlotState::kInTransit, SlotState::kShared, SlotState::kQuarantined};
  for (std::uint32_t i = 0; i < 3; ++i)
    ring.view.slots[5 + i].mark.store(Mark::make(1, states[i], 5).word);
  const AuditReport report = ring.audit();
  CHECK(report.clean());
  CHECK(report.slots == 10);
  CHECK(report.free == 2);
  CHECK(report.cached == 1);
  CHECK(report.daemon == 3);
  CHECK(report.held == 1);
  CHECK(report.in_transit == 1);
  CHECK(report.shared == 1);
  CHECK(report.quarantined == 1);
}

TEST_CASE("lost, doubled, broken and orphaned slots are each told") {
  const auto audit = [](auto&& damage) {
    PlainRing ring({.cells = 2, .slots = 2});
    ring.fill(0, {0, 1});
    CHECK(ring.audit().clean());
    damage(ring.view);
    const AuditReport report = ring.audit();
    CHECK_FALSE(report.clean());
    return report;
  };
  CHECK(audit([](auto& v) { v.cells[0].count.store(1); }).lost == 1);
  CHECK(audit([](auto& v) { v.cells[0].slots[1].store(0); }).doubled == 1);
  CHECK(audit([](auto& v) {
          v.slots[0].mark.store(Mark::make(1, SlotState::kHeld, 3).word);
        }).doubled == 1);
  CHECK(audit([](auto& v) { v.cells[0].slots[1].store(2); }).broken == 1);
  CHECK(audit([](auto& v) { v.cells[0].count.store(77); }).broken == 1);
  CHECK(audit([](auto& v) {
          v.cells[0].count.store(1);
          v.slots[1].mark.store(Mark::make(1, SlotState::kOrphaned, 0).word);
        }).orphaned == 1);
  CHECK(audit([](auto& v) {
          v.cells[0].count.store(1);
          v.slots[1].mark.store(Mark::make(1, static_cast<SlotState>(15), 0).word);
        }).broken == 1);
}

TEST_CASE("a member of a dead thread's magazine that is still marked held is in the magazine") {
  PlainRing ring({.cells = 1, .slots = 2});
  ring.fill(0, {0, 1});
  ring.view.cells[0].owner.store(OwnerWord::thread(5, 1, 1).word);
  ring.view.slots[1].mark.store(Mark::make(1, SlotState::kHeld, 5).word);
  CHECK(ring.audit().clean());
  CHECK(ring.audit().cached == 2);
  CHECK(ring.audit().held == 0);
}
