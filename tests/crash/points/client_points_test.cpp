// A client that kills itself before its n-th shared store, for every n, in everything that a client does; a worker
// goes on all the while. After each kill the daemon has reclaimed the dead, the audit is exact, no slot is in two
// hands, and the survivor gets every slot of the pool.

#include <array>
#include <chrono>
#include <new>
#include <string>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "tests/crash/broken_protocols.hpp"
#include "tests/crash/operations.hpp"
#include "tests/crash/points/crash_points.hpp"
#include "tests/integration/support/kill_scene.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;

namespace lib = zeropool::lib;

namespace {

CrashPoints& shared_points() {
  static auto* points = [] {
    void* memory = ::mmap(nullptr, sizeof(CrashPoints), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    expect(memory != MAP_FAILED, "mmap");
    return ::new (memory) CrashPoints();
  }();
  return *points;
}

class PointSweep {
 public:
  explicit PointSweep(const Operation& operation)
      : operation_(operation), scene_(operation, KillScene::Worker::kOne) {}

  // Every `stride`-th point, until the operation is over before it, or `most` kills. Stops at the first finding.
  void run(std::uint64_t stride = 1, std::uint64_t most = ~std::uint64_t{0}) {
    const auto begun = std::chrono::steady_clock::now();
    for (std::uint64_t n = 1; kills_ < most && finding().empty() && kill_at(n); n += stride) {
      ++kills_;
      if (kills_ % 16 == 0) scene_.compare_with_ctl();
    }
    if (finding().empty()) scene_.check_end();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
    MESSAGE(kills_ << " kills in " << took.count() << " s; the worker made " << scene_.progress()
                   << " gets meanwhile, " << scene_.least_progress() << " at least; " << finding());
  }
  std::uint64_t kills() const { return kills_; }
  const std::string& finding() const { return scene_.finding(); }
  std::uint64_t progress() const { return scene_.progress(); }

 private:
  // False: the operation was over before its n-th store.
  bool kill_at(std::uint64_t n) {
    CrashPoints& points = shared_points();
    points.disarm();
    scene_.set_up();
    ChildProcess victim([&](Link& parent) {
      Victim its;
      scene_.enter(its);
      count_crash_points_in(&points);
      points.arm(n);
      parent.signal();
      operation_.run(its);
      points.disarm();
    });
    victim.link().await();
    if (operation_.meanwhile) {
      siginfo_t ended{};
      while (::waitid(P_PID, static_cast<id_t>(victim.pid()), &ended,
                      WEXITED | WNOHANG | WNOWAIT) == 0 &&
             ended.si_pid == 0) {
        operation_.meanwhile(scene_.survivor(), scene_.segment());
        std::this_thread::sleep_for(20us);
      }
    }
    const End end = victim.wait(30s);
    const bool over = points.count() < n;
    const std::string where = "before store " + std::to_string(n);
    REQUIRE_MESSAGE((end.well() || (!over && end.signal == SIGKILL)),
                    where << ": " << describe(end) << " " << victim.failure());
    scene_.check_dead(where);
    return !over;
  }

  const Operation& operation_;
  KillScene scene_;
  std::uint64_t kills_ = 0;
};

// `least` kills show that the operation was there.
void sweep(const Operation& operation, std::uint64_t least, std::uint64_t stride = 1,
           std::uint64_t most = ~std::uint64_t{0}) {
  PointSweep it(operation);
  it.run(stride, most);
  CHECK(it.finding() == "");
  CHECK(it.kills() >= least);
  CHECK(it.progress() > it.kills());
}

bool somebody_waits(const SegmentView& segment) {
  const lib::ControlView& control = segment.control();
  for (std::uint32_t n = 0; n < control.header().orders_published.load(); ++n) {
    if (lib::OrderWord{control.order(n).word.load()}.state() == lib::OrderState::kPosted)
      return true;
  }
  return false;
}

// An order's scene: the survivor has all but what the victim's bystanders need; what it gives back is granted.
void leave_little(Survivor& survivor, const DaemonProcess&) {
  survivor.take_all();
  survivor.put(5 * kSceneMagazine);
}
void give_when_somebody_waits(Survivor& survivor, const SegmentView& segment) {
  if (somebody_waits(segment)) survivor.put(kSceneMagazine);
}

// Everything that can be had without waiting.
void take_the_rest(Victim& v) {
  for (;;) {
    auto buffer = v.pool.try_get(kSceneBytes);
    if (!buffer) return;
    v.held.push_back(std::move(buffer));
  }
}

}  // namespace

TEST_CASE("gets and puts killed before every store lose nothing") {
  sweep(operations::get_that_hits(), 4);
  sweep(operations::put_that_hits(), 5);
  sweep(operations::get_that_claims(), 10);
  sweep(operations::get_that_claims_and_releases(), 12);
  sweep(operations::put_that_claims_and_releases(), 12);
}

TEST_CASE("batches killed before every store lose nothing") {
  sweep(operations::get_batch(), 12);
  sweep(operations::get_batch_of_sizes(), 12);
  sweep(operations::put_batch(), 16);
}

TEST_CASE("hand-offs killed before every store come back, or are adopted once") {
  sweep(operations::release(), 4);
  sweep(operations::release_to_itself(), 4);
  sweep(operations::adopt(), 3);
}

TEST_CASE("shared buffers killed before every store come back once, from whatever share is left") {
  sweep(operations::share(), 10);
  sweep(operations::put_last_hold(), 8);
  sweep(operations::hand_share_on(), 1);
  sweep(operations::unshare(), 5);
  sweep(operations::adopt_shared(), 2);
  sweep(operations::adopt_shared_and_put(), 8);
}

TEST_CASE("an order killed before every store leaves no cell and no grant behind") {
  // The survivor has all; what it gives back is granted.
  sweep({.prepare = take_the_rest,
         .run = [](Victim& v) { v.held.push_back(v.pool.get(kSceneBytes, 10s)); },
         .meanwhile = give_when_somebody_waits,
         .before = leave_little},
        20);
}

TEST_CASE("an order of a batch killed before every store leaves no cell and no grant behind") {
  sweep({.prepare = take_the_rest,
         .run =
             [](Victim& v) {
               const std::array<std::size_t, 3> sizes = {kSceneBytes, 1, kSceneBytes};
               zp_buffer raw[3];
               zp_get_batch(v.pool.c_pool(), sizes.data(), sizes.size(), raw);
             },
         .meanwhile = give_when_somebody_waits,
         .before = leave_little},
        20);
}

TEST_CASE("a thread's exit killed before every store loses nothing") {
  sweep({.prepare = [](Victim& v) { v.take(1); },
         .run =
             [](Victim& v) {
               std::thread([&] {
                 v.held.push_back(v.pool.get(kSceneBytes));
                 for (std::size_t i = 0; i < kSceneMagazine + 2; ++i) operations::get(v);
                 v.put(kSceneMagazine);
               }).join();
             }},
        100);
}

TEST_CASE("an attach, first get and detach killed before every store lose nothing") {
  sweep({.prepare = [](Victim&) {},
         .run =
             [](Victim& v) {
               v.pool = v.open();
               v.take(3);
               v.put(3);
               v.pool = zeropool::Pool();
             },
         .attaches = true},
        30);
}

TEST_CASE("a client killed before every store while the pool grows for it loses nothing") {
  sweep({.prepare = [](Victim&) {},
         .run =
             [](Victim& v) {
               v.pool = v.open();
               v.take(kSceneMagazine + 4);
             },
         .attaches = true,
         .before =
             [](Survivor& survivor, const DaemonProcess& daemon) {
               survivor.put_all();
               expect(daemon.ctl({"trim"}).exit_code == 0, "trim");
               expect(daemon.audit()["daemon"] > 4 * kSceneMagazine, "trim has left too much");
             }},
        60);
}

TEST_CASE("clients killed at many stores while the pool shrinks lose nothing") {
  static bool trimmed = false;
  static const DaemonProcess* trimmer = nullptr;
  sweep({.prepare = [](Victim& v) { v.take(1); },
         .run =
             [](Victim& v) {
               const auto begun = std::chrono::steady_clock::now();
               while (std::chrono::steady_clock::now() - begun < 30ms) {
                 const std::size_t before = v.held.size();
                 for (std::size_t i = 0; i < 3 * kSceneMagazine; ++i) {
                   auto buffer = v.pool.try_get(kSceneBytes);
                   if (buffer) v.held.push_back(std::move(buffer));
                 }
                 v.put(v.held.size() - before);
               }
             },
         .meanwhile =
             [](Survivor&, const SegmentView&) {
               if (trimmer != nullptr && !std::exchange(trimmed, true)) trimmer->ctl({"trim"});
             },
         .before =
             [](Survivor& survivor, const DaemonProcess& daemon) {
               trimmed = false;
               trimmer = &daemon;
               survivor.fill_pool(5ms);
               survivor.put_all();
             }},
        40, 2503, 40);
}

TEST_CASE(
    "a fork that uses the pool, killed before every store of parent or child, loses nothing") {
  sweep({.prepare = [](Victim& v) { v.take(2); },
         .run =
             [](Victim& v) {
               const pid_t child = ::fork();
               if (child == 0) {
                 auto its = v.pool.get(kSceneBytes);
                 v.held.back().reset();  // inherited: inert
                 its.reset();
                 ::_exit(0);
               }
               operations::get(v);
               ::waitpid(child, nullptr, 0);
               v.put(2);
             }},
        30);
}

TEST_CASE("protocols broken on purpose are found by the same sweep") {
  for (auto* run : {&broken::get_with_count_before_mark, &broken::put_with_mark_before_count}) {
    const Operation operation = broken::operation(run);
    PointSweep it(operation);
    it.run();
    CHECK(it.finding() != "");
  }
}
