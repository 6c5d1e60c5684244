#include "daemon/occupancy.hpp"

#include <algorithm>
#include <utility>

#include "daemon/extents.hpp"
#include "daemon/ring_look.hpp"

namespace zeropool::daemon {
namespace {

constexpr auto kPlain = std::memory_order_relaxed;  // an estimate (O1): a stale word is as good
constexpr std::uint32_t kWordsBetweenClocks = 256;

}  // namespace

std::uint64_t RingMap::committed_bytes() const {
  std::uint64_t extents_there = 0;
  for (const MapCell& cell : cells) extents_there += cell.published;
  return extents_there * extent_bytes;
}

std::uint64_t RingMap::cold_bytes() const {
  std::uint64_t bytes = 0;
  for (const MapCell& cell : cells) bytes += cell.cold_bytes;
  return std::min(bytes, committed_bytes());
}

OccupancyWatch::OccupancyWatch(EventLoop& loop, const std::vector<std::unique_ptr<Pool>>& pools,
                               OccupancyPace pace)
    : loop_(loop), pools_(pools), pace_(pace) {}

OccupancyWatch::~OccupancyWatch() {
  if (timer_ != 0) loop_.cancel(timer_);
}

std::shared_ptr<const Occupancy> OccupancyWatch::ask() {
  const std::uint64_t now_ns = monotonic_ns();
  if (timer_ == 0 && (last_ == nullptr || now_ns - last_->ended_ns >= pace_.every_ns)) {  // O2
    begin();
    if (!look_until(now_ns + pace_.first_piece_ns)) step_on();  // O1
  }
  return last_;
}

void OccupancyWatch::begin() {
  look_ = std::make_unique<Occupancy>();
  look_->pools.resize(pools_.size());
  pool_ = 0;
  ring_ = 0;
  begin_ring();
}

void OccupancyWatch::begin_ring() {
  phase_ = Phase::kExtents;
  next_ = 0;
  while (pool_ < pools_.size() && ring_ >= pools_[pool_]->memory->ring_count()) {
    ++pool_;
    ring_ = 0;
  }
  if (pool_ >= pools_.size()) return;
  const Pool& pool = *pools_[pool_];
  PoolOccupancy& seen = look_->pools[pool_];
  if (ring_ == 0) {
    place_.clear();
    for (const ClientInfo& client : pool.clients) {
      place_[client.id] = seen.clients.size();
      seen.clients.push_back({.id = client.id});
    }
  }
  RingMap& map = seen.rings.emplace_back();
  const lib::RingPlan& plan = pool.memory->plan().rings[ring_];
  const std::uint32_t slots = pool.memory->ring(ring_).slot_bound();
  map.extent_bytes = plan.extent_bytes;
  map.extents = slots == 0 ? 0 : std::min(last_extent_of(plan, slots - 1) + 1, plan.extent_count);
  map.extents_per_cell = std::max(1U, (map.extents + RingMap::kMapCells - 1) / RingMap::kMapCells);
  map.cells.resize((map.extents + map.extents_per_cell - 1) / map.extents_per_cell);  // O3
}

bool OccupancyWatch::look_until(std::uint64_t deadline_ns) {
  while (pool_ < pools_.size()) {
    const std::uint32_t end = words_of_phase();
    const std::uint32_t stop =
        end - next_ > kWordsBetweenClocks ? next_ + kWordsBetweenClocks : end;
    for (; next_ < stop; ++next_) look_at(next_);
    if (next_ >= end) {
      next_ = 0;
      if (phase_ == Phase::kSlots) {
        ++ring_;
        begin_ring();
      } else {
        phase_ = phase_ == Phase::kExtents ? Phase::kMagazines : Phase::kSlots;
      }
    }
    if (monotonic_ns() >= deadline_ns && pool_ < pools_.size()) return false;
  }
  finish();
  return true;
}

// Never less than `next_`: counts of what is published do not shrink, and the look at a ring goes on from there.
std::uint32_t OccupancyWatch::words_of_phase() const {
  const lib::SharedRingView ring = pools_[pool_]->memory->ring(ring_);
  switch (phase_) {
    case Phase::kExtents: return std::max(next_, look_->pools[pool_].rings[ring_].extents);
    case Phase::kMagazines: return std::max(next_, ring.cell_bound());
    case Phase::kSlots: break;
  }
  return std::max(next_, ring.slot_bound());
}

void OccupancyWatch::look_at(std::uint32_t index) {
  switch (phase_) {
    case Phase::kExtents: look_at_extent(index); break;
    case Phase::kMagazines: look_at_magazine(index); break;
    case Phase::kSlots: look_at_slot(index); break;
  }
}

void OccupancyWatch::look_at_extent(std::uint32_t extent) {
  RingMap& map = look_->pools[pool_].rings[ring_];
  MapCell& cell = map.cells[extent / map.extents_per_cell];
  switch (pools_[pool_]->memory->extent_state(ring_, extent)) {
    case ExtentState::kAbsent: break;
    case ExtentState::kPublished: ++cell.published; break;
    default: ++cell.changing; break;
  }
}

void OccupancyWatch::look_at_magazine(std::uint32_t cell) {
  const PoolMemory& memory = *pools_[pool_]->memory;
  const lib::SharedRingView ring = memory.ring(ring_);
  const lib::RingPlan& plan = memory.plan().rings[ring_];
  PoolOccupancy& seen = look_->pools[pool_];
  const lib::OwnerWord owner{ring.cells[cell].owner.load(kPlain)};
  if (!owner.in_ring()) {
    const auto found = place_.find(owner.client());
    if (found == place_.end()) return;
    const std::uint64_t count = std::min(ring.cells[cell].count.load(kPlain), ring.magazine_slots);
    seen.clients[found->second].cached_bytes += count * plan.class_bytes;
  } else if (ring.cold.test(cell)) {
    RingMap& map = seen.rings[ring_];
    for_each_entry(ring.cells[cell], ring.magazine_slots, ring.slot_bound(),
                   [&](std::uint32_t slot) {
                     const std::size_t place = first_extent_of(plan, slot) / map.extents_per_cell;
                     if (place < map.cells.size()) map.cells[place].cold_bytes += plan.class_bytes;
                   });
  }
}

void OccupancyWatch::look_at_slot(std::uint32_t slot) {
  const PoolMemory& memory = *pools_[pool_]->memory;
  const lib::Mark mark{memory.ring(ring_).slots[slot].mark.load(kPlain)};
  const bool held = mark.state() == lib::SlotState::kHeld;
  if (!held && mark.state() != lib::SlotState::kInTransit) return;
  const auto found = place_.find(mark.client());
  if (found == place_.end()) return;
  ClientHolding& holding = look_->pools[pool_].clients[found->second];
  (held ? holding.held_bytes : holding.in_transit_bytes) += memory.plan().rings[ring_].class_bytes;
}

void OccupancyWatch::step_on() {
  timer_ = loop_.after(pace_.pause, [this] {
    timer_ = 0;
    if (!look_until(monotonic_ns() + pace_.piece_ns)) step_on();
  });
}

void OccupancyWatch::finish() {
  look_->ended_ns = monotonic_ns();
  last_ = std::move(look_);
}

}  // namespace zeropool::daemon
