#include "daemon/idle_caches.hpp"

#include <algorithm>
#include <utility>

#include <spdlog/spdlog.h>

#include "daemon/client_barrier.hpp"
#include "daemon/config_units.hpp"
#include "daemon/death.hpp"
#include "daemon/event_loop.hpp"
#include "daemon/holders.hpp"
#include "daemon/thread_counters.hpp"

namespace zeropool::daemon {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr std::uint32_t kRecordsBetweenLooks = 16;  // at the clock
constexpr std::uint64_t kLogEveryNs = 10'000'000'000;
constexpr std::uint64_t kPressLookNs = 500'000;

std::uint32_t milliseconds(std::uint64_t ns) { return static_cast<std::uint32_t>(ns / 1'000'000); }

std::uint32_t mix(std::uint32_t hash, std::uint32_t value) { return (hash ^ value) * 0x01000193U; }

}  // namespace

TakenCaches& TakenCaches::operator+=(const TakenCaches& other) {
  threads += other.threads;
  magazines += other.magazines;
  slots += other.slots;
  bytes += other.bytes;
  return *this;
}

IdleCaches::IdleCaches(Pool& pool, std::function<bool(std::uint32_t client)> lives)
    : pool_(pool), lives_(std::move(lives)), pressed_ns_(pool.memory->ring_count(), 0) {}

// Their bounds grow as slots are published.
void IdleCaches::look_at_rings() {
  rings_.clear();
  for (std::uint32_t r = 0; r < pool_.memory->ring_count(); ++r) {
    rings_.push_back({pool_.memory->ring(r), pool_.memory->plan().rings[r].first_cell});
  }
}

// Nobody comes or goes within a round: the loop thread attaches and reclaims.
void IdleCaches::look_at_clients() {
  clients_.clear();
  may_ask_.clear();
  for (const ClientInfo& client : pool_.clients) clients_[client.id] = &client;
}

bool IdleCaches::attached(lib::OwnerWord owner) const {
  const auto found = clients_.find(owner.client());
  return found != clients_.end() && (found->second->epoch & 0xffU) == owner.epoch();
}

// W1, W2: looked up once a client and round.
bool IdleCaches::may_ask(lib::OwnerWord owner) {
  if (!attached(owner)) return false;
  const auto known = may_ask_.find(owner.client());
  if (known != may_ask_.end()) return known->second;
  const pid_t pid = clients_.at(owner.client())->pid;
  return may_ask_[owner.client()] = lives_(owner.client()) && !is_stopped(pid);
}

// A record in use whose thread has answered the last steal. A plain look.
bool IdleCaches::can_be_asked(std::uint32_t thread) const {
  const lib::SharedThreadRecord& shared = record(thread);
  return shared.owner.load(std::memory_order_acquire) != 0 &&
         shared.steal.load(kRelaxed) == lib::kStealNone;
}

std::uint32_t IdleCaches::cached_slots(std::uint32_t thread, std::uint32_t ring) const {
  const lib::SharedRingRecord& named = lib::ControlView::rings_of(record(thread))[ring];
  const Ring& from = rings_[ring];
  std::uint32_t slots = 0;
  const auto add = [&](std::uint32_t number) {
    const std::uint32_t cell = number - 1 - from.first_cell;
    if (number == 0 || cell >= from.view.cell_bound()) return;
    slots += std::min(from.view.cells[cell].count.load(kRelaxed), from.view.magazine_slots);
  };
  add(lib::loaded_number(named.loaded.load(kRelaxed)));
  add(named.previous.load(kRelaxed));
  const std::uint32_t spares = std::min(named.spare_count.load(kRelaxed), lib::kMaxSpares);
  for (std::uint32_t i = 0; i < spares; ++i) add(named.spares[i].load(kRelaxed));
  return slots;
}

// Changes with every use of the ring by the thread: a get or put that its magazine serves writes that magazine's count
// word, any other settles (thread_tally.hpp).
std::uint32_t IdleCaches::uses_of(std::uint32_t thread, std::uint32_t ring) const {
  const lib::SharedRingRecord& record = lib::ControlView::rings_of(this->record(thread))[ring];
  const std::uint64_t loaded = record.loaded.load(kRelaxed);
  const std::uint32_t cell = lib::loaded_number(loaded) - 1 - rings_[ring].first_cell;
  const std::uint64_t word = cell < rings_[ring].view.cell_bound()
                                 ? rings_[ring].view.cells[cell].count.word.load(kRelaxed)
                                 : 0;
  return static_cast<std::uint32_t>(word + (loaded >> 32) + record.allocations.load(kRelaxed) +
                                    record.ring_claims.load(kRelaxed));
}

// Y3 of thread_tally.hpp: the thread is asleep, or answers, and then this is nobody's.
void IdleCaches::note_tallies(std::uint32_t thread) {
  lib::SharedThreadRecord& shared = record(thread);
  if (shared.steal.load(kRelaxed) == lib::kStealTaken) return;  // noted by who took it
  lib::SharedRingRecord* records = lib::ControlView::rings_of(shared);
  for (std::uint32_t r = 0; r < rings_.size(); ++r) {
    lib::note_taken(records[r], tally_of(pool_.memory->view(), pool_.memory->plan().rings[r],
                                         rings_[r].view.cell_bound(), shared, records[r]));
  }
}

bool IdleCaches::caches_anything(std::uint32_t thread) const {
  for (std::uint32_t r = 0; r < rings_.size(); ++r) {
    if (cached_slots(thread, r) > 0) return true;
  }
  return false;
}

template <typename Wanted>
bool IdleCaches::collect(std::uint32_t& cursor, std::uint64_t deadline_ns, Wanted wanted) {
  wanted_.clear();
  const std::uint32_t published = pool_.memory->published().threads;
  if (cursor >= published) cursor = 0;
  for (std::uint32_t looked = 0; looked < published; ++looked) {
    if (wanted_.size() >= kMostAsked) return false;
    if (looked % kRecordsBetweenLooks == kRecordsBetweenLooks - 1 && monotonic_ns() >= deadline_ns)
      return false;
    const std::uint32_t thread = cursor;
    cursor = cursor + 1 < published ? cursor + 1 : 0;
    if (can_be_asked(thread) && wanted(thread)) wanted_.push_back(thread);
  }
  return true;
}

// A ring that the thread has not used for so long, or spares that it has not: all of its caches go, the one that it
// uses is claimed again at its next get.
bool IdleCaches::went_unused(std::uint32_t thread, std::uint32_t now_ms) {
  const auto idle_ms =
      milliseconds(static_cast<std::uint64_t>(pool_.config.thread_cache_idle.count()));
  const lib::SharedRingRecord* rings = lib::ControlView::rings_of(record(thread));
  const std::size_t first = std::size_t{thread} * rings_.size();
  if (seen_.size() < first + rings_.size()) seen_.resize(first + rings_.size());
  bool unused = false;
  for (std::uint32_t r = 0; r < rings_.size(); ++r) {
    const lib::SharedRingRecord& ring = rings[r];
    const std::uint32_t uses = uses_of(thread, r);
    const std::uint32_t loaded = lib::loaded_number(ring.loaded.load(kRelaxed));
    const std::uint32_t previous = ring.previous.load(kRelaxed);
    const std::uint32_t spares = ring.spare_count.load(kRelaxed);
    const std::uint32_t magazines = mix(mix(mix(0x811c9dc5U, loaded), previous), spares);
    Seen& seen = seen_[first + r];
    if (seen.uses != uses || seen.unused_since_ms == 0) {
      seen.uses = uses;
      seen.unused_since_ms = now_ms | 1U;
    }
    if (seen.magazines != magazines || seen.unmoved_since_ms == 0) {
      seen.magazines = magazines;
      seen.unmoved_since_ms = now_ms | 1U;
    }
    const bool whole = now_ms - seen.unused_since_ms + 1 >= idle_ms;
    const bool spare = spares != 0 && now_ms - seen.unmoved_since_ms + 1 >= idle_ms;
    if ((whole || spare) && cached_slots(thread, r) > 0) unused = true;
  }
  return unused;
}

// By what the last ticks saw: a thread that they have not come to yet counts as in use.
bool IdleCaches::unused_since_tick(std::uint32_t thread) {
  const std::size_t first = std::size_t{thread} * rings_.size();
  if (seen_.size() < first + rings_.size()) return false;
  for (std::uint32_t r = 0; r < rings_.size(); ++r) {
    if (uses_of(thread, r) != seen_[first + r].uses) return false;
  }
  return true;
}

// Step 1 of cache_steal.hpp, of wanted_.
void IdleCaches::ask() {
  asked_.clear();
  for (const std::uint32_t thread : wanted_) {
    lib::SharedThreadRecord& shared = record(thread);
    const lib::OwnerWord owner{shared.owner.load(std::memory_order_acquire)};
    if (owner.kind() != lib::OwnerKind::kThread || owner.detail() != thread || !may_ask(owner))
      continue;
    if (lib::ask_for_caches(shared)) asked_.push_back({thread, owner});
  }
}

bool IdleCaches::barrier() {
  if (barrier_in_clients()) return true;
  for (const Asked& asked : asked_) lib::leave_caches(record(asked.thread));
  if (!no_barrier_) {
    spdlog::warn(
        "pool '{}': this kernel has no membarrier, or a filter forbids it: threads keep what they "
        "cache, idle or not, until they or their processes end",
        pool_.config.name);
  }
  no_barrier_ = true;
  return false;
}

// Steps 1 to 5.
TakenCaches IdleCaches::take(StealReason reason) {
  TakenCaches taken;
  if (no_barrier_) return taken;
  ask();
  if (asked_.empty() || !barrier()) return taken;
  for (const Asked& asked : asked_) {
    lib::SharedThreadRecord& shared = record(asked.thread);
    if (!lib::caches_are_idle(shared)) continue;
    list_.clear();
    steal_.list_by_record(asked.thread, lib::ControlView::rings_of(shared), asked.owner, list_);
    const bool any =
        std::any_of(list_.begin(), list_.end(), [](const auto& m) { return m.slots > 0; });
    if (!any) {
      lib::leave_caches(shared);
      continue;
    }
    note_tallies(asked.thread);
    if (!lib::take_caches(shared)) continue;
    ++taken.threads;
    release(taken);
  }
  count(taken, reason);
  return taken;
}

void IdleCaches::release(TakenCaches& taken) {
  for (const lib::StolenMagazine& magazine : list_) {
    if (!steal_.release(magazine)) continue;
    const std::uint64_t bytes =
        magazine.slots * pool_.memory->plan().rings[magazine.ring].class_bytes;
    ++taken.magazines;
    taken.slots += magazine.slots;
    taken.bytes += bytes;
    // Q1: down after the release. Nobody is reclaimed within a round.
    const auto client = clients_.find(magazine.owner.client());
    if (client != clients_.end()) charge_of(pool_, *client->second).remove(bytes);
  }
}

void IdleCaches::count(const TakenCaches& taken, StealReason reason) {
  StealCounters& counters = pool_.counters.steals[static_cast<std::size_t>(reason)];
  counters.threads += taken.threads;
  counters.bytes += taken.bytes;
  unlogged_ += taken;
  const std::uint64_t now_ns = monotonic_ns();
  if (unlogged_.threads == 0 || (logged_ns_ != 0 && now_ns - logged_ns_ < kLogEveryNs)) return;
  spdlog::debug("pool '{}': took the caches of {} idle threads: {} magazines, {}",
                pool_.config.name, unlogged_.threads, unlogged_.magazines,
                format_bytes(unlogged_.bytes));
  logged_ns_ = now_ns;
  unlogged_ = {};
}

TakenCaches IdleCaches::tick(std::uint64_t now_ns) {
  if (pool_.clients.empty() || no_barrier_) return {};
  look_at_rings();
  look_at_clients();
  if (mend_looks_left_ > 0) mend_looks_left_ = mend_broken() ? 0 : mend_looks_left_ - 1;
  const std::uint32_t now_ms = milliseconds(now_ns);
  collect(tick_cursor_, monotonic_ns() + kTickNs,
          [&](std::uint32_t thread) { return went_unused(thread, now_ms); });
  return take(StealReason::kIdle);
}

TakenCaches IdleCaches::take_for(std::uint32_t ring, std::uint64_t now_ns) {
  if (pool_.clients.empty() || no_barrier_) return {};
  if (pressed_ns_[ring] != 0 && now_ns - pressed_ns_[ring] < kPressEveryNs) return {};
  pressed_ns_[ring] = now_ns;
  look_at_rings();
  look_at_clients();
  const bool all = collect(press_cursor_, monotonic_ns() + kPressLookNs,
                           [&](std::uint32_t thread) { return cached_slots(thread, ring) > 0; });
  if (all && wanted_.empty()) {
    collect(press_cursor_, monotonic_ns() + kPressLookNs, [&](std::uint32_t thread) {
      return unused_since_tick(thread) && caches_anything(thread);
    });
  }
  return take(StealReason::kStarving);
}

TakenCaches IdleCaches::take_of(std::uint32_t client, std::uint64_t now_ns) {
  if (no_barrier_) return {};
  if (quota_ns_ != 0 && now_ns - quota_ns_ < kPressEveryNs) return {};
  quota_ns_ = now_ns;
  look_at_rings();
  look_at_clients();
  collect(quota_cursor_, monotonic_ns() + kPressLookNs, [&](std::uint32_t thread) {
    const lib::OwnerWord owner{record(thread).owner.load(kRelaxed)};
    return owner.client() == client && caches_anything(thread);
  });
  return take(StealReason::kQuota);
}

TakenCaches IdleCaches::take_all() {
  TakenCaches taken;
  if (pool_.clients.empty() || no_barrier_) return taken;
  look_at_rings();
  look_at_clients();
  const std::uint32_t published = pool_.memory->published().threads;
  for (std::uint32_t first = 0; first < published; first += kMostAsked) {
    wanted_.clear();
    const auto end =
        std::min<std::uint32_t>(published, first + static_cast<std::uint32_t>(kMostAsked));
    for (std::uint32_t thread = first; thread < end; ++thread) {
      if (can_be_asked(thread) && caches_anything(thread)) wanted_.push_back(thread);
    }
    taken += take(StealReason::kTrim);
  }
  return taken;
}

}  // namespace zeropool::daemon
