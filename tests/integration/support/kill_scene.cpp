#include "kill_scene.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <new>
#include <sys/mman.h>
#include <thread>
#include <utility>

namespace zeropool::testing {
namespace {

using namespace std::chrono_literals;

// Two magazines a thread and no spare: what is released is seen at once.
constexpr const char* kConfig = R"(budget: 16MiB
limits: {clients: 1024, threads: 32}
pages: {size: [4KiB]}
pools:
  frames:
    classes: [64KiB]
    thread_cache: 2MiB
    wait: {timeout: 5s, orders: 64}
    handoff: {lease: 100ms}
)";

std::uint64_t bystander_seed(std::size_t i) { return 0xb75ULL << 32 | i; }

}  // namespace

// In memory that all have.
struct KillScene::Shared {
  std::uint32_t client = 0;                         // the victim's; 0: it has none yet
  std::uint32_t bystanders[kSceneBystanders] = {};  // slot numbers
  Handle handle;                                    // for the victim to adopt
  std::atomic<std::uint32_t> pause{0};
  std::atomic<std::uint32_t> paused{0};
  std::atomic<std::uint64_t> worked{0};
  std::atomic<std::uint64_t> broken{0};
};

std::uint32_t KillScene::victim_client() const { return shared_->client; }

std::uint32_t slot_of(const Buffer& buffer) {
  return reinterpret_cast<const zp_buffer*>(&buffer)->slot;
}

KillScene::KillScene(const Operation& operation, Worker worker)
    : operation_(operation), daemon_(kConfig), survivor_(open(), kSceneBytes) {
  void* memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  expect(memory != MAP_FAILED, "mmap");
  shared_ = ::new (memory) Shared();
  survivor_.fill_pool();
  survivor_.put_all();
  // Resolves what the dynamic linker resolves at the first call: the children inherit it.
  Buffer one = survivor_.pool().get(kSceneBytes);
  Buffer back = survivor_.pool().adopt(std::move(one).release());
  std::array<Buffer, 2> two;
  survivor_.pool().get_batch(kSceneBytes, two);
  survivor_.pool().put_batch(two);
  const std::array<std::size_t, 2> sizes = {kSceneBytes, kSceneBytes};
  survivor_.pool().get_batch(sizes);
  SharedBuffer shared = std::move(back).share();
  shared = survivor_.pool().adopt_shared(shared.handle());
  back = std::move(shared).to_buffer();
  segment_.emplace();
  if (worker == Worker::kOne) start_worker();
}

KillScene::~KillScene() {
  worker_.reset();
  ::munmap(shared_, sizeof(Shared));
}

Pool KillScene::open() const {
  auto pool = daemon_.open();
  expect(static_cast<bool>(pool), pool.error().sentence);
  return *pool;
}

// Gets, writes, checks and puts, and never waits for anybody; stands still, with nothing held, when told to.
void KillScene::start_worker() {
  worker_ = std::make_unique<ChildProcess>([this](Link&) {
    Pool pool = open();
    for (std::uint64_t n = 0;; ++n) {
      while (shared_->pause.load() != 0) {
        shared_->paused.store(1);
        std::this_thread::sleep_for(20us);
      }
      shared_->paused.store(0);
      std::array<Buffer, 3> held;
      for (std::size_t i = 0; i < held.size(); ++i) {
        held[i] = pool.try_get(kSceneBytes);
        if (held[i]) write_pattern(held[i], n + i, Survivor::kStep);
      }
      for (std::size_t i = 0; i < held.size(); ++i) {
        if (!held[i]) continue;
        if (!has_pattern(held[i], n + i, Survivor::kStep)) shared_->broken.fetch_add(1);
        shared_->worked.fetch_add(1);
      }
    }
  });
  expect(eventually([&] { return shared_->worked.load() > 0; }), "the worker does not work");
}

void KillScene::pause_worker() {
  if (!worker_) return;
  shared_->pause.store(1);
  expect(eventually([&] { return shared_->paused.load() == 1; }), "the worker stands still");
}

std::size_t KillScene::others() const { return worker_ ? 2 : 1; }

std::string KillScene::text() const {
  const lib::AuditReport sum = segment_->audit();
  return std::to_string(sum.slots) + " slots: " + std::to_string(sum.free) + " free, " +
         std::to_string(sum.cached) + " cached, " + std::to_string(sum.held) + " held, " +
         std::to_string(sum.in_transit) + " in transit, " + std::to_string(sum.shared) +
         " shared, " + std::to_string(sum.daemon) + " the daemon's, " + std::to_string(sum.lost) +
         " lost, " + std::to_string(sum.doubled) + " doubled, " + std::to_string(sum.broken) +
         " broken";
}

void KillScene::find(const std::string& where, const std::string& what) {
  if (finding_.empty()) finding_ = where + ": " + what + " (" + text() + ")";
}

void KillScene::set_up() {
  if (operation_.before) operation_.before(survivor_, daemon_);
  shared_->client = 0;
  if (operation_.adopts) {
    Buffer buffer = survivor_.pool().get(kSceneBytes);
    shared_->handle = std::move(buffer).release();
  }
  if (operation_.joins) {  // only the handle keeps it
    const SharedBuffer shared = survivor_.pool().get(kSceneBytes).share();
    shared_->handle = shared.handle();
  }
  worked_before_ = shared_->worked.load();
  shared_->pause.store(0);
  if (worker_) eventually([&] { return shared_->paused.load() == 0; });
}

void KillScene::enter(Victim& victim) {
  victim.open = [this] { return open(); };
  victim.handle = shared_->handle;
  victim.held.reserve(256);
  if (!operation_.attaches) {
    victim.pool = open();
    shared_->client = victim.pool.client_id();
    // By a thread whose cache ends with it: the operation's begins empty.
    std::thread([&] {
      for (std::size_t i = 0; i < kSceneBystanders; ++i) {
        victim.bystanders[i] = victim.pool.get(kSceneBytes);
        if (!victim.bystanders[i]) return;
        write_pattern(victim.bystanders[i], bystander_seed(i), Survivor::kStep);
        shared_->bystanders[i] = slot_of(victim.bystanders[i]);
      }
    }).join();
    for (const Buffer& buffer : victim.bystanders) {
      expect(static_cast<bool>(buffer), "nothing for the bystanders: " + text());
    }
  }
  operation_.prepare(victim);
}

bool KillScene::bystanders_intact() const {
  if (shared_->client == 0 || operation_.reclaims) return true;
  const std::byte* base = first_.data() - std::uint64_t{slot_of(first_)} * kSceneBytes;
  for (std::size_t i = 0; i < kSceneBystanders; ++i) {
    const std::byte* data = base + std::uint64_t{shared_->bystanders[i]} * kSceneBytes;
    if (broken_at(data, kSceneBytes, bystander_seed(i), Survivor::kStep) != kSceneBytes)
      return false;
  }
  return true;
}

void KillScene::check_standing(const std::string& where) {
  if (!segment_->audit().clean()) find(where, "the audit of the standing victim is not clean");
  if (!first_) first_ = survivor_.pool().get(kSceneBytes);
  survivor_.take_all();
  const lib::AuditReport standing = segment_->audit();
  if (!standing.clean()) find(where, "the audit beside the standing victim is not clean");
  if (standing.free != 0) find(where, "the survivor could not get what is free");
  if (!survivor_.intact() || !bystanders_intact()) find(where, "a slot in two hands");
}

bool KillScene::wait_until_gone() {
  const auto limit = std::chrono::steady_clock::now() + 10s;
  while (segment_->clients() != others() ||
         (shared_->client != 0 && segment_->words_of(shared_->client) != 0)) {
    if (std::chrono::steady_clock::now() > limit) return false;
    std::this_thread::sleep_for(50us);  // thousands of kills wait here
  }
  return true;
}

void KillScene::check_dead(const std::string& where) {
  if (!wait_until_gone()) find(where, "words still name the dead");
  const std::uint64_t worked = shared_->worked.load() - worked_before_;
  progress_ += worked;
  least_progress_ = std::min(least_progress_, worked);
  pause_worker();
  if (!first_) first_ = survivor_.pool().get(kSceneBytes);
  if (operation_.adopts) survivor_.keep(survivor_.pool().adopt(shared_->handle));
  if (operation_.joins) survivor_.pool().adopt_shared(shared_->handle).reset();
  std::size_t all = 0;
  lib::AuditReport after;
  // What the dead had ordered may still be on its way into the pool: no look at that is a snapshot. What is lost or
  // doubled stays so.
  eventually(
      [&] {
        all = survivor_.take_all() + 1;  // and the first
        after = segment_->audit();
        return after.clean() && after.free == 0 && after.held == all;
      },
      500ms);
  if (!after.clean()) find(where, "the audit after the reclaim is not clean");
  if (after.free != 0) find(where, "the survivor could not get what is free");
  if (all + after.cached != after.slots - after.daemon - after.in_transit - after.shared)
    find(where, "the survivor got " + std::to_string(all));
  if (after.in_transit + after.shared > 0 && !operation_.leaves_in_transit)
    find(where, "something is in transit, or shared");
  if (after.held != all) find(where, "somebody else holds something");
  if (!survivor_.intact() || shared_->broken.load() != 0) find(where, "a slot in two hands");
  survivor_.put_all();
}

void KillScene::compare_with_ctl() {
  nlohmann::json said;
  // A lease may end between the two.
  const bool same = eventually([&] {
    said = daemon_.audit();
    const lib::AuditReport sum = segment_->audit();
    return said["slots"] == sum.slots && said["free"] == sum.free && said["cached"] == sum.cached &&
           said["held"] == sum.held && said["lost"] == 0 && said["doubled"] == 0 &&
           said["broken"] == 0;
  });
  if (!same) find("zeropoolctl audit", said.dump());
}

void KillScene::check_end() {
  pause_worker();
  if (finding_.empty()) compare_with_ctl();
  first_.reset();
  survivor_.put_all();
  const bool quiet = eventually([&] {
    const lib::AuditReport sum = segment_->audit();
    return sum.clean() && sum.in_transit == 0 && sum.shared == 0 && sum.held == 0;
  });
  if (!quiet) find("at the end", "something is still out");
}

}  // namespace zeropool::testing
