#include <atomic>
#include <cstdint>

#include <doctest/doctest.h>

#include <zeropool/lib/slot_mark.hpp>

using namespace zeropool::lib;

TEST_CASE("a mark keeps generation, state and client apart") {
  const std::uint64_t generations[] = {0, 1, 0xffffffffULL, (std::uint64_t{1} << 40) - 1};
  const std::uint32_t clients[] = {0, 1, kMaxClientId, kDaemonClient};
  for (const std::uint64_t generation : generations) {
    for (std::uint32_t state = 0; state <= 6; ++state) {
      for (const std::uint32_t client : clients) {
        const Mark mark = Mark::make(generation, static_cast<SlotState>(state), client);
        CHECK(mark.generation() == generation);
        CHECK(mark.state() == static_cast<SlotState>(state));
        CHECK(mark.client() == client);
        CHECK(mark.is(static_cast<SlotState>(state), client));
        CHECK_FALSE(mark.is(static_cast<SlotState>(state), client ^ 1U));
      }
    }
  }
}

TEST_CASE("a page never written is an absent slot of the daemon") {
  CHECK(Mark{}.state() == SlotState::kAbsent);
  CHECK_FALSE(Mark{}.is_free());
}

TEST_CASE("with_holder keeps the generation, next starts another") {
  const Mark mark = Mark::make(41, SlotState::kHeld, 7);
  CHECK(mark.with_holder(SlotState::kInTransit, 9) == Mark::make(41, SlotState::kInTransit, 9));
  CHECK(mark.next(SlotState::kFree, 0) == Mark::make(42, SlotState::kFree, 0));
  CHECK(mark.next(SlotState::kFree, 0).is_free());
}

TEST_CASE("the last generation wraps to 0 and touches no other field") {
  const Mark last = Mark::make((std::uint64_t{1} << 40) - 1, SlotState::kHeld, kMaxClientId);
  CHECK(last.next(SlotState::kHeld, kMaxClientId) == Mark::make(0, SlotState::kHeld, kMaxClientId));
}

TEST_CASE("a note keeps bytes from 1 to 1 GiB, receiver and tag apart") {
  for (const std::uint64_t bytes :
       {std::uint64_t{1}, std::uint64_t{4097}, std::uint64_t{1} << 30}) {
    for (const std::uint32_t receiver : {0U, 1U, kDaemonClient}) {
      for (const std::uint32_t tag : {0U, 1U, (1U << 14) - 1}) {
        const TransitNote note = TransitNote::make(bytes, receiver, tag);
        CHECK(note.bytes() == bytes);
        CHECK(note.receiver() == receiver);
        CHECK(note.tag() == tag);
      }
    }
  }
}
