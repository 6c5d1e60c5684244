#include "daemon/demand_window.hpp"

#include <doctest/doctest.h>

using zeropool::daemon::DemandWindow;
using namespace std::chrono_literals;

namespace {

struct Watched {
  explicit Watched(std::chrono::nanoseconds length) { window.set_length(length); }
  void note(std::uint64_t amount, std::chrono::nanoseconds at, bool unchanged = false) {
    window.note(amount, DemandWindow::Time(1h + at), unchanged);
  }
  bool whole(std::chrono::nanoseconds at) const {
    return window.whole(DemandWindow::Time(1h + at));
  }
  DemandWindow window;
};

}  // namespace

TEST_CASE("the most of the window stays, what is older goes") {
  Watched demand(8s);
  demand.note(100, 0s);
  for (int second = 1; second <= 8; ++second) {
    demand.note(10, std::chrono::seconds(second));
    CHECK(demand.window.peak() == 100);
  }
  demand.note(10, 9s);  // the window and an eighth have passed
  CHECK(demand.window.peak() == 10);
}

TEST_CASE("a sawtooth shorter than the window never shows less than its teeth") {
  Watched demand(8s);
  for (int second = 0; second < 200; ++second) {
    demand.note(second % 7 == 0 ? 500 : 3, std::chrono::seconds(second));
    CHECK(demand.window.peak() == 500);
  }
}

TEST_CASE("it is whole after looks all along the window, and not after a pause") {
  Watched demand(8s);
  CHECK_FALSE(demand.whole(100s));  // nothing was noted
  for (int second = 0; second < 8; ++second) {
    demand.note(1, std::chrono::seconds(second));
    CHECK_FALSE(demand.whole(std::chrono::seconds(second)));
  }
  CHECK(demand.whole(8s));
  demand.note(1, 20s);  // nobody looked for 12 s
  CHECK_FALSE(demand.whole(20s));
  CHECK(demand.window.peak() == 1);
}

TEST_CASE("a pause in which nothing could change is no gap, and keeps what was needed") {
  Watched demand(8s);
  demand.note(100, 0s);
  demand.note(7, 1s);
  demand.note(7, 10s, true);
  CHECK(demand.whole(10s));
  CHECK(demand.window.peak() == 7);  // the 100 were longer ago than the window
  demand.note(3, 12s, true);
  CHECK(demand.window.peak() == 7);
}

TEST_CASE("another length begins anew, the same one does not") {
  Watched demand(8s);
  demand.note(100, 0s);
  demand.window.set_length(8s);
  CHECK(demand.window.peak() == 100);
  demand.window.set_length(4s);
  CHECK(demand.window.peak() == 0);
  CHECK_FALSE(demand.whole(1h));
}
