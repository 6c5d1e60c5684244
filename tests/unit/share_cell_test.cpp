#include <atomic>
#include <cstdint>
#include <memory>

#include <doctest/doctest.h>

#include <zeropool/lib/share_cell.hpp>

#include "tests/unit/support/schedule.hpp"

using namespace zeropool::lib;
using namespace zeropool::test;

namespace {

constexpr std::uint32_t kSlots = 2;

// One cell, two slots. Each client's application says what it reads; who has a slot to write finds nobody reading it.
template <template <typename> class Atom>
struct World {
  ShareCell<Atom> cell;
  Atom<std::uint64_t> marks[kSlots];
  Atom<std::uint32_t> readers[kSlots];  // a bit a client
  Atom<std::uint64_t> mailbox;          // the mark that a handle names
  std::uint32_t mortal = 0;             // who may be killed: what it reads counts for nothing then

  static constexpr HoldWord me(std::uint32_t client) { return HoldWord::one(client, 1); }

  Mark hold_slot(std::uint32_t slot, std::uint32_t client, std::uint64_t generation = 1) {
    const Mark held = Mark::make(generation, SlotState::kHeld, client);
    marks[slot].store(held.word);
    return held;
  }
  // By `client`, with one hold; the index of it, or kNone.
  std::uint32_t share(std::uint32_t slot, Mark held) {
    const std::uint32_t client = held.client();
    if (!begin_share(cell, client)) return kNone;
    const std::uint32_t hold = open_share(cell, {0, slot, held.generation() + 1},
                                          TransitNote::make(100, 0, 0), me(client));
    if (hold == kNone) return kNone;
    expect(commit_share(marks[slot], held, 0), "the slot was the sharer's");
    readers[slot].fetch_or(1U << client);
    return hold;
  }
  Mark shared_mark(std::uint32_t slot) { return Mark{marks[slot].load()}; }
  std::uint32_t adopt(std::uint32_t slot, Mark shared, std::uint32_t client) {
    if (marks[slot].load() != shared.word) return kNone;
    std::uint32_t hold = kNone;
    if (join_share(cell, marks[slot], shared, me(client), hold) == JoinOutcome::kJoined) {
      readers[slot].fetch_or(1U << client);
    } else {
      end_if_last(client);
    }
    return hold;
  }
  void drop(std::uint32_t slot, std::uint32_t hold, std::uint32_t client) {
    readers[slot].fetch_and(~(1U << client));
    expect(remove_hold(cell, hold, me(client)), "a hold was taken from its holder");
    end_if_last(client);
  }
  void end_if_last(std::uint32_t client) {
    if (end_share(cell, client)) take(SlotState::kHeld, client);
  }
  // The cell is Dying by `client`; the slot is put at once.
  void take(SlotState state, std::uint32_t client) {
    const SharedSlot name = named_by(cell);
    Mark taken;
    if (take_shared(marks[name.slot], name.mark(0), state, state == SlotState::kHeld ? client : 0,
                    taken)) {
      const std::uint32_t reading = readers[name.slot].load() & ~(1U << mortal);
      expect(reading == 0, "a share ended under a reader");
      free_share(cell, client);
      marks[name.slot].store(taken.next(SlotState::kFree, 0).word);
    } else {
      free_share(cell, client);
    }
  }
  // What reclaim does with the dead's marks is not this file's: they are free.
  void reclaim(std::uint32_t dead) {
    for (auto& mark : marks) {
      const Mark found{mark.load()};
      if (found.is(SlotState::kHeld, dead)) mark.store(found.next(SlotState::kFree, 0).word);
    }
    disown_share(cell, dead, false);
    if (daemon_ends(cell)) take(SlotState::kAbsent, kDaemonClient);
  }
  // Nobody is at work: the cell is free, or somebody has a hold or a ticket of what it names.
  void expect_whole(std::uint32_t still_shared = 0) {
    const ShareWord word{cell.state.load()};
    std::uint32_t holds = 0;
    for (auto& holder : cell.holders) holds += HoldWord{holder.load()}.count();
    std::uint32_t shared = 0;
    for (auto& mark : marks) {
      const Mark found{mark.load()};
      expect(found.state() != SlotState::kHeld, "somebody holds a slot that nobody knows of");
      if (found.state() == SlotState::kShared) ++shared;
    }
    expect(shared == still_shared, "a share has not ended, or ended too early");
    expect((word.state() == ShareState::kFree) == (shared == 0),
           "a cell without a share is not free");
    expect(holds == 0 || shared != 0, "a hold is left over");
    expect(holds + word.tickets() != 0 || shared == 0, "a share that nobody holds");
  }
};
using Scheduled = World<ScheduledAtomic>;

// A share of slot 0 by client 1, and so many holds and tickets.
std::shared_ptr<Scheduled> shared_world(std::uint32_t* holds, std::uint32_t clients,
                                        std::uint32_t tickets) {
  auto world = std::make_shared<Scheduled>();
  holds[1] = world->share(0, world->hold_slot(0, 1));
  if (clients + tickets > 1) hand_on(world->cell, clients - 1 + tickets);
  for (std::uint32_t client = 2; client <= clients; ++client)
    holds[client] = world->adopt(0, world->shared_mark(0), client);
  return world;
}

// Tickets that make no new version of the state word.
template <template <typename> class Atom>
bool broken_tickets(ShareCell<Atom>& cell, std::uint64_t by) {
  std::uint64_t found = cell.state.load();
  do {
    if (ShareWord{found}.state() != ShareState::kAlive ||
        (by != 1 && ShareWord{found}.tickets() == 0))
      return false;
  } while (!cell.state.compare_exchange_strong(found, found + (by << ShareWord::kOperandShift)));
  return true;
}

}  // namespace

TEST_CASE("the words of a share hold what they are given") {
  ShareWord word;
  CHECK(word.state() == ShareState::kFree);
  const ShareWord opening = word.next(ShareState::kOpening, kMaxClientId);
  CHECK(opening.client() == kMaxClientId);
  CHECK(opening.tickets() == 0);
  const ShareWord alive = opening.next(ShareState::kAlive, ShareWord::kMostTickets);
  CHECK(alive.tickets() == ShareWord::kMostTickets);
  CHECK(alive.client() == 0);
  CHECK_FALSE(alive.next(ShareState::kAlive, ShareWord::kMostTickets) == alive);
  const HoldWord hold = HoldWord::one(kMaxClientId, 255);
  CHECK(hold.client() == kMaxClientId);
  CHECK(hold.count() == 1);
  CHECK_FALSE(hold.same_holder(HoldWord::one(kMaxClientId, 254)));
}

TEST_CASE("a share lasts until its last hold, and each ticket is good for one") {
  World<std::atomic> world;
  const std::uint32_t first = world.share(0, world.hold_slot(0, 1));
  REQUIRE(first != kNone);
  const Mark shared = world.shared_mark(0);
  CHECK(world.adopt(0, shared, 2) == kNone);  // no ticket
  REQUIRE(hand_on(world.cell, 2));
  const std::uint32_t second = world.adopt(0, shared, 2);
  const std::uint32_t again = world.adopt(0, shared, 2);  // the same word
  CHECK(again == second);
  CHECK(world.adopt(0, shared, 3) == kNone);
  world.drop(0, first, 1);
  world.drop(0, second, 2);
  world.expect_whole(1);
  CHECK(end_own_share(world.cell, world.me(2), again));
  REQUIRE(remove_hold(world.cell, again, world.me(2)));
  world.readers[0].store(0);
  world.take(SlotState::kHeld, 2);
  world.expect_whole();
  CHECK(world.adopt(0, shared, 3) == kNone);  // stale
}

TEST_CASE(
    "as many clients as there are words can hold a share, and one more cannot, and loses nothing") {
  World<std::atomic> world;
  world.share(0, world.hold_slot(0, 1));
  REQUIRE(hand_on(world.cell, 100));
  const Mark shared = world.shared_mark(0);
  std::uint32_t hold = kNone;
  for (std::uint32_t client = 2; client <= kShareHolders; ++client) {
    REQUIRE(join_share(world.cell, world.marks[0], shared, world.me(client), hold) ==
            JoinOutcome::kJoined);
  }
  const std::uint64_t before = world.cell.state.load();
  CHECK(join_share(world.cell, world.marks[0], shared, world.me(99), hold) == JoinOutcome::kFull);
  CHECK(world.cell.state.load() == before);
  CHECK(join_share(world.cell, world.marks[0], shared, world.me(2), hold) == JoinOutcome::kJoined);
  CHECK_FALSE(hand_on(world.cell, ShareWord::kMostTickets));
}

TEST_CASE("a dead client with direct I/O leaves its hold to the daemon") {
  World<std::atomic> world;
  const std::uint32_t first = world.share(0, world.hold_slot(0, 1));
  REQUIRE(hand_on(world.cell, 1));
  REQUIRE(world.adopt(0, world.shared_mark(0), 2) != kNone);
  CHECK(disown_share(world.cell, 2, true) == 1);
  CHECK_FALSE(daemon_ends(world.cell));
  world.readers[0].store(1U << 1);
  world.drop(0, first, 1);
  world.expect_whole(1);  // not the client's to end
  CHECK(daemon_ends(world.cell));
  CHECK(daemon_ends(world.cell));  // a daemon that was killed here
}

TEST_CASE("of two who drop at once one ends the share" * doctest::skip(!kCanSchedule)) {
  const Explored result = explore([] {
    std::uint32_t holds[3];
    auto world = shared_world(holds, 2, 0);
    const auto drop = [=](std::uint32_t client, std::uint32_t hold) {
      return [=] { world->drop(0, hold, client); };
    };
    return Script{{{drop(1, holds[1])}, {drop(2, holds[2])}}, [=] { world->expect_whole(); }};
  });
  CHECK(result.failure == "");
  CHECK(result.complete);
}

TEST_CASE("who adopts while the last one drops has a hold, or a stale handle, never neither" *
          doctest::skip(!kCanSchedule)) {
  for (const std::uint32_t tickets : {0U, 1U}) {
    const Explored result = explore([tickets] {
      std::uint32_t holds[3];
      auto world = shared_world(holds, 1, tickets);
      const Mark shared = world->shared_mark(0);
      const std::uint32_t hold = holds[1];
      return Script{{{[=] { world->drop(0, hold, 1); }}, {[=] {
                       const std::uint32_t own = world->adopt(0, shared, 2);
                       expect((own != kNone) == (tickets == 1),
                              "a ticket is good for one adoption");
                       if (own != kNone) world->drop(0, own, 2);
                     }}},
                    [=] { world->expect_whole(); }};
    });
    CHECK(result.failure == "");
    CHECK(result.complete);
  }
}

TEST_CASE(
    "a share does not end under a hold that came while the holds were looked at; tickets without a "
    "version are caught" *
    doctest::skip(!kCanSchedule)) {
  for (const bool broken : {false, true}) {
    const Explored result = explore(
        [broken] {
          std::uint32_t holds[3];
          auto world = shared_world(holds, 2, 0);
          // Client 3's word comes before client 2's.
          const std::uint32_t first = holds[1];
          const std::uint32_t second = holds[2];
          const Mark shared = world->shared_mark(0);
          const auto hands_on = [=] {
            const bool handed = broken ? broken_tickets(world->cell, 1) : hand_on(world->cell, 1);
            expect(handed, "a holder can hand on");
            world->mailbox.store(shared.word);
            world->drop(0, second, 2);
          };
          const auto adopts = [=] {
            if (world->mailbox.load() == 0) return;
            std::uint32_t hold = kNone;
            if (broken) {
              hold = add_hold(world->cell, world->me(3));
              expect(broken_tickets(world->cell, ~std::uint64_t{0}), "there was a ticket");
              world->readers[0].fetch_or(1U << 3);
            } else {
              hold = world->adopt(0, shared, 3);
              expect(hold != kNone, "there was a ticket");
            }
            world->drop(0, hold, 3);
          };
          return Script{{{[=] { world->drop(0, first, 1); }}, {hands_on}, {adopts}}, [=] {
                          // Without a look at the mailbox in time the ticket is still out.
                          if (ShareWord{world->cell.state.load()}.tickets() == 0)
                            world->expect_whole();
                        }};
        },
        {.runs = 2'000'000, .preemptions = 3});
    CHECK((result.failure != "") == broken);
    if (!broken) CHECK(result.complete);
  }
}

TEST_CASE("a late handle of an ended share takes nothing of the next one in its cell" *
          doctest::skip(!kCanSchedule)) {
  const Explored result = explore(
      [] {
        std::uint32_t holds[3];
        auto world = shared_world(holds, 1, 0);
        const Mark old = world->shared_mark(0);
        const std::uint32_t hold = holds[1];
        const Mark next = world->hold_slot(1, 2);
        return Script{{{[=] { world->drop(0, hold, 1); }},
                       {[=] {
                         const std::uint32_t own = world->share(1, next);
                         if (own == kNone) {  // the cell is not free yet
                           world->marks[1].store(next.next(SlotState::kFree, 0).word);
                           return;
                         }
                         expect(hand_on(world->cell, 1), "the sharer has a hold");
                         world->drop(1, own, 2);
                         const std::uint32_t joined =
                             world->adopt(1, next.next(SlotState::kShared, 0), 2);
                         expect(joined != kNone, "somebody took a ticket that was not its own");
                         world->drop(1, joined, 2);
                       }},
                       {[=] { expect(world->adopt(0, old, 3) == kNone, "a late handle"); }}},
                      [=] { world->expect_whole(); }};
      },
      {.runs = 2'000'000, .preemptions = 3});
  CHECK(result.failure == "");
  CHECK(result.complete);
}

TEST_CASE("sharing, adopting and dropping, killed after every access, lose nothing" *
          doctest::skip(!kCanSchedule)) {
  for (const std::uint32_t dead : {1U, 2U}) {
    const Explored result = explore_kills(
        [dead](std::uint32_t kill_after) {
          auto world = std::make_shared<Scheduled>();
          world->mortal = dead;
          const Mark held = world->hold_slot(0, 1);
          Actor sharer{[=] {
            const std::uint32_t hold = world->share(0, held);
            const Mark shared = held.next(SlotState::kShared, 0);
            if (hand_on(world->cell, 1)) world->mailbox.store(shared.word);
            world->drop(0, hold, 1);
          }};
          Actor adopter{[=] {
            for (int look = 0; look < 2; ++look) {
              const Mark shared{world->mailbox.load()};
              if (shared.word == 0) continue;
              const std::uint32_t hold = world->adopt(0, shared, 2);
              if (hold != kNone) world->drop(0, hold, 2);
              return;
            }
          }};
          (dead == 1 ? sharer : adopter).kill_after = kill_after;
          return Script{{sharer, adopter}, [=] {
                          world->reclaim(dead);
                          // The lease of a ticket that nobody used.
                          ShareWord word{world->cell.state.load()};
                          if (word.tickets() > 0) {
                            world->cell.state.store(word.next(ShareState::kAlive, 0).word);
                            if (daemon_ends(world->cell))
                              world->take(SlotState::kAbsent, kDaemonClient);
                          }
                          world->reclaim(dead);  // once more
                          world->expect_whole();
                        }};
        },
        {.runs = 1'000'000, .preemptions = 3});
    CHECK(result.failure == "");
    CHECK(result.complete);
    CHECK(result.killed > 20);
  }
}

TEST_CASE(
    "the reclaim of one holder while another one drops, killed after every access and done again, "
    "ends the share once" *
    doctest::skip(!kCanSchedule)) {
  const Explored result = explore_kills(
      [](std::uint32_t kill_after) {
        std::uint32_t holds[3];
        auto world = shared_world(holds, 2, 0);
        world->mortal = 2;  // dead already
        const std::uint32_t hold = holds[1];
        Actor daemon{[=] { world->reclaim(2); }};
        daemon.kill_after = kill_after;
        return Script{{{[=] { world->drop(0, hold, 1); }}, daemon}, [=] {
                        // What a daemon had in its hands the next one puts back.
                        for (auto& mark : world->marks) {
                          const Mark found{mark.load()};
                          if (found.state() == SlotState::kAbsent && found.generation() > 0)
                            mark.store(found.next(SlotState::kFree, 0).word);
                        }
                        world->reclaim(2);
                        world->expect_whole();
                      }};
      },
      {.runs = 1'000'000, .preemptions = 3});
  CHECK(result.failure == "");
  CHECK(result.complete);
}
