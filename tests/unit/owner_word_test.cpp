#include <cstdint>

#include <doctest/doctest.h>

#include <zeropool/lib/owner_word.hpp>

using namespace zeropool::lib;

TEST_CASE("only the zero word is a magazine in the ring") {
  CHECK(OwnerWord{}.in_ring());
  CHECK_FALSE(OwnerWord::thread(1, 0, 0).in_ring());
  CHECK_FALSE(OwnerWord::daemon().in_ring());
  CHECK_FALSE(OwnerWord::grant(1, 0, 0, 0).in_ring());
}

TEST_CASE("a thread's word keeps client, epoch and thread apart") {
  for (const std::uint32_t client : {1U, 77U, kMaxClientId}) {
    for (const std::uint32_t epoch : {0U, 1U, 255U}) {
      for (const std::uint32_t thread : {0U, 1U, OwnerWord::kUncachedThread}) {
        const OwnerWord word = OwnerWord::thread(client, epoch, thread);
        CHECK(word.kind() == OwnerKind::kThread);
        CHECK(word.client() == client);
        CHECK(word.epoch() == epoch);
        CHECK(word.detail() == thread);
      }
    }
  }
}

TEST_CASE("an epoch is told modulo 256 and touches nothing else") {
  CHECK(OwnerWord::thread(5, 256 + 3, 9) == OwnerWord::thread(5, 3, 9));
}

TEST_CASE("a grant keeps order and sequence apart, the sequence modulo 2^15") {
  for (const std::uint32_t order : {0U, 1U, kMaxOrders}) {
    for (const std::uint32_t sequence : {0U, 1U, OwnerWord::kSequenceMask}) {
      const OwnerWord word = OwnerWord::grant(12, 3, order, sequence);
      CHECK(word.kind() == OwnerKind::kGrant);
      CHECK(word.client() == 12);
      CHECK(word.order() == order);
      CHECK(word.sequence() == sequence);
    }
  }
  CHECK(OwnerWord::grant(1, 1, 2, (1U << 15) + 4) == OwnerWord::grant(1, 1, 2, 4));
}

TEST_CASE("the daemon's word names the daemon, not a client") {
  CHECK(OwnerWord::daemon(3).kind() == OwnerKind::kDaemon);
  CHECK(OwnerWord::daemon(3).client() == kDaemonClient);
  CHECK(OwnerWord::daemon(3).client() > kMaxClientId);
  CHECK(OwnerWord::daemon(3).detail() == 3);
}
