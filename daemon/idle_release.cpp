// What a class has committed and has not needed for a while goes back by itself.
//
//   needed   the most slots that were with clients at any look within the window (demand_window.hpp), or that an order
//            would have made it
//   spare    as much again, at least what a pool starts with, at most the high watermark: the ring grows ahead of demand
//            up to there, so what it grows is not what is released
//   kept     needed + spare
//
// A class that grows again soon after a release was released too early: the next release of it waits twice as long.
//
// Thread safety: the loop thread's.

#include <algorithm>

#include "daemon/pool_memory_state.hpp"

namespace zeropool::daemon {
namespace {

constexpr auto kPlain = std::memory_order_relaxed;
constexpr std::uint32_t kMostDoublings = 3;
constexpr std::uint32_t kFruitlessLooks = 3;

std::uint64_t less(std::uint64_t from, std::uint64_t bytes) {
  return from > bytes ? from - bytes : 0;
}

}  // namespace

// Slots that are with clients: held, cached, on their way. By hints, so some of the ring's may count, too.
std::uint64_t PoolMemory::State::used_slots(std::uint32_t ring) const {
  const RingState& state = rings[ring];
  const lib::SharedRingView shared = ring_view(ring);
  const std::uint32_t most = plan.rings[ring].magazine_slots;
  std::uint64_t free = free_slots(ring);
  shared.partial.for_each(state.cells_published, [&](std::uint32_t cell) {
    const lib::SharedMagazine& magazine = shared.cells[cell];
    const std::uint32_t count = magazine.count.load(kPlain);
    if (count < most && magazine.owner.load(kPlain) == 0) free += count;  // a full one is cold, too
  });
  return less(state.slots_in_service, free);
}

std::uint64_t PoolMemory::State::floor_bytes(std::uint32_t ring) const {
  const std::uint64_t extent = plan.rings[ring].extent_bytes;
  const std::uint64_t wanted = std::min(watermarks.low_bytes, kFirstBytes);
  return std::max<std::uint64_t>((wanted + extent - 1) / extent, 1) * extent;
}

void PoolMemory::State::note_growth(std::uint32_t ring, std::uint64_t slots,
                                    Clock::time_point now) {
  IdleRelease& idle = rings[ring].idle;
  idle.demand.note(rings[ring].slots_in_service + slots, now);
  if (idle.released_at == Clock::time_point{} || now - idle.released_at > release.window) return;
  idle.released_at = {};
  idle.regrets = std::min(idle.regrets + 1, kMostDoublings);
  idle.not_before = now + release.window * (1 << idle.regrets);
}

std::uint64_t PoolMemory::State::surplus_bytes(std::uint32_t ring) const {
  const RingState& state = rings[ring];
  const lib::RingPlan& from = plan.rings[ring];
  const std::uint64_t needed = state.idle.demand.peak() * from.class_bytes;
  const std::uint64_t floor = floor_bytes(ring);
  const std::uint64_t spare = std::clamp(needed, floor, std::max(floor, watermarks.high_bytes));
  const std::uint64_t have = state.slots_in_service * from.class_bytes;
  return less(have, needed + spare) / from.extent_bytes * from.extent_bytes;
}

IdleLook PoolMemory::State::release_idle(std::uint64_t most_bytes, bool clients_attached,
                                         Clock::time_point now) {
  IdleLook look;
  if (release.window.count() == 0) return look;
  const bool unchanged = !clients_attached && !looked_with_clients;
  looked_with_clients = clients_attached;
  const PoolAccount books = services.budget.snapshot(*account);
  std::uint64_t allowance = less(books.committed_bytes, books.reserved_bytes);
  for (std::uint32_t ring = 0; ring < rings.size(); ++ring) {
    IdleRelease& idle = rings[ring].idle;
    idle.demand.set_length(release.window);
    idle.demand.note(used_slots(ring), now, unchanged);
    const std::uint64_t extent = plan.rings[ring].extent_bytes;
    const std::uint64_t surplus = std::min(surplus_bytes(ring), allowance / extent * extent);
    if (surplus == 0) {
      idle.fruitless = 0;
      continue;
    }
    const bool stuck = idle.fruitless >= kFruitlessLooks && !clients_attached;
    look.later = look.later || !stuck;
    if (stuck || !idle.demand.whole(now) || now < idle.not_before) continue;
    const std::uint64_t before = look.released.bytes;
    // One extent at least, however large it is.
    const std::uint64_t wanted =
        std::min(surplus, std::max(less(most_bytes, before), before == 0 ? extent : 0));
    if (wanted < extent) {
      look.more = true;
      continue;
    }
    trim_ring(ring, wanted, look.released);
    const std::uint64_t released = look.released.bytes - before;
    allowance = less(allowance, released);
    if (released == 0) {
      // Slots here and there keep its extents; they may be back later.
      ++idle.fruitless;
      idle.not_before = now + release.window / 2;
      continue;
    }
    idle.fruitless = 0;
    rings[ring].demanded = false;  // else the low watermark fetches it back at once
    if (now - idle.released_at > release.window * (2 << kMostDoublings)) idle.regrets = 0;
    idle.released_at = now;
    look.more = look.more || surplus > released;
  }
  count_release(look.released, ReleaseReason::kIdle);
  return look;
}

bool PoolMemory::State::above_floor() const {
  std::uint64_t floor = services.budget.snapshot(*account).reserved_bytes;
  std::uint64_t all = 0;
  for (std::uint32_t ring = 0; ring < rings.size(); ++ring) all += floor_bytes(ring);
  floor = std::max(less(floor, metadata_bytes), all);
  std::uint64_t committed = 0;
  for (const ArenaState& arena : arenas) committed += arena.committed_bytes;
  return committed > floor;
}

}  // namespace zeropool::daemon
