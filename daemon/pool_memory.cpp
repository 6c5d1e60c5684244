#include "daemon/pool_memory.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "daemon/pool_memory_state.hpp"

namespace zeropool::daemon {

PoolMemory::PoolMemory(std::unique_ptr<State> state) : state_(std::move(state)) {}
PoolMemory::~PoolMemory() = default;

const std::string& PoolMemory::name() const { return state_->plan.shape.name; }
const lib::ControlPlan& PoolMemory::plan() const { return state_->plan; }
const lib::ControlView& PoolMemory::view() const { return state_->view; }
lib::ControlHeader& PoolMemory::header() const { return state_->view.header(); }
lib::SharedRingView PoolMemory::ring(std::uint32_t number) const {
  return state_->ring_view(number);
}
std::uint32_t PoolMemory::ring_count() const {
  return static_cast<std::uint32_t>(state_->rings.size());
}
TableCounts PoolMemory::published() const {
  const auto& tables = state_->tables;
  return {tables[kThreads].published, tables[kOrders].published, tables[kShares].published,
          tables[kPins].published, tables[kSamples].published};
}
int PoolMemory::control_fd() const { return state_->control_fd.get(); }
int PoolMemory::data_fd(std::uint32_t arena) const { return state_->arenas[arena].fd.get(); }
std::uint32_t PoolMemory::ledger_index() const { return state_->ledger_pool; }
const std::vector<std::string>& PoolMemory::notes() const { return state_->notes; }

void PoolMemory::on_published(std::function<void(std::uint32_t)> callback) {
  state_->published = std::move(callback);
}

GrowOutcome PoolMemory::grow(std::uint32_t ring, std::uint64_t slots) {
  if (ring < ring_count()) state_->note_growth(ring, slots, State::Clock::now());
  const GrowOutcome outcome =
      state_->grow(ring, slots, std::numeric_limits<std::uint64_t>::max(), GrowFor::kOrder);
  // What is under way ahead of demand is in no haste yet.
  if (outcome == GrowOutcome::kUnderWay || outcome == GrowOutcome::kStarted) {
    state_->services.commits.hurry();
  }
  return outcome;
}
void PoolMemory::top_up() { state_->top_up(); }
TrimReport PoolMemory::trim(std::uint64_t wanted_bytes, std::uint32_t except_ring,
                            ReleaseReason reason) {
  return wanted_bytes == 0 ? TrimReport{} : state_->trim(wanted_bytes, except_ring, reason);
}
IdleLook PoolMemory::release_idle(std::uint64_t most_bytes, bool clients_attached,
                                  std::chrono::steady_clock::time_point now) {
  return state_->release_idle(most_bytes, clients_attached, now);
}
bool PoolMemory::above_floor() const { return state_->above_floor(); }
const ReleaseConfig& PoolMemory::release_config() const { return state_->release; }
void PoolMemory::no_top_up_before(std::chrono::steady_clock::time_point then) {
  state_->no_top_up_before = then;
}

StrayReport PoolMemory::punch_strays(std::uint64_t now_ns, std::uint64_t deadline_ns) {
  StrayReport report;
  state_->punch_strays(now_ns, deadline_ns, report);
  return report;
}
void PoolMemory::quarantine(std::uint32_t ring, std::uint32_t slot) {
  state_->quarantine(ring, slot);
}
void PoolMemory::replace_quarantined() {
  for (std::uint32_t ring = 0; ring < ring_count(); ++ring) state_->replace_quarantined(ring);
}
std::chrono::nanoseconds PoolMemory::next_replacement() const { return state_->next_replacement(); }
bool PoolMemory::is_quarantined(std::uint32_t ring, std::uint32_t slot) const {
  return state_->rings[ring].quarantine.slots.contains(slot);
}
std::uint64_t PoolMemory::quarantined_slots(std::uint32_t ring) const {
  return state_->rings[ring].quarantine.slots.count();
}

PoolAccount& PoolMemory::account() { return *state_->account; }
std::uint64_t PoolMemory::committed_bytes(std::uint32_t arena) const {
  return state_->arenas[arena].committed_bytes;
}
std::uint64_t PoolMemory::misplaced_bytes(std::uint32_t arena) const {
  return state_->arenas[arena].misplaced_bytes;
}
std::uint64_t PoolMemory::pinned_bytes(std::uint32_t arena) const {
  return state_->pinned_bytes(arena);
}
void PoolMemory::verify_placement(std::uint32_t extents) { state_->verify_some(extents); }
std::uint64_t PoolMemory::metadata_bytes() const { return state_->metadata_bytes; }
std::uint64_t PoolMemory::published_slots(std::uint32_t ring) const {
  return state_->rings[ring].slots_in_service;
}
ExtentState PoolMemory::extent_state(std::uint32_t ring, std::uint32_t extent) const {
  return state_->extent_state(ring, extent);
}
bool PoolMemory::in_service(std::uint32_t ring, std::uint32_t slot) const {
  const std::vector<bool>& slots = state_->rings[ring].in_service;
  return slot < slots.size() && slots[slot];
}
std::uint64_t PoolMemory::free_slots_estimate(std::uint32_t ring) const {
  return state_->free_slots(ring);
}
std::uint64_t PoolMemory::cold_slots_estimate(std::uint32_t ring) const {
  return state_->cold_slots(ring);
}
std::uint64_t PoolMemory::trims() const { return state_->counts.trims; }
std::uint64_t PoolMemory::trimmed_bytes() const { return state_->counts.trimmed_bytes; }
const ReleasedBytes& PoolMemory::released_bytes() const { return state_->counts.released_bytes; }
std::uint64_t PoolMemory::page_fallbacks(PageSize from, PageSize to) const {
  return state_->counts
      .page_fallbacks[static_cast<std::size_t>(from)][static_cast<std::size_t>(to)];
}
const MemoryCounts& PoolMemory::counts() const { return state_->counts; }
void PoolMemory::resume_counts(const MemoryCounts& before) {
  MemoryCounts& now = state_->counts;
  now.trims += before.trims;
  now.trimmed_bytes += before.trimmed_bytes;
  for (std::size_t reason = 0; reason < kReleaseReasons; ++reason) {
    now.released_bytes[reason] += before.released_bytes[reason];
  }
  for (std::size_t from = 0; from < kPageSizes; ++from) {
    for (std::size_t to = 0; to < kPageSizes; ++to) {
      now.page_fallbacks[from][to] += before.page_fallbacks[from][to];
    }
  }
}

void PoolMemory::reconfigure(const PoolConfig& config) {
  const std::uint64_t limit =
      std::min(config.limit_bytes.value_or(state_->services.budget.budget()),
               state_->plan.shape.region_bytes);
  state_->services.budget.set_limits(*state_->account, config.reserved_bytes, limit);
  state_->write_policy(config, limit);
}

}  // namespace zeropool::daemon
