// Who was refused a thread record asks for one rarely, and at once where there may be one.

#include "client/src/record_pause.hpp"

#include <cstdint>

#include <doctest/doctest.h>

using zeropool::client::RecordPause;

TEST_CASE("who is refused again and again asks ever more rarely, and never stops asking") {
  RecordPause pause;
  std::int64_t now_ns = 5'000'000'000;
  CHECK(pause.over(64, now_ns));
  std::int64_t wanted_ns = RecordPause::kFirstNs;
  for (int refusal = 0; refusal < 20; ++refusal) {
    pause.refused(64, now_ns);
    CHECK_FALSE(pause.over(64, now_ns));
    CHECK_FALSE(pause.over(64, now_ns + wanted_ns - 1));
    now_ns += wanted_ns;
    CHECK(pause.over(64, now_ns));
    wanted_ns = std::min(2 * wanted_ns, RecordPause::kMostNs);
  }
  CHECK(wanted_ns == RecordPause::kMostNs);
}

TEST_CASE("records that were published, or freed by this process, end the pause") {
  RecordPause pause;
  for (int refusal = 0; refusal < 5; ++refusal) pause.refused(64, 1'000);
  CHECK(pause.over(128, 1'001));
  pause.refused(128, 1'001);  // the first one of so many: a short pause again
  CHECK_FALSE(pause.over(128, 1'001));
  CHECK(pause.over(128, 1'001 + RecordPause::kFirstNs));
  pause.end();
  CHECK(pause.over(128, 1'001));
  pause.refused(128, 1'001);
  CHECK(pause.over(128, 1'001 + RecordPause::kFirstNs));
}
