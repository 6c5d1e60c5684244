// C4 of magazine.hpp: whose bytes a magazine's slots may show, whoever puts what into it.

#include <atomic>
#include <cstdint>

#include <doctest/doctest.h>

#include <zeropool/lib/magazine.hpp>
#include <zeropool/lib/reclaim.hpp>

#include "tests/unit/support/test_ring.hpp"

using namespace zeropool::lib;
using PlainRing = zeropool::test::TestRing<std::atomic>;
using zeropool::test::Worker;

namespace {

constexpr std::uint32_t kAnna = user_stamp(1000);
constexpr std::uint32_t kBert = user_stamp(1001);

std::uint32_t after(std::uint32_t count, std::uint32_t users, std::uint32_t admitted) {
  Magazine<std::atomic> magazine{};
  magazine.count.store(count);
  magazine.users.store(users);
  admit(magazine, admitted);
  return magazine.users.load();
}

}  // namespace

TEST_CASE("a user id has a stamp of its own, but for those that many may have") {
  CHECK(user_stamp(0) != kNoUser);
  CHECK(kAnna != kBert);
  CHECK(user_stamp(65534) == kManyUsers);
  CHECK(user_stamp(0xfffffffe) == kManyUsers);
  CHECK(user_stamp(0xffffffff) == kManyUsers);
}

TEST_CASE(
    "a put into a magazine of another's makes it many's; into an empty or clean one, its own") {
  for (const std::uint32_t before : {kNoUser, kAnna, kBert, kManyUsers}) {
    CAPTURE(before);
    CHECK(after(0, before, kAnna) == kAnna);
    CHECK(after(0, before, kNoUser) == kNoUser);
    CHECK(after(0, before, kManyUsers) == kManyUsers);
    CHECK(after(1, before, kManyUsers) == kManyUsers);
    CHECK(after(1, before, kNoUser) == before);  // a clean slot changes nothing
  }
  CHECK(after(1, kNoUser, kAnna) == kAnna);
  CHECK(after(1, kAnna, kAnna) == kAnna);
  CHECK(after(1, kBert, kAnna) == kManyUsers);
  CHECK(after(1, kManyUsers, kAnna) == kManyUsers);
}

TEST_CASE(
    "what reclaim puts back for the dead names its user, or many where others' bytes are beside "
    "it") {
  for (const std::uint32_t stamp : {kAnna, kBert}) {
    CAPTURE(stamp);
    PlainRing ring({.cells = 4, .slots = 4});
    ring.fill_all();
    for (std::uint32_t cell = 0; cell < 4; ++cell) ring.view.cells[cell].users.store(stamp);
    Worker<std::atomic> dead(ring, 5);
    REQUIRE(dead.claim_filled());
    std::uint32_t slot = 0;
    Mark mark;
    REQUIRE(dead.get(slot, mark));
    Reclaimer<std::atomic>(ring.view, 5, 1, kAnna).run();
    bool found = false;
    for (std::uint32_t cell = 0; cell < 4; ++cell) {
      const Magazine<std::atomic>& magazine = ring.view.cells[cell];
      for (std::uint32_t i = 0; i < magazine.count.load(); ++i) {
        if (magazine.slots[i].load() != slot) continue;
        found = true;
        CHECK(magazine.users.load() == (stamp == kAnna ? kAnna : kManyUsers));
      }
    }
    CHECK(found);
  }
}
