#include <atomic>
#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/lib/hand_off.hpp>
#include <zeropool/lib/reclaim.hpp>
#include <zeropool/lib/ring_audit.hpp>

#include "tests/unit/support/test_ring.hpp"

using namespace zeropool::lib;
using namespace zeropool::test;

namespace {

using PlainRing = TestRing<std::atomic>;

// What the daemon knows by itself. Clients 1 to 3 are attached.
struct TestFacts {
  bool known(std::uint32_t client) const { return client >= 1 && client <= 3; }
  bool in_service(std::uint32_t slot) const { return slot != absent && slot != in_quarantine; }
  bool quarantined(std::uint32_t slot) const { return slot == in_quarantine; }
  bool shared(std::uint32_t slot, Mark mark) const {
    return slot == shared_slot && mark.client() == 2;
  }
  bool barrier() const { return barriers > 0 && barriers-- > 0; }
  bool outlived(Withheld, std::uint32_t, std::uint64_t) const { return all_gone; }

  std::uint32_t absent = kNone;
  std::uint32_t in_quarantine = kNone;
  std::uint32_t shared_slot = kNone;       // by cell 2
  mutable std::uint32_t barriers = kNone;  // that still succeed
  bool all_gone = false;
};

template <template <typename> class Atom>
RingFindings whole_pass(RingAudit<Atom, TestFacts>& audit, const RingView<Atom>& view,
                        TestFacts facts = {}, std::uint32_t turn = 0) {
  audit.begin(view, 0, turn);
  while (!audit.done()) audit.step(view, facts, 1);
  return audit.findings();
}

template <template <typename> class Atom>
RingFindings whole_pass(const RingView<Atom>& view, TestFacts facts = {}, std::uint32_t turn = 0) {
  RingAudit<Atom, TestFacts> audit;
  return whole_pass(audit, view, facts, turn);
}

// An audit whose memory outlives an actor that is killed, or left in the middle.
using ScheduledAudit = RingAudit<ScheduledAtomic, TestFacts>;

// Four slots in two magazines; two empty ones.
std::shared_ptr<ScheduledRing> two_magazines() {
  auto ring = std::make_shared<ScheduledRing>(RingShape{.cells = 4, .slots = 4});
  ring->fill(0, {0, 1});
  ring->fill(1, {2, 3});
  ring->view.hot(0).push(0);
  ring->view.hot(0).push(1);
  return ring;
}

// Gets one and puts it, or gets two and puts one into another magazine: slots wander from magazine to magazine.
template <template <typename> class Atom>
void wander(TestRing<Atom>& ring, std::uint32_t client, bool keeps) {
  Worker<Atom> worker(ring, client);
  if (!worker.claim_filled()) return;
  std::uint32_t slot = kNone;
  Mark mark;
  if (!worker.get(slot, mark)) return;
  worker.release();
  if (keeps || !worker.claim_with_room()) return;
  worker.put(slot, mark);
  worker.release();
}

const auto kFree = [](std::uint64_t generation) {
  return Mark::make(generation, SlotState::kFree, 0).word;
};

}  // namespace

TEST_CASE("a whole ring is left as it is, whatever its slots do") {
  PlainRing ring({.cells = 6, .slots = 9});
  ring.fill(0, {0, 1});
  ring.fill(1, {2});
  ring.view.cells[1].owner.store(OwnerWord::thread(2, 1, 1).word);
  ring.fill(2, {3});
  ring.view.cells[2].owner.store(OwnerWord::grant(3, 1, 4, 5).word);
  ring.view.slots[3].mark.store(Mark::make(1, SlotState::kHeld, 3).word);  // get 1 done, get 2 not
  ring.give(4, 1);
  const SlotState states[] = {SlotState::kInTransit, SlotState::kShared, SlotState::kQuarantined};
  for (std::uint32_t i = 0; i < 3; ++i) {
    ring.view.slots[5 + i].mark.store(Mark::make(1, states[i], 2).word);
  }
  std::vector<std::uint64_t> marks;
  for (std::uint32_t slot = 0; slot < 9; ++slot) marks.push_back(ring.view.slots[slot].mark.load());
  TestFacts facts;
  facts.absent = 8;
  facts.shared_slot = 6;
  const RingFindings findings = whole_pass(ring.view, facts);
  CHECK(findings.repairs() == 0);
  CHECK(findings.withheld == 0);
  for (std::uint32_t slot = 0; slot < 9; ++slot) {
    CHECK(ring.view.slots[slot].mark.load() == marks[slot]);
  }
  CHECK(ring.audit().clean());
}

TEST_CASE("a quarantined slot stays quarantined, and is so again where its mark was overwritten") {
  PlainRing ring({.cells = 4, .slots = 3});
  ring.fill(0, {0, 1});
  TestFacts facts;
  facts.in_quarantine = 2;
  const Mark quarantined = Mark::make(4, SlotState::kQuarantined, 0);
  ring.view.slots[2].mark.store(quarantined.word);
  CHECK(whole_pass(ring.view, facts).repairs() == 0);
  CHECK(ring.view.slots[2].mark.load() == quarantined.word);
  ring.view.slots[2].mark.store(kFree(5));
  CHECK(whole_pass(ring.view, facts).marks == 1);
  CHECK(Mark{ring.view.slots[2].mark.load()}.is(SlotState::kQuarantined, 0));
  facts.in_quarantine = kNone;  // its pages are new: absent
  facts.absent = 2;
  CHECK(whole_pass(ring.view, facts).marks == 1);
  CHECK(Mark{ring.view.slots[2].mark.load()}.is(SlotState::kAbsent, 0));
}

TEST_CASE("damage in the ring is mended while nobody has to die: each slot is there once again") {
  struct Damage {
    const char* what;
    void (*make)(PlainRing&);
    std::uint64_t RingFindings::*kind;
    std::uint64_t count;
  };
  const Damage all[] = {
      {"a count beyond the magazine", [](auto& r) { r.view.cells[0].count.store(77); },
       &RingFindings::counts, 1},
      {"a count too low", [](auto& r) { r.view.cells[0].count.store(0); }, &RingFindings::lost, 2},
      {"an entry that names no slot", [](auto& r) { r.view.cells[0].slots[0].store(99); },
       &RingFindings::entries, 1},
      {"an entry twice in its magazine", [](auto& r) { r.view.cells[0].slots[1].store(0); },
       &RingFindings::entries, 1},
      {"an entry twice in the ring", [](auto& r) { r.view.cells[0].slots[1].store(2); },
       &RingFindings::entries, 1},
      {"an entry that names an absent slot", [](auto& r) { r.view.cells[0].slots[0].store(5); },
       &RingFindings::entries, 1},
      {"a mark that names nobody",
       [](auto& r) { r.view.slots[1].mark.store(Mark::make(9, SlotState::kHeld, 77).word); },
       &RingFindings::marks, 1},
      {"a mark in transit from nobody",
       [](auto& r) { r.view.slots[1].mark.store(Mark::make(9, SlotState::kInTransit, 77).word); },
       &RingFindings::marks, 1},
      {"a mark of no state", [](auto& r) { r.view.slots[1].mark.store(~std::uint64_t{0}); },
       &RingFindings::marks, 1},
      {"a mark of zeros", [](auto& r) { r.view.slots[1].mark.store(0); }, &RingFindings::marks, 1},
      {"an orphaned mark of a slot in a magazine",
       [](auto& r) { r.view.slots[1].mark.store(Mark::make(9, SlotState::kOrphaned, 0).word); },
       &RingFindings::marks, 1},
      {"a free mark of an absent slot", [](auto& r) { r.view.slots[5].mark.store(kFree(3)); },
       &RingFindings::marks, 1},
  };
  for (const Damage& damage : all) {
    for (const std::uint32_t turn : {0U, 1U, 2U, 3U}) {
      CAPTURE(damage.what);
      CAPTURE(turn);
      PlainRing ring({.cells = 6, .slots = 6});
      ring.fill(0, {0, 1});
      ring.fill(1, {2, 3});
      ring.fill(2, {4});
      TestFacts facts;
      facts.absent = 5;
      damage.make(ring);
      RingFindings sum = whole_pass(ring.view, facts, turn);
      CHECK(sum.*damage.kind == damage.count);
      sum += whole_pass(ring.view, facts, turn);
      const AuditReport report = ring.audit();
      CHECK(report.clean());
      CHECK(report.free == 5);
      CHECK(report.daemon == 1);
      CHECK(sum.withheld == 0);
      CHECK(whole_pass(ring.view, facts, turn).repairs() == 0);
      for (std::uint32_t cell = 0; cell < 6; ++cell) CHECK(ring.view.cells[cell].owner.load() == 0);
    }
  }
}

TEST_CASE("an entry whose slot somebody holds is dropped, and the holder keeps it") {
  for (const SlotState state :
       {SlotState::kHeld, SlotState::kInTransit, SlotState::kShared, SlotState::kQuarantined}) {
    PlainRing ring({.cells = 4, .slots = 4});
    ring.fill(0, {0, 1});
    ring.fill(1, {2, 3});
    const Mark held = Mark::make(9, state, 2);
    ring.view.slots[0].mark.store(held.word);
    TestFacts facts;
    facts.shared_slot = 0;
    CHECK(whole_pass(ring.view, facts).entries == 1);
    CHECK(Mark{ring.view.slots[0].mark.load()} == held);
    CHECK(ring.audit().clean());
    CHECK(ring.audit().free == 3);
    CHECK(whole_pass(ring.view, facts).repairs() == 0);
  }
}

TEST_CASE("a slot that is marked as shared by a cell that does not name it waits, and comes back") {
  PlainRing ring({.cells = 4, .slots = 3});
  ring.fill(0, {0, 1});
  const Mark shared = Mark::make(9, SlotState::kShared, 2);
  ring.view.slots[2].mark.store(shared.word);
  TestFacts facts;
  facts.shared_slot = 1;  // the cell names another
  RingFindings findings = whole_pass(ring.view, facts);
  CHECK(findings.withheld == 1);
  CHECK(findings.repairs() == 0);
  CHECK(Mark{ring.view.slots[2].mark.load()} == shared);
  facts.all_gone = true;
  findings = whole_pass(ring.view, facts);
  CHECK(findings.lost == 1);
  CHECK(ring.audit().clean());
  CHECK(ring.audit().free == 3);
}

TEST_CASE(
    "where a damaged word leaves open who uses something, it waits until all of then have gone") {
  PlainRing ring({.cells = 5, .slots = 5});
  ring.fill(0, {0, 1});
  ring.fill(1, {2, 3});
  ring.view.slots[4].mark.store(Mark::make(9, SlotState::kHeld, 77).word);  // in no magazine
  ring.view.cells[1].owner.store(OwnerWord::thread(77, 1, 1).word);
  CHECK(whole_pass(ring.view).withheld == 2);
  CHECK(whole_pass(ring.view).repairs() == 0);
  CHECK(Mark{ring.view.slots[4].mark.load()} == Mark::make(9, SlotState::kHeld, 77));
  CHECK(ring.view.cells[1].owner.load() == OwnerWord::thread(77, 1, 1).word);
  TestFacts facts;
  facts.all_gone = true;
  const RingFindings findings = whole_pass(ring.view, facts);
  CHECK(findings.owners == 1);
  CHECK(findings.lost == 1);
  CHECK(ring.audit().clean());
  CHECK(ring.audit().free == 5);
}

TEST_CASE("owner words of every kind that name nobody are told; those of clients are left alone") {
  const auto withheld = [](OwnerWord owner) {
    PlainRing ring({.cells = 3, .slots = 2});
    ring.fill(0, {0, 1});
    ring.view.cells[0].owner.store(owner.word);
    const RingFindings findings = whole_pass(ring.view);
    CHECK(findings.repairs() == 0);
    CHECK(ring.view.cells[0].owner.load() == owner.word);
    return findings.withheld == 1;
  };
  CHECK(withheld(OwnerWord::thread(4, 1, 1)));
  CHECK(withheld(OwnerWord::grant(4, 1, 1, 1)));
  CHECK(withheld(OwnerWord::daemon()));
  CHECK(withheld(OwnerWord::make(OwnerKind::kRing, 2, 1, 1)));
  CHECK(withheld(OwnerWord{~std::uint64_t{0}}));
  CHECK_FALSE(withheld(OwnerWord::thread(2, 1, 1)));
  CHECK_FALSE(withheld(OwnerWord::grant(2, 9, 1, 1)));
}

TEST_CASE(
    "without a barrier before the magazines, and one after them, nothing is said to be lost") {
  PlainRing ring({.cells = 4, .slots = 4});
  ring.fill(0, {0, 1});
  ring.fill(1, {2, 3});
  ring.view.cells[0].count.store(0);
  for (const std::uint32_t barriers : {0U, 1U}) {
    TestFacts facts;
    facts.barriers = barriers;
    CHECK(whole_pass(ring.view, facts).repairs() == 0);
    CHECK(ring.audit().lost == 2);
  }
  CHECK(whole_pass(ring.view).lost == 2);
  CHECK(ring.audit().clean());
}

TEST_CASE("more lost slots than a pass takes up come back, pass by pass") {
  constexpr std::uint32_t kSlots = 5000;
  PlainRing ring({.cells = 200, .slots = kSlots, .magazine_slots = kMaxMagazineSlots});
  ring.fill_all();
  for (std::uint32_t cell = 0; cell < 200; ++cell) ring.view.cells[cell].count.store(0);
  TestFacts facts;
  RingAudit<std::atomic, TestFacts> audit;
  std::uint32_t first = 0;
  std::uint64_t lost = 0;
  int passes = 0;
  for (; passes < 20 && ring.audit().lost > 0; ++passes) {
    audit.begin(ring.view, first, static_cast<std::uint32_t>(passes));
    while (!audit.done()) audit.step(ring.view, facts, 64);
    first = audit.next_first_slot();
    lost += audit.findings().lost;
  }
  CHECK(lost == kSlots);
  CHECK(passes == 5);
  CHECK(ring.audit().clean());
}

TEST_CASE("any damage at all is looked at without a crash, and one more pass finds less") {
  std::uint64_t state = 1;
  const auto random = [&] {
    return state = state * 6364136223846793005ULL + 1442695040888963407ULL;
  };
  for (int round = 0; round < 2000; ++round) {
    PlainRing ring({.cells = 8, .slots = 10, .magazine_slots = 3});
    ring.fill_all();
    for (int blow = 0; blow < 4; ++blow) {
      Magazine<std::atomic>& magazine = ring.view.cells[random() >> 33 & 7];
      switch (random() >> 40 & 3) {
        case 0: magazine.count.store(static_cast<std::uint32_t>(random() >> 60)); break;
        case 1:
          magazine.slots[random() >> 62].store(static_cast<std::uint32_t>(random() >> 60));
          break;
        case 2: magazine.owner.store(random()); break;
        default: ring.view.slots[(random() >> 33) % 10].mark.store(random()); break;
      }
    }
    TestFacts facts;
    facts.all_gone = true;
    for (std::uint32_t pass = 0; pass < 4; ++pass) whole_pass(ring.view, facts, pass);
    const AuditReport report = ring.audit();
    CAPTURE(round);
    CHECK(report.lost == 0);
    CHECK(report.doubled == 0);
    CHECK(report.broken == 0);
    CHECK(whole_pass(ring.view, facts).repairs() == 0);
  }
}

TEST_CASE("an audit beside clients at work, in every order, mends nothing that was whole" *
          doctest::skip(!kCanSchedule)) {
  for (const bool keeps : {false, true}) {
    const Explored result = explore(
        [keeps] {
          auto ring = two_magazines();
          auto findings = std::make_shared<RingFindings>();
          auto auditor = std::make_shared<ScheduledAudit>();
          Actor audit{[=] { *findings = whole_pass(*auditor, ring->view); }};
          Actor one{[=] { wander(*ring, 1, keeps); }};
          Actor two{[=] { wander(*ring, 2, false); }};
          return Script{{audit, one, two}, [=] {
                          expect(findings->repairs() == 0, "something whole was mended");
                          expect(findings->withheld == 0, "something whole was withheld");
                          ring->expect_whole();
                          expect(ring->audit().cached == 0, "a magazine is still owned");
                        }};
        },
        {.runs = 150'000, .preemptions = 2});
    CHECK(result.failure == "");
    CHECK(result.runs > 10'000);
  }
}

TEST_CASE("the same at random places, with many preemptions, and a hand-off on its way" *
          doctest::skip(!kCanSchedule)) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    const Explored result = explore(
        [] {
          auto ring = two_magazines();
          auto findings = std::make_shared<RingFindings>();
          auto auditor = std::make_shared<ScheduledAudit>();
          Actor audit{[=] {
            *findings = whole_pass(*auditor, ring->view);
            *findings += whole_pass(*auditor, ring->view, {}, 1);
          }};
          Actor one{[=] {
            Worker<ScheduledAtomic> worker(*ring, 1);
            if (!worker.claim_filled()) return;
            std::uint32_t slot = kNone;
            Mark mark;
            if (!worker.get(slot, mark)) return;
            worker.release();
            std::uint64_t generation = 0;
            ring->let_go(slot, 1);
            begin_hand_off(ring->view.slots[slot], mark, TransitNote::make(1, 0, 0), generation);
            TransitNote note;
            if (!end_hand_off(ring->view.slots[slot], generation, 1, note)) return;
            ring->hold(slot, 1);
            mark = mark.next(SlotState::kHeld, 1);
            if (!worker.claim_with_room()) return;
            worker.put(slot, mark);
            worker.release();
          }};
          Actor two{[=] {
            wander(*ring, 2, false);
            wander(*ring, 2, false);
          }};
          Actor three{[=] { wander(*ring, 3, true); }};
          return Script{{audit, one, two, three}, [=] {
                          expect(findings->repairs() == 0, "something whole was mended");
                          expect(findings->withheld == 0, "something whole was withheld");
                          ring->expect_whole();
                        }};
        },
        {.runs = 10'000, .random_seed = seed});
    CHECK(result.failure == "");
    CHECK(result.runs == 10'000);
  }
}

TEST_CASE("an audit that believes plain reads of live magazines is caught" *
          doctest::skip(!kCanSchedule)) {
  // Free by its mark and not seen in one look at the magazines: put back at once, without the second look.
  const Explored result = explore(
      [] {
        auto ring = two_magazines();
        Actor audit{[=] {
          std::uint32_t seen = 0;
          for (std::uint32_t cell = 0; cell < 4; ++cell) {
            const std::uint32_t count = ring->view.cells[cell].count.load();
            for (std::uint32_t i = 0; i < count; ++i) {
              seen |= 1U << ring->view.cells[cell].slots[i].load();
            }
          }
          BatchRing<ScheduledAtomic> batch(ring->view);
          ClaimStats stats;
          for (std::uint32_t slot = 0; slot < 4; ++slot) {
            const Mark mark{ring->view.slots[slot].mark.load()};
            if ((seen >> slot & 1) != 0 || !mark.is_free()) continue;
            const std::uint32_t cell = batch.claim_with_room(OwnerWord::daemon(), stats);
            if (cell == kNone) continue;
            put_slot(ring->view.cells[cell], ring->view.slots, slot,
                     mark.with_holder(SlotState::kAbsent, 0));
            batch.release_cold(cell, OwnerWord::daemon());
          }
        }};
        Actor one{[=] { wander(*ring, 1, false); }};
        return Script{{audit, one}, [=] { ring->expect_whole(); }};
      },
      {.runs = 100'000, .preemptions = 2});
  CHECK(result.failure != "");
}

TEST_CASE(
    "a mend killed at any access, taken up and audited again, loses nothing, beside a client" *
    doctest::skip(!kCanSchedule)) {
  using Blow = void (*)(ScheduledRing&);
  const Blow blows[] = {
      [](ScheduledRing& r) { r.view.cells[0].count.store(0); },
      [](ScheduledRing& r) { r.view.cells[0].slots[0].store(9); },
      [](ScheduledRing& r) { r.view.cells[0].slots[1].store(2); },
      [](ScheduledRing& r) {
        r.view.slots[0].mark.store(Mark::make(9, SlotState::kHeld, 77).word);
      },
  };
  std::uint64_t killed = 0;
  for (const Blow blow : blows) {
    const Explored result = explore_kills(
        [blow](std::uint32_t kill_after) {
          auto ring = two_magazines();
          blow(*ring);
          auto auditor = std::make_shared<ScheduledAudit>();
          Actor audit{[=] { whole_pass(*auditor, ring->view); }, kill_after};
          Actor live{[=] { wander(*ring, 2, false); }};
          return Script{{audit, live}, [=] {
                          // As a daemon that takes it up: its magazines, then its Absent slots, then the audit.
                          Reclaimer<ScheduledAtomic>(ring->view, kDaemonClient, 0).magazines_only();
                          BatchRing<ScheduledAtomic> batch(ring->view);
                          for (std::uint32_t slot = 0; slot < 4; ++slot) {
                            const Mark mark{ring->view.slots[slot].mark.load()};
                            if (mark.state() != SlotState::kAbsent) continue;
                            ClaimStats stats;
                            const std::uint32_t cell =
                                batch.claim_with_room(OwnerWord::daemon(), stats);
                            expect(cell != kNone, "there is no room");
                            put_slot(ring->view.cells[cell], ring->view.slots, slot, mark);
                            batch.release_cold(cell, OwnerWord::daemon());
                          }
                          // Its client has ended: what its damaged word left open is given back.
                          TestFacts facts;
                          facts.all_gone = true;
                          for (std::uint32_t pass = 0; pass < 3; ++pass) {
                            whole_pass(ring->view, facts, pass);
                          }
                          ring->expect_whole();
                          expect(ring->audit().free == 4, "a slot did not come back");
                        }};
        },
        {.runs = 60'000, .preemptions = 1});
    CHECK(result.failure == "");
    CHECK(result.complete);
    killed += result.killed;
  }
  CHECK(killed > 500);
}
