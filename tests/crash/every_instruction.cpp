// Killed after every instruction: a client is executed one instruction at a time through an operation, killed with
// SIGKILL after the first, the second, ... the last of them, and each time
//   - while it stands there, the survivor takes everything that is free, and nothing of the victim's;
//   - the audit is exact: no slot lost, doubled or broken, before the kill and after it;
//   - after the daemon's reclaim no word names the dead, and the survivor gets every slot of the pool.
// The operations run in the library as it is released; a system call is one step.

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <new>
#include <optional>
#include <set>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "tests/integration/support/daemon_process.hpp"
#include "tests/integration/support/segment_view.hpp"
#include "tests/integration/support/stepped_child.hpp"
#include "tests/integration/support/survivor.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::Handle;
using zeropool::Pool;

namespace lib = zeropool::lib;
namespace detail = zeropool::detail;

namespace {

constexpr std::size_t kBytes = 64 * 1024;
constexpr std::size_t kMagazine = 16;   // slots: 1 MiB / 64 KiB
constexpr std::size_t kBystanders = 2;  // the victim's buffers that the operation does not touch

// Two magazines a thread and no spare: what is released is seen at once.
constexpr const char* kConfig = R"(budget: 16MiB
limits: {clients: 1024, threads: 16}
pages: {size: [4KiB]}
pools:
  frames:
    classes: [64KiB]
    thread_cache: 2MiB
    wait: {timeout: 5s, orders: 64}
    handoff: {lease: 100ms}
)";

// What the victim tells before its first instruction; in memory that both have.
struct Told {
  std::uint32_t client = 0;
  std::uint32_t bystanders[kBystanders] = {};  // slot numbers
  Handle handle;                               // for the victim to adopt
};

// The victim: what it holds, and its pool.
struct Victim {
  Pool pool;
  std::vector<Buffer> held;
  std::array<Buffer, kMagazine> batch;
  Handle handle;

  void take(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      held.push_back(pool.get(kBytes));
      expect(static_cast<bool>(held.back()), zp_last_error());
    }
  }
  void put(std::size_t count) { held.resize(held.size() - count); }
};

struct Operation {
  std::function<void(Victim&)> prepare;
  std::function<void(Victim&)> run;
  // Where a slot of it may be for a moment after the reclaim: on its way, until the lease is over.
  bool leaves_in_transit = false;
  bool adopts = false;  // it is given a handle
};

// A Buffer is laid out as a zp_buffer.
std::uint32_t slot_of(const Buffer& buffer) {
  return reinterpret_cast<const zp_buffer*>(&buffer)->slot;
}
std::uint64_t bystander_seed(std::size_t i) { return 0xb75ULL << 32 | i; }

class Sweep {
 public:
  explicit Sweep(Operation operation)
      : operation_(std::move(operation)), survivor_(open(daemon_), kBytes) {
    void* memory =
        ::mmap(nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    expect(memory != MAP_FAILED, "mmap");
    told_ = ::new (memory) Told();
    survivor_.fill_pool();
    survivor_.put_all();
    // Resolves what the dynamic linker resolves at the first call: the children inherit it.
    Buffer one = survivor_.pool().get(kBytes);
    Buffer back = survivor_.pool().adopt(std::move(one).release());
    std::array<Buffer, 2> two;
    survivor_.pool().get_batch(kBytes, two);
    survivor_.pool().put_batch(two);
    const std::array<std::size_t, 2> sizes = {kBytes, kBytes};
    survivor_.pool().get_batch(sizes);
    segment_.emplace();
  }
  ~Sweep() { ::munmap(told_, sizeof(Told)); }
  Sweep(const Sweep&) = delete;
  Sweep& operator=(const Sweep&) = delete;

  // Kills after each instruction, until one kill comes too late. Stops at the first finding.
  void run() {
    const auto begun = std::chrono::steady_clock::now();
    trace();
    for (std::uint64_t n = 1; finding_.empty(); ++n) {
      const bool ended = kill_after(n);
      // Once in a while it takes a shorter way than when it was traced.
      if (ended && n > first_passes_.back().step) break;
      if (!ended) ++kills_;
      if (n % 64 == 0) compare_with_ctl();
    }
    if (finding_.empty()) compare_with_ctl();
    if (finding_.empty() && !becomes_quiet()) finding_ = "something is still out: " + text();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
    MESSAGE(kills_ << " kills in " << took.count() << " s; " << finding_);
  }
  std::uint64_t kills() const { return kills_; }
  // Empty: nothing was lost, doubled, or in two hands.
  const std::string& finding() const { return finding_; }
  // Magazines that the victim owned before and after the whole operation.
  std::pair<std::size_t, std::size_t> magazines() {
    SteppedChild victim = start();
    const std::size_t before = segment_->magazines_of(told_->client);
    victim.finish();
    const std::size_t after = segment_->magazines_of(told_->client);
    victim.kill();
    expect_gone();
    return {before, after};
  }
  Survivor& survivor() { return survivor_; }
  const SegmentView& segment() { return *segment_; }

 private:
  struct FirstPass {
    std::uint64_t step;
    std::uintptr_t place;
  };

  static Pool open(const DaemonProcess& daemon) {
    auto pool = daemon.open();
    expect(static_cast<bool>(pool), pool.error().sentence);
    return *pool;
  }

  SteppedChild start() {
    if (operation_.adopts) {
      Buffer buffer = survivor_.pool().get(kBytes);
      told_->handle = std::move(buffer).release();
    }
    return SteppedChild([this](const SteppedChild::Marks& marks) {
      Victim victim;
      victim.pool = open(daemon_);
      victim.handle = told_->handle;
      victim.held.reserve(256);
      std::array<Buffer, kBystanders> bystanders;
      // By a cache of its own, that ends: the operation's begins empty.
      std::thread([&] {
        for (std::size_t i = 0; i < kBystanders; ++i) {
          bystanders[i] = victim.pool.get(kBytes);
          write_pattern(bystanders[i], bystander_seed(i), Survivor::kStep);
          told_->bystanders[i] = slot_of(bystanders[i]);
        }
      }).join();
      told_->client = victim.pool.client_id();
      operation_.prepare(victim);
      marks.begin();
      operation_.run(victim);
      marks.end();
    });
  }

  std::string text() const {
    const lib::AuditReport sum = segment_->audit();
    return std::to_string(sum.slots) + " slots: " + std::to_string(sum.free) + " free, " +
           std::to_string(sum.cached) + " cached, " + std::to_string(sum.held) + " held, " +
           std::to_string(sum.in_transit) + " in transit, " + std::to_string(sum.daemon) +
           " the daemon's, " + std::to_string(sum.lost) + " lost, " + std::to_string(sum.doubled) +
           " doubled, " + std::to_string(sum.broken) + " broken";
  }
  void find(std::uint64_t n, const std::string& what) {
    if (finding_.empty())
      finding_ = "after instruction " + std::to_string(n) + ": " + what + " (" + text() + ")";
  }
  bool bystanders_intact() {
    const std::byte* base = first_.data() - std::uint64_t{slot_of(first_)} * kBytes;
    for (std::size_t i = 0; i < kBystanders; ++i) {
      const std::byte* data = base + std::uint64_t{told_->bystanders[i]} * kBytes;
      if (broken_at(data, kBytes, bystander_seed(i), Survivor::kStep) != kBytes) return false;
    }
    return true;
  }

  // Where it first passes which instruction: a breakpoint leads there faster than steps.
  void trace() {
    SteppedChild victim = start();
    const std::vector<std::uintptr_t> places = victim.trace();
    victim.kill();
    expect_gone();
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
  void expect_gone() {
    expect(eventually([&] { return segment_->words_of(told_->client) == 0; }), "not reclaimed");
  }

  // True: the operation was over before.
  bool kill_after(std::uint64_t n) {
    SteppedChild victim = start();
    go_to(victim, n);
    const bool ended = victim.at_end();
    // The victim stands, as if for ever.
    if (!segment_->audit().clean()) find(n, "the audit of the standing victim is not clean");
    if (!first_) first_ = survivor_.pool().get(kBytes);
    survivor_.take_all();
    const lib::AuditReport standing = segment_->audit();
    if (!standing.clean()) find(n, "the audit beside the standing victim is not clean");
    if (standing.free != 0) find(n, "the survivor could not get what is free");
    if (!survivor_.intact() || !bystanders_intact()) find(n, "a slot in two hands");
    victim.kill();
    if (!eventually([&] { return segment_->words_of(told_->client) == 0; }))
      find(n, "words still name the dead");
    if (operation_.adopts) survivor_.keep(survivor_.pool().adopt(told_->handle));
    const std::size_t all = survivor_.take_all() + 1;  // and the first
    const lib::AuditReport after = segment_->audit();
    if (!after.clean()) find(n, "the audit after the reclaim is not clean");
    if (all != after.slots - after.daemon - after.in_transit)
      find(n, "the survivor got " + std::to_string(all));
    if (after.in_transit > 0 && !operation_.leaves_in_transit) find(n, "something is in transit");
    if (after.held != all) find(n, "held");
    if (!survivor_.intact()) find(n, "a slot in two hands");
    survivor_.put_all();
    return ended;
  }

  void compare_with_ctl() {
    const nlohmann::json said = daemon_.audit();
    const lib::AuditReport sum = segment_->audit();
    const bool same = said["slots"] == sum.slots && said["free"] == sum.free &&
                      said["cached"] == sum.cached && said["held"] == sum.held &&
                      said["lost"] == 0 && said["doubled"] == 0 && said["broken"] == 0;
    if (!same && finding_.empty())
      finding_ = "zeropoolctl audit says " + said.dump() + ", the segment " + text();
  }
  // The survivor gives everything back: all free.
  bool becomes_quiet() {
    first_.reset();
    survivor_.put_all();
    return eventually([&] {
      const lib::AuditReport sum = segment_->audit();
      return sum.clean() && sum.in_transit == 0 && sum.held == 0;
    });
  }

  Operation operation_;
  DaemonProcess daemon_{kConfig};
  Survivor survivor_;
  std::optional<SegmentView> segment_;
  Buffer first_;
  Told* told_ = nullptr;
  std::vector<FirstPass> first_passes_;
  std::uint64_t kills_ = 0;
  std::string finding_;
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

// In the victim: whether the next put must claim.
bool all_its_magazines_are_full(const Victim& victim) {
  const SegmentView segment;
  const lib::SharedRingView ring = segment.ring();
  for (std::uint32_t cell = 0; cell < ring.cell_bound(); ++cell) {
    const lib::OwnerWord owner{ring.cells[cell].owner.load()};
    if (owner.in_ring() || owner.client() != victim.pool.client_id()) continue;
    if (ring.cells[cell].count.load() < kMagazine) return false;
  }
  return true;
}

// Kills all over it; `least` kills show that the operation was there.
void sweep(Operation operation, std::uint64_t least, int magazines_change) {
  if (!permitted()) return;
  Sweep it(std::move(operation));
  const auto [before, after] = it.magazines();
  CHECK(static_cast<int>(after) - static_cast<int>(before) == magazines_change);
  it.run();
  CHECK(it.finding() == "");
  CHECK(it.kills() >= least);
}

}  // namespace

TEST_CASE("a get that hits, killed after every instruction, loses nothing") {
  sweep({.prepare = [](Victim& v) { v.take(2), v.put(1); },
         .run = [](Victim& v) { v.held.push_back(v.pool.get(kBytes)); }},
        20, 0);
}

TEST_CASE("a put that hits, killed after every instruction, loses nothing") {
  sweep({.prepare = [](Victim& v) { v.take(2); }, .run = [](Victim& v) { v.held.back().reset(); }},
        20, 0);
}

TEST_CASE("a get that claims a magazine, killed after every instruction, loses nothing") {
  sweep({.prepare = [](Victim& v) { v.take(kMagazine); },
         .run = [](Victim& v) { v.held.push_back(v.pool.get(kBytes)); }},
        200, 1);
}

TEST_CASE("a get that claims one magazine and releases another, killed after every instruction") {
  sweep({.prepare = [](Victim& v) { v.take(2 * kMagazine); },
         .run = [](Victim& v) { v.held.push_back(v.pool.get(kBytes)); }},
        200, 0);
}

TEST_CASE("a put that claims room and releases a magazine, killed after every instruction") {
  // Two full magazines are the thread's; the third makes one of them leave.
  sweep({.prepare =
             [](Victim& v) {
               v.take(4 * kMagazine);
               do {
                 v.put(1);
               } while (!all_its_magazines_are_full(v));
             },
         .run = [](Victim& v) { v.held.back().reset(); }},
        200, 0);
}

TEST_CASE("a release for hand-off, killed after every instruction, comes back by its lease") {
  sweep({.prepare = [](Victim& v) { v.take(2); },
         .run = [](Victim& v) { v.handle = std::move(v.held.back()).release(); },
         .leaves_in_transit = true},
        100, 0);
}

TEST_CASE("a release to a receiver, killed after every instruction, comes back by its death") {
  sweep({.prepare = [](Victim& v) { v.take(2); },
         .run = [](Victim& v) { v.handle = std::move(v.held.back()).release(v.pool.client_id()); }},
        100, 0);
}

TEST_CASE(
    "an adoption, killed after every instruction: the buffer is the dead's or the next adopter's") {
  sweep({.prepare = [](Victim& v) { v.take(1); },
         .run = [](Victim& v) { v.held.push_back(v.pool.adopt(v.handle)); },
         .adopts = true},
        100, 0);
}

TEST_CASE("a batch of gets over two magazines, killed after every instruction, loses nothing") {
  sweep({.prepare = [](Victim& v) { v.take(kMagazine - 2); },
         .run = [](Victim& v) { v.pool.get_batch(kBytes, std::span(v.batch).first(5)); }},
        300, 1);
}

TEST_CASE("a batch of sizes, killed after every instruction, loses nothing") {
  sweep({.prepare = [](Victim& v) { v.take(kMagazine - 2); },
         .run =
             [](Victim& v) {
               const std::array<std::size_t, 4> sizes = {kBytes, 1, kBytes, 4096};
               zp_buffer raw[4];
               zp_get_batch(v.pool.c_pool(), sizes.data(), sizes.size(), raw);
             }},
        300, 1);
}

TEST_CASE("a batch of puts over two magazines, killed after every instruction, loses nothing") {
  sweep({.prepare =
             [](Victim& v) {
               v.take(kMagazine - 3);
               v.pool.get_batch(kBytes, std::span(v.batch).first(6));
               v.put(kMagazine - 3);
             },
         .run = [](Victim& v) { v.pool.put_batch(v.batch); }},
        300, 0);
}

// Protocols broken on purpose: by hand, in the same shared memory. Each must be found.
namespace {

using Ring = detail::RingCache;

Ring& ring_of(Victim& victim) {
  const std::uint32_t index = detail::state_of(victim.pool.c_pool())->index;
  return zp_v1_thread->caches[index].load()->home[0];
}
std::uint64_t held_bits(Victim& victim) {
  return lib::Mark::holder_bits(lib::SlotState::kHeld, victim.pool.client_id());
}

void get_with_count_before_mark(Victim& victim) {
  Ring& ring = ring_of(victim);
  const std::uint32_t top = ring.loaded->count.load() - 1;
  const std::uint32_t slot = ring.loaded->slots[top].load();
  ring.loaded->count.store(top);
  const lib::Mark found{ring.slots[slot].mark.load()};
  ring.slots[slot].mark.store((found.word & ~lib::Mark::kHolderMask) | held_bits(victim));
}

void put_with_mark_before_count(Victim& victim) {
  Ring& ring = ring_of(victim);
  const std::uint32_t slot = slot_of(victim.held.back());
  const lib::Mark held{ring.slots[slot].mark.load()};
  ring.slots[slot].mark.store(held.next(lib::SlotState::kFree, 0).word);
  const std::uint32_t count = ring.loaded->count.load();
  ring.loaded->slots[count].store(slot);
  ring.loaded->count.store(count + 1);
}

void release_before_the_mark(Victim& victim) {
  Ring& ring = ring_of(victim);
  const std::uint32_t slot = slot_of(victim.held.back());
  const lib::Mark held{ring.slots[slot].mark.load()};
  const std::uint32_t count = ring.loaded->count.load();
  ring.loaded->slots[count].store(slot);
  ring.loaded->count.store(count + 1);
  ring.loaded->owner.store(0);
  ring.slots[slot].mark.store(held.next(lib::SlotState::kFree, 0).word);
}

// Says whether the sweep found it.
bool is_found(void (*broken)(Victim&)) {
  Sweep it({.prepare = [](Victim& v) { v.take(4), v.put(2); }, .run = broken});
  it.run();
  return !it.finding().empty();
}

}  // namespace

TEST_CASE("protocols broken on purpose are found by the same sweep") {
  if (!permitted()) return;
  CHECK(is_found(&get_with_count_before_mark));
  CHECK(is_found(&put_with_mark_before_count));
  CHECK(is_found(&release_before_the_mark));
}
