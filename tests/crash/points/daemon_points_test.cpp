// A daemon that kills itself before its n-th shared store, while it reclaims, grows and grants, trims, and attaches.
// After each kill its clients go on with their caches and the ring, the audit is exact, and reclaim, run (again) by
// the words alone, frees what the dead had. A new daemon that takes over: daemon_restart_points_test.cpp.

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <signal.h>
#include <string>
#include <thread>
#include <unistd.h>

#include <doctest/doctest.h>

#include <zeropool/lib/reclaim.hpp>
#include <zeropool/zeropool.hpp>

#include "tests/crash/points/daemon_scene.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;

namespace lib = zeropool::lib;

namespace {

struct DaemonWork {
  std::function<void(Scene&)> prepare;
  std::function<void(Scene&)> start;    // gives the daemon its work
  std::function<bool(Scene&)> is_done;  // it has done it
};

bool drains(const SegmentView& segment) {
  return segment.control().descriptor(0).drain_end.load() != 0;
}

// A daemon that died while orders waited has told everyone to stand behind them: those words run out by themselves, and
// until then try_get takes nothing from the ring.
void await_queue_words(const SegmentView& segment, const std::string& where) {
  std::uint64_t until = 0;
  for (std::uint32_t r = 0; r < segment.control().header().ring_count; ++r)
    until = std::max(until, segment.control().descriptor(r).queue_until_ns.load());
  const auto now = [] {
    return static_cast<std::uint64_t>(
        std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count());
  };
  if (const std::uint64_t begun = now(); until > begun) {
    CHECK_MESSAGE(until - begun <= lib::kQueueAheadNs, where << ": nobody would believe this word");
    while (now() < until) std::this_thread::sleep_for(1ms);
  }
}

// Its holds of shares, and what a daemon was about to end, become the dead's by mark.
void end_shares_by_the_words(const SegmentView& segment, std::uint32_t client) {
  const std::uint32_t cells = segment.control().header().shares_published.load();
  for (std::uint32_t n = 0; n < cells; ++n)
    lib::disown_share(segment.control().share(n), client, false);
  for (std::uint32_t n = 0; n < cells; ++n) {
    lib::SharedShareCell& cell = segment.control().share(n);
    if (!lib::daemon_ends(cell)) continue;
    const lib::SharedSlot name = lib::named_by(cell);
    lib::Mark taken;
    lib::take_shared(segment.ring(name.ring).slots[name.slot].mark, name.mark(n),
                     lib::SlotState::kHeld, client, taken);
    lib::free_share(cell, lib::kDaemonClient);
  }
}

// What a daemon that takes over does with the slots of a dead client, and with what the dead daemon had claimed.
void reclaim_by_the_words(const SegmentView& segment, std::uint32_t client) {
  if (client != 0) end_shares_by_the_words(segment, client);
  for (std::uint32_t r = 0; r < segment.control().header().ring_count; ++r) {
    // No extent is being withdrawn any more: its slots may be claimed again.
    segment.control().descriptor(r).drain_end.store(0);
    segment.control().descriptor(r).drain_begin.store(0);
    if (client != 0) lib::Reclaimer<std::atomic>(segment.ring(r), client, 0).run();
    lib::Reclaimer<std::atomic>(segment.ring(r), lib::kDaemonClient, 0).magazines_only();
  }
}

// The daemon is dead, whoever else was there too.
void check(Scene& scene, const std::string& where) {
  const SegmentView& segment = *scene.segment;
  lib::AuditReport sum = segment.audit();
  CHECK_MESSAGE(sum.clean(), where << ": " << text(sum));
  await_queue_words(segment, where);
  // The survivor goes on with what its cache and the ring have.
  for (int i = 0; i < 1000; ++i) scene.survivor.pool().try_get(kBytes).reset();
  scene.survivor.take_all();
  CHECK_MESSAGE(scene.survivor.held() >= kHeld, where);
  CHECK_MESSAGE(scene.survivor.intact(), where << ": a slot in two hands");
  sum = segment.audit();
  CHECK_MESSAGE(sum.clean(), where << ": " << text(sum));
  // What was being withdrawn is passed over until a daemon ends that; everything else can be had.
  if (!drains(segment)) CHECK_MESSAGE(sum.free == 0, where << ": " << text(sum));
  // By the words alone, and once more.
  for (int pass = 0; pass < 2; ++pass) reclaim_by_the_words(segment, scene.client);
  if (scene.client != 0) CHECK_MESSAGE(segment.magazines_of(scene.client) == 0, where);
  CHECK_MESSAGE(segment.magazines_of(lib::kDaemonClient) == 0, where);
  scene.survivor.take_all();
  sum = segment.audit();
  CHECK_MESSAGE(sum.free == 0, where << ": " << text(sum));
  CHECK_MESSAGE((sum.clean() && sum.held == scene.survivor.held()), where << ": " << text(sum));
  CHECK_MESSAGE(sum.held + sum.daemon + sum.in_transit + sum.cached == sum.slots,
                where << ": " << text(sum));
  CHECK_MESSAGE(scene.survivor.intact(), where << ": a slot in two hands");
  scene.survivor.put_all();
}

// False: the work was done before the n-th store.
bool kill_at(const DaemonWork& work, std::uint64_t n) {
  points()->disarm();
  Scene scene;
  if (work.prepare) work.prepare(scene);
  points()->arm(n);
  work.start(scene);
  bool done = false;
  const bool known = eventually([&] {
    done = scene.daemon.alive() && work.is_done(scene);
    return done || !scene.daemon.alive();
  });
  CHECK_MESSAGE(known, "the daemon is neither done nor dead, before store " << n);
  points()->disarm();
  if (!done && scene.daemon.alive()) return false;
  if (scene.other) scene.other->kill();
  if (done) {
    scene.survivor.put_all();
    return false;
  }
  check(scene, "before store " + std::to_string(n));
  return true;
}

// At every point, until the work is done before it: a few times, as how many there are is not always the same.
void sweep(const DaemonWork& work, std::uint64_t least_kills) {
  constexpr int kTooLate = 10;
  const auto begun = std::chrono::steady_clock::now();
  std::uint64_t kills = 0;
  int too_late = 0;
  for (std::uint64_t n = 1; too_late < kTooLate; ++n) {
    if (kill_at(work, n)) {
      ++kills;
    } else {
      ++too_late;
    }
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  MESSAGE(kills << " kills in " << took.count() << " s");
  CHECK(kills >= least_kills);
}

}  // namespace

TEST_CASE("a daemon killed while it reclaims leaves what reclaim finishes") {
  sweep({.prepare = start_holder,
         .start = [](Scene& scene) { scene.other->send_signal(SIGKILL); },
         .is_done = [](Scene& scene) { return scene.segment->clients() == 1; }},
        60);
}

TEST_CASE("a daemon killed while it grows a pool and grants an order loses nothing") {
  sweep({.prepare = nullptr,
         .start =
             [](Scene& scene) {
               scene.other = std::make_unique<ChildProcess>([&](Link& parent) {
                 zeropool::Pool pool = scene.open();
                 parent.send(pool.client_id());
                 std::vector<zeropool::Buffer> held;
                 for (int i = 0; i < 100; ++i) held.push_back(pool.get(kBytes));
                 parent.signal();
                 ::pause();
               });
               try {
                 scene.client = scene.other->link().receive<std::uint32_t>(10s);
               } catch (const std::exception&) {
                 // The daemon ended before it was attached.
               }
             },
         .is_done =
             [](Scene& scene) {
               try {
                 scene.other->link().await(1ms);
                 return true;
               } catch (const std::exception&) {
                 return false;
               }
             }},
        200);
}

TEST_CASE("a daemon killed while it trims loses nothing") {
  // A daemon that was killed has closed its connections some time before it has ended.
  bool answered = false;
  sweep({.prepare =
             [](Scene& scene) {
               scene.survivor.fill_pool(20ms);
               scene.survivor.put(scene.survivor.held() - kHeld);
             },
         .start = [&](Scene& scene) { answered = scene.daemon.ctl({"trim"}).exit_code == 0; },
         .is_done = [&](Scene&) { return answered; }},
        200);
}
