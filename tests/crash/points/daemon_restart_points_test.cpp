// A daemon that is killed while it takes up what the one before it left, before its n-th store, is followed by one that
// takes it up; and so is one that is killed while it grows and grants, trims, takes idle caches, or gives quarantined slots new pages.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <signal.h>
#include <string>

#include <doctest/doctest.h>

#include "tests/crash/points/daemon_scene.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;

namespace lib = zeropool::lib;

namespace {

constexpr std::uint64_t kMostKills = 120;  // of one sweep: every n where there are fewer stores

// A daemon runs. The survivor has what it had, everybody else is gone, every slot can be had once, and the budget
// counts what is there.
void check_taken_up(Scene& scene, const std::string& where) {
  CHECK_MESSAGE(scene.survivor.held() >= kHeld, where);
  CHECK_MESSAGE(scene.survivor.intact(), where << ": a slot in two hands");
  CHECK_MESSAGE(eventually([&] {
                  return scene.daemon.clients() == 1 && scene.daemon.audit()["quarantined"] == 0;
                }),
                where);
  scene.survivor.fill_pool(20ms);
  CHECK_MESSAGE(scene.survivor.intact(), where << ": a slot in two hands");
  const nlohmann::json all = scene.daemon.audit();
  for (const char* count : {"lost", "doubled", "broken", "in_transit", "free"}) {
    CHECK_MESSAGE(all[count] == 0, where << ": " << count << " " << all.dump());
  }
  CHECK_MESSAGE(all["held"] == scene.survivor.held(), where << ": " << all.dump());
  // 16 MiB less metadata: nothing of it is stuck in extents that nobody counts.
  CHECK_MESSAGE(scene.survivor.held() * kBytes >= 12 << 20, where << ": " << scene.survivor.held());
  CHECK_MESSAGE(scene.survivor.held() * kBytes <= 16 << 20, where << ": " << scene.survivor.held());
  scene.survivor.put_all();
}

// False: it came up before its n-th store.
bool dies_at_start(Scene& scene, std::uint64_t n) {
  points()->arm(n);
  bool died = false;
  try {
    scene.daemon.start_again();
  } catch (const DaemonRefused& refused) {
    died = refused.end.signal == SIGKILL;
    CHECK_MESSAGE(died, refused.what());
  }
  points()->disarm();
  // It may have come up and died at a store after that.
  if (!died && scene.daemon.ctl({"status"}).exit_code != 0) {
    died = eventually([&] { return !scene.daemon.alive(); });
  }
  return died;
}

void leave_much(Scene& scene) {
  start_holder(scene);
  scene.daemon.kill9();
  scene.other->kill();
}

}  // namespace

TEST_CASE("a daemon killed while it takes up what was left is followed by one that does") {
  points()->disarm();
  std::uint64_t stores = 0;
  {
    Scene scene;
    leave_much(scene);
    CHECK_FALSE(dies_at_start(scene, CrashPoints::kJustCount));
    stores = points()->count();
    check_taken_up(scene, "never killed");
  }
  REQUIRE(stores > 200);
  const std::uint64_t stride = std::max<std::uint64_t>(1, stores / kMostKills);
  std::uint64_t kills = 0;
  for (std::uint64_t n = 1; n < stores; n += stride) {
    Scene scene;
    leave_much(scene);
    const std::string where = "before store " + std::to_string(n) + " of a take-up";
    if (dies_at_start(scene, n)) {
      ++kills;
      // Once more, soon after: what is half taken up is taken up again.
      if (dies_at_start(scene, n / 2 + 1)) ++kills;
      if (!scene.daemon.alive()) scene.daemon.start_again();
    }
    check_taken_up(scene, where);
  }
  MESSAGE(kills << " kills, " << stores << " stores in a take-up");
  CHECK(kills >= 60);
}

// A daemon that was killed has closed its connections some time before it has ended.
void trim_or_die(Scene& scene) {
  if (scene.daemon.ctl({"trim"}).exit_code == 0) return;
  CHECK(eventually([&] { return !scene.daemon.alive(); }));
}

TEST_CASE(
    "a daemon killed while it trims, or grows and grants, is followed by one that takes it up") {
  std::uint64_t kills = 0;
  for (const bool trims : {true, false}) {
    for (std::uint64_t n = 1; n < 420; n += 7) {
      points()->disarm();
      Scene scene;
      if (trims) {
        scene.survivor.fill_pool(20ms);
        scene.survivor.put(scene.survivor.held() - kHeld);
      }
      points()->arm(n);
      if (trims) {
        trim_or_die(scene);
      } else {
        for (int i = 0; i < 100 && scene.daemon.alive(); ++i) {
          scene.survivor.keep(scene.survivor.pool().get(kBytes, 5ms));
        }
      }
      points()->disarm();
      if (scene.daemon.alive())
        scene.daemon.kill9();
      else
        ++kills;
      scene.daemon.start_again();
      check_taken_up(scene, (trims ? "trim, " : "grow, ") + std::to_string(n));
    }
  }
  MESSAGE(kills << " kills");
  CHECK(kills >= 60);
}

TEST_CASE(
    "a daemon killed while it quarantines slots and replaces their pages is followed by one that "
    "does") {
  constexpr int kTooLate = 5;
  std::uint64_t kills = 0;
  int too_late = 0;
  for (std::uint64_t n = 1; too_late < kTooLate; n += 3) {
    points()->disarm();
    Scene scene;
    start_holder_for(scene, true);
    points()->arm(n);
    scene.other->kill();
    const auto is_done = [&] {
      const lib::AuditReport sum = scene.segment->audit();
      return scene.segment->clients() == 1 && sum.quarantined == 0 && sum.daemon == 0;
    };
    CHECK(eventually([&] { return !scene.daemon.alive() || is_done(); }));
    points()->disarm();
    if (scene.daemon.alive()) {
      ++too_late;
      scene.daemon.kill9();
    } else {
      ++kills;
    }
    scene.daemon.start_again();
    check_taken_up(scene, "quarantine, store " + std::to_string(n));
  }
  MESSAGE(kills << " kills");
  CHECK(kills >= 30);
}

TEST_CASE(
    "a daemon killed while it takes idle caches is followed by one that finishes, whether their "
    "thread woke or not") {
  std::uint64_t kills = 0;
  for (std::uint64_t n = 1; n < 60; n += 2) {
    points()->disarm();
    Scene scene;
    scene.other = std::make_unique<ChildProcess>([&](Link& parent) {
      zeropool::Pool pool = scene.open();
      for (;;) {
        std::vector<zeropool::Buffer> held;
        for (int i = 0; i < 12; ++i) held.push_back(pool.get(kBytes, 20ms));
        held.clear();
        parent.signal();
        parent.await();
      }
    });
    scene.other->link().await();
    points()->arm(n);
    trim_or_die(scene);
    points()->disarm();
    if (scene.daemon.alive())
      scene.daemon.kill9();
    else
      ++kills;
    // It wakes while there is no daemon: it forgets what was taken, released or not, and works on.
    const bool wakes = n % 4 == 1;
    const std::string where = "steal, store " + std::to_string(n) + (wakes ? ", woken" : "");
    if (wakes) {
      scene.other->link().signal();
      scene.other->link().await();
    }
    scene.daemon.start_again();
    // All sleep: all that they cache can be taken, if somebody knows of it.
    scene.daemon.ctl({"trim"});
    const nlohmann::json sum = scene.daemon.audit();
    CHECK_MESSAGE(sum["cached"] == 0, where << ": " << sum.dump());
    CHECK_MESSAGE(sum["held"] == kHeld, where << ": " << sum.dump());
    scene.other->link().signal();
    scene.other->link().await();
    scene.other->kill();
    check_taken_up(scene, where);
  }
  MESSAGE(kills << " kills");
  CHECK(kills >= 15);
}
