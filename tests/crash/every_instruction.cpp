// Killed after every instruction: a client is executed one instruction at a time through an operation, killed with
// SIGKILL after the first, the second, ... the last of them, and each time
//   - while it stands there, the survivor takes everything that is free, and nothing of the victim's;
//   - the audit is exact: no slot lost, doubled or broken, before the kill and after it;
//   - after the daemon's reclaim no word names the dead, and the survivor gets every slot of the pool.
// The operations run in the library as it is released; a system call is one step.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "tests/crash/broken_protocols.hpp"
#include "tests/crash/operations.hpp"
#include "tests/integration/support/kill_scene.hpp"
#include "tests/integration/support/stepped_child.hpp"

using namespace zeropool::testing;

namespace {

class Sweep {
 public:
  explicit Sweep(const Operation& operation) : scene_(operation, KillScene::Worker::kNone) {}

  // Kills after each instruction, until one kill comes too late. Stops at the first finding. Of a long operation every
  // k-th instruction, so that there are about `most` kills.
  void run(std::uint64_t most = ~std::uint64_t{0}) {
    const auto begun = std::chrono::steady_clock::now();
    trace();
    const std::uint64_t stride = instructions_ / most + 1;
    for (std::uint64_t n = 1; finding().empty(); n += stride) {
      const bool ended = kill_after(n);
      // Once in a while it takes a shorter way than when it was traced.
      if (ended && n > first_passes_.back().step) break;
      if (!ended) ++kills_;
      if (kills_ % 64 == 0) scene_.compare_with_ctl();
    }
    if (finding().empty()) scene_.check_end();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
    MESSAGE(kills_ << " kills in " << instructions_ << " instructions, in " << took.count()
                   << " s; " << finding());
  }
  // Kills at each entry into a system call, and at each return from one.
  void run_calls() {
    const auto begun = std::chrono::steady_clock::now();
    for (std::uint64_t n = 1; finding().empty(); ++n) {
      SteppedChild victim = start();
      victim.step_calls(n);
      if (victim.at_end()) break;
      const std::string where = "at system call " + std::to_string(n);
      scene_.check_standing(where);
      victim.kill();
      scene_.check_dead(where);
      ++kills_;
    }
    if (finding().empty()) scene_.check_end();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
    MESSAGE(kills_ << " kills in " << took.count() << " s; " << finding());
  }
  std::uint64_t kills() const { return kills_; }
  const std::string& finding() const { return scene_.finding(); }
  // Magazines that the victim owned before and after the whole operation.
  std::pair<std::size_t, std::size_t> magazines() {
    SteppedChild victim = start();
    const std::size_t before = scene_.segment().magazines_of(scene_.victim_client());
    victim.finish();
    const std::size_t after = scene_.segment().magazines_of(scene_.victim_client());
    victim.kill();
    scene_.check_dead("after the whole operation");
    return {before, after};
  }

 private:
  struct FirstPass {
    std::uint64_t step;
    std::uintptr_t place;
  };

  SteppedChild start() {
    scene_.set_up();
    return SteppedChild([this](const SteppedChild::Marks& marks) {
      Victim victim;
      scene_.enter(victim);
      marks.begin();
      scene_.operation().run(victim);
      marks.end();
    });
  }

  // Where it first passes which instruction: a breakpoint leads there faster than steps.
  void trace() {
    SteppedChild victim = start();
    const std::vector<std::uintptr_t> places = victim.trace();
    victim.kill();
    scene_.check_dead("after the trace");
    instructions_ = places.size();
    std::set<std::uintptr_t> seen;
    for (std::size_t i = 0; i < places.size(); ++i) {
      if (seen.insert(places[i]).second) first_passes_.push_back({i, places[i]});
    }
  }
  void go_to(SteppedChild& victim, std::uint64_t n) {
    std::uint64_t done = 0;
    const auto after = std::upper_bound(
        first_passes_.begin(), first_passes_.end(), n,
        [](std::uint64_t step, const FirstPass& pass) { return step < pass.step; });
    const FirstPass& nearest = *(after - 1);  // the first is step 0
    if (nearest.step > 0 && victim.run_to(nearest.place)) done = nearest.step;
    victim.step(n - done);
  }

  // True: the operation was over before.
  bool kill_after(std::uint64_t n) {
    const std::string where = "after instruction " + std::to_string(n);
    SteppedChild victim = start();
    go_to(victim, n);
    const bool ended = victim.at_end();
    scene_.check_standing(where);
    victim.kill();
    scene_.check_dead(where);
    return ended;
  }

  KillScene scene_;
  std::vector<FirstPass> first_passes_;
  std::uint64_t instructions_ = 0;
  std::uint64_t kills_ = 0;
};

// Instructions of a sanitizer are not the library's, and there are too many of them.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kReleased = false;
#else
constexpr bool kReleased = true;
#endif

bool permitted() {
  static const bool is = kReleased && SteppedChild::permitted();
  if (!is) {
    MESSAGE("skipped: " << (kReleased ? "this process may not trace its children"
                                      : "built with a sanitizer"));
  }
  return is;
}

// Kills all over it; `least` kills show that the operation was there.
void sweep(const Operation& operation, std::uint64_t least, int magazines_change,
           std::uint64_t most = ~std::uint64_t{0}) {
  if (!permitted()) return;
  Sweep it(operation);
  const auto [before, after] = it.magazines();
  CHECK(static_cast<int>(after) - static_cast<int>(before) == magazines_change);
  it.run(most);
  CHECK(it.finding() == "");
  CHECK(it.kills() >= least);
}

}  // namespace

TEST_CASE("a get that hits, killed after every instruction, loses nothing") {
  sweep(operations::get_that_hits(), 20, 0);
}

TEST_CASE("a put that hits, killed after every instruction, loses nothing") {
  sweep(operations::put_that_hits(), 20, 0);
}

TEST_CASE("a get that claims a magazine, killed after every instruction, loses nothing") {
  sweep(operations::get_that_claims(), 200, 1);
}

TEST_CASE("a get that claims one magazine and releases another, killed after every instruction") {
  sweep(operations::get_that_claims_and_releases(), 200, 0);
}

TEST_CASE("a put that claims room and releases a magazine, killed after every instruction") {
  sweep(operations::put_that_claims_and_releases(), 200, 0);
}

TEST_CASE("a release for hand-off, killed after every instruction, comes back by its lease") {
  sweep(operations::release(), 100, 0);
}

TEST_CASE("a release to a receiver, killed after every instruction, comes back by its death") {
  sweep(operations::release_to_itself(), 100, 0);
}

TEST_CASE(
    "an adoption, killed after every instruction: the buffer is the dead's or the next adopter's") {
  sweep(operations::adopt(), 100, 0);
}

TEST_CASE("a buffer that is shared, killed after every instruction, comes back") {
  sweep(operations::share(), 300, 0);
}

TEST_CASE("the last hold of a share put, killed after every instruction: it comes back once") {
  sweep(operations::put_last_hold(), 300, 0);
}

TEST_CASE("a share adopted and put, killed after every instruction: it comes back once") {
  sweep(operations::adopt_shared_and_put(), 300, 0);
}

TEST_CASE("a batch of gets over two magazines, killed after every instruction, loses nothing") {
  sweep(operations::get_batch(), 300, 1);
}

TEST_CASE("a batch of sizes, killed after every instruction, loses nothing") {
  sweep(operations::get_batch_of_sizes(), 300, 1);
}

TEST_CASE("a batch of puts over two magazines, killed after every instruction, loses nothing") {
  sweep(operations::put_batch(), 300, 0);
}

// Some 10,000 instructions, most of them looks at words of others; before each of its stores it is killed in points/.
// With ZEROPOOL_EVERY_INSTRUCTION=1 in the environment after each one, which takes half an hour.
TEST_CASE("a reclaim, killed after instructions all over it, is taken up by the daemon") {
  const bool every = std::getenv("ZEROPOOL_EVERY_INSTRUCTION") != nullptr;
  sweep(operations::reclaim(), 300, -2, every ? ~std::uint64_t{0} : 400);
}

TEST_CASE("an attach, first get, put and detach killed at every system call lose nothing") {
  if (!permitted()) return;
  const Operation operation{.prepare = [](Victim&) {},
                            .run =
                                [](Victim& v) {
                                  v.pool = v.open();
                                  v.take(2);
                                  v.put(2);
                                  v.pool = zeropool::Pool();
                                },
                            .attaches = true};
  Sweep it(operation);
  it.run_calls();
  CHECK(it.finding() == "");
  CHECK(it.kills() >= 40);
}

namespace {

// Says whether the sweep found it.
bool is_found(void (*run)(Victim&)) {
  const Operation operation = broken::operation(run);
  Sweep it(operation);
  it.run();
  return !it.finding().empty();
}

}  // namespace

TEST_CASE("protocols broken on purpose are found by the same sweep") {
  if (!permitted()) return;
  CHECK(is_found(&broken::get_with_count_before_mark));
  CHECK(is_found(&broken::put_with_mark_before_count));
  CHECK(is_found(&broken::release_before_the_mark));
}
