// Extents in: charged, announced in the ledger, committed behind the loop's back, then published.

#include <algorithm>
#include <cstring>

#include <spdlog/spdlog.h>

#include "daemon/pool_memory_state.hpp"

namespace zeropool::daemon {
namespace {

// After a node had no memory: so long no new try, and kNodeFull to those who ask.
constexpr std::chrono::milliseconds kFullFor{100};

}  // namespace

ExtentState PoolMemory::State::extent_state(std::uint32_t ring, std::uint32_t extent) const {
  return services.ledger.extent(ledger_pool, rings[ring].first_extent + extent);
}

void PoolMemory::State::set_extent_state(std::uint32_t ring, std::uint32_t extent,
                                         ExtentState state) {
  services.ledger.set_extent(ledger_pool, rings[ring].first_extent + extent, state);
}

CommitRange PoolMemory::State::extent_range(std::uint32_t ring, std::uint32_t extent) const {
  const lib::RingPlan& from = plan.rings[ring];
  const ArenaState& arena = arenas[from.arena];
  return {arena.fd.get(),
          arena.mapping.data(),
          from.region_offset + extent * from.extent_bytes,
          from.extent_bytes,
          plan.shape.arenas[from.arena].page_kind,
          plan.shape.arenas[from.arena].node};
}

std::uint32_t PoolMemory::State::next_absent(std::uint32_t ring) {
  std::uint32_t& lowest = rings[ring].lowest_absent;
  const std::uint32_t count = plan.rings[ring].extent_count;
  while (lowest < count && extent_state(ring, lowest) != ExtentState::kAbsent) ++lowest;
  return lowest < count ? lowest : lib::kNone;
}

// Slots that can be published once this extent is there, with those that are there or under way.
std::uint64_t PoolMemory::State::slots_gained(std::uint32_t ring, std::uint32_t extent) const {
  const lib::RingPlan& from = plan.rings[ring];
  const SlotRange slots = slots_touching(from, extent);
  const auto coming = [&](std::uint32_t other) {
    if (other == extent) return true;
    const ExtentState state = extent_state(ring, other);
    return state == ExtentState::kPublished || state == ExtentState::kCommitting;
  };
  std::uint64_t gained = slots.end - slots.begin;
  if (gained == 0) return 0;
  const std::uint32_t last = slots.end - 1;
  if (!coming(first_extent_of(from, slots.begin))) --gained;
  if (gained > 0 && !coming(last_extent_of(from, last))) --gained;
  return gained;
}

GrowOutcome PoolMemory::State::grow(std::uint32_t ring, std::uint64_t slots,
                                    std::uint64_t most_bytes, GrowFor whom) {
  if (ring >= rings.size()) return GrowOutcome::kRegionFull;
  RingState& state = rings[ring];
  state.demanded = true;
  if (state.growing_slots >= slots) return GrowOutcome::kUnderWay;
  const lib::RingPlan& from = plan.rings[ring];
  ArenaState& arena = arenas[from.arena];
  if (std::chrono::steady_clock::now() < arena.full_until) return GrowOutcome::kNodeFull;
  const std::uint64_t wanted = slots - state.growing_slots;
  std::uint64_t gained = 0;
  bool started = false;
  GrowOutcome refused = GrowOutcome::kBudgetSpent;
  while (gained < wanted) {
    const std::uint32_t extent = next_absent(ring);
    if (extent == lib::kNone) {
      refused = GrowOutcome::kRegionFull;
      break;
    }
    if (from.extent_bytes > most_bytes) break;
    std::uint64_t more = 0;
    refused = begin_extent(ring, extent, whom, more);
    if (refused != GrowOutcome::kStarted) break;
    most_bytes -= from.extent_bytes;
    gained += more;
    started = true;
  }
  return started ? GrowOutcome::kStarted : refused;
}

GrowOutcome PoolMemory::State::begin_extent(std::uint32_t ring, std::uint32_t extent, GrowFor whom,
                                            std::uint64_t& gained_slots) {
  RingState& state = rings[ring];
  const std::uint64_t bytes = plan.rings[ring].extent_bytes;
  const auto refusal = [](ChargeOutcome outcome) {
    return outcome == ChargeOutcome::kLimitReached ? GrowOutcome::kLimitReached
                                                   : GrowOutcome::kBudgetSpent;
  };
  // The extent is charged first, so that its metadata is asked for only when it comes.
  ChargeOutcome outcome = charge(bytes);
  if (outcome != ChargeOutcome::kCharged) return refusal(outcome);
  const std::uint32_t high =
      std::max(state.slot_high, slots_touching(plan.rings[ring], extent).end);
  outcome = request(state.words, std::uint64_t{high} * sizeof(lib::SharedSlotWords));
  if (outcome == ChargeOutcome::kCharged) {
    outcome = request(state.cells, cell_bytes(ring, high, tables[kThreads].target));
  }
  if (outcome != ChargeOutcome::kCharged) {
    refund(bytes);
    return refusal(outcome);
  }
  state.slot_high = high;
  const std::uint64_t gained = slots_gained(ring, extent);
  set_extent_state(ring, extent, ExtentState::kCommitting);
  state.growing_slots += gained;
  arenas[plan.rings[ring].arena].committing_bytes += bytes;
  gained_slots = gained;
  CommitJob job;
  job.range = extent_range(ring, extent);
  job.owner = this;
  job.ahead = whom == GrowFor::kAhead;
  job.done = [this, ring, extent, gained](CommitResult result) {
    extent_done(ring, extent, gained, result);
  };
  services.commits.submit(std::move(job));
  return GrowOutcome::kStarted;
}

void PoolMemory::State::extent_done(std::uint32_t ring, std::uint32_t extent,
                                    std::uint64_t gained_slots, CommitResult result) {
  RingState& state = rings[ring];
  ArenaState& arena = arenas[plan.rings[ring].arena];
  const std::uint64_t bytes = plan.rings[ring].extent_bytes;
  state.growing_slots -= std::min(state.growing_slots, gained_slots);
  arena.committing_bytes -= bytes;
  bool done = result.outcome == CommitOutcome::kDone;
  bool punched = true;  // a commit that failed has left nothing (K1)
  if (done) {
    // P2: words and magazines were asked for before it, by the same thread.
    const std::uint32_t high =
        std::max(state.slots_published.load(), slots_touching(plan.rings[ring], extent).end);
    if (!state.words.covers(std::uint64_t{high} * sizeof(lib::SharedSlotWords)) ||
        !state.cells.covers(cell_bytes(ring, high, tables[kThreads].published))) {
      set_extent_state(ring, extent, ExtentState::kPunching);
      punched = punch_range(extent_range(ring, extent)).outcome == CommitOutcome::kDone;
      done = false;
      result = {CommitOutcome::kNodeFull, ENOSPC};
    }
  }
  if (done) {
    set_extent_state(ring, extent, ExtentState::kPublished);
    arena.committed_bytes += bytes;
    arena.refused = false;
    verify_after_growth(ring, extent);
    publish_extent(ring, extent);
  } else {
    if (punched) {
      set_extent_state(ring, extent, ExtentState::kAbsent);
      state.lowest_absent = std::min(state.lowest_absent, extent);
      refund(bytes);
    } else {
      arena.committed_bytes += bytes;  // until punch_again()
      state.unpunched.push_back(extent);
    }
    arena.full_until = std::chrono::steady_clock::now() + kFullFor;
    if (!arena.refused) {
      spdlog::warn("pool {}: {} bytes could not be committed on node {}: {}", plan.shape.name,
                   bytes, plan.shape.arenas[plan.rings[ring].arena].node,
                   std::strerror(result.error));
    }
    arena.refused = true;
  }
  if (published) published(ring);
  if (state.growing_slots == 0) growth_ended(ring);
}

}  // namespace zeropool::daemon
