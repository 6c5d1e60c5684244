// Slots that the kernel may still write for a dead client: their pages are replaced, not waited for.
//
// Nobody but the kernel knows which pages are still pinned. But a punch takes a pinned page out of the segment at once:
// what is written to it afterwards goes to a page that no process can see, and that is freed with its last pin.
//
//   1  reclaim marks what the dead held: quarantined (reclaim.hpp, 2q). Such a slot is in no magazine and not in
//      service; its extent stays published and charged.
//   2  blocks: the whole pages of quarantined slots that lie side by side. Other slots in them must be with the daemon:
//      those in the ring are withdrawn, as a trim does it. If one is with a client, or pinned, they go back, and the
//      block waits.
//   3  the commit thread punches the block and commits it again
//   4  marks of its quarantined slots = absent — COMMIT: the pages are new
//   5  what of the block can be published is
//
// When new pages cannot be had (3), all of the block stays as it is, and waits. After a kill in 2 to 4 the next daemon
// finds the marks quarantined, and begins at 2; absent slots that share a page with one stay out of the ring till then
// (E3). After 4 they are Absent marks in a published extent: pool_adopt.cpp puts them into the ring.

#include <algorithm>
#include <cstring>
#include <utility>

#include <spdlog/spdlog.h>

#include "daemon/pool_memory_state.hpp"
#include "daemon/ring_look.hpp"
#include "zeropool/lib/ordering.hpp"

namespace zeropool::daemon {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto kPlain = std::memory_order_relaxed;
// Of one round: the loop must not stand still, nor growth wait long behind it in the commit thread.
constexpr std::uint64_t kRoundBytes = 64 * kMiB;
constexpr std::size_t kRoundBlocks = 1024;
// After a round that replaced nothing, and at most.
constexpr std::chrono::nanoseconds kFirstWait = 100ms;
constexpr std::chrono::nanoseconds kMostWait = 30s;

}  // namespace

void PoolMemory::State::quarantine(std::uint32_t ring, std::uint32_t slot) {
  RingState& state = rings[ring];
  if (slot >= state.slots_published) return;
  if (!state.in_service[slot]) {
    // A forged mark, of a slot that the daemon has.
    std::atomic<std::uint64_t>& mark = ring_view(ring).slots[slot].mark;
    if (!state.quarantine.slots.contains(slot)) {
      mark.store(lib::Mark{mark.load(kPlain)}.with_holder(lib::SlotState::kAbsent, 0).word, kPlain);
    }
    return;
  }
  state.in_service[slot] = false;
  --state.slots_in_service;
  state.quarantine.slots.add(slot);
  state.quarantine.wait = {};
  state.quarantine.retry_at = {};
}

PageBlock PoolMemory::State::pages_of(std::uint32_t ring, SlotRange slots) const {
  const lib::RingPlan& from = plan.rings[ring];
  const std::uint64_t page = plan.page_bytes_of(from.arena);
  PageBlock block;
  block.slots = slots;
  block.begin = slots.begin * from.class_bytes / page * page;
  block.end = (slots.end * from.class_bytes + page - 1) / page * page;
  block.touching = slots_between(from, block.begin, block.end);
  return block;
}

bool PoolMemory::State::shares_quarantined_page(std::uint32_t ring, std::uint32_t slot) const {
  const SlotRuns& quarantined = rings[ring].quarantine.slots;
  return !quarantined.empty() && quarantined.touches(pages_of(ring, {slot, slot + 1}).touching);
}

// The first run at `from` or behind it, not too much of it, with those that share its pages.
PageBlock PoolMemory::State::next_block(std::uint32_t ring, std::uint32_t from) const {
  const SlotRuns& quarantined = rings[ring].quarantine.slots;
  SlotRange run = quarantined.next(from);
  if (run.empty()) return {};
  const std::uint64_t most = std::max<std::uint64_t>(1, kRoundBytes / plan.rings[ring].class_bytes);
  run.end = static_cast<std::uint32_t>(std::min<std::uint64_t>(run.end, run.begin + most));
  PageBlock block = pages_of(ring, run);
  for (SlotRange next = quarantined.next(run.end); !next.empty() && next.begin < block.touching.end;
       next = quarantined.next(run.end)) {
    run.end = std::min(next.end, block.touching.end);
    const PageBlock wider = pages_of(ring, run);
    // The rest comes next; what shares a page with it stays out of the ring till then (E3).
    if (wider.end > block.end && wider.end - wider.begin > kRoundBytes) break;
    block = wider;
  }
  return block;
}

// No two of a round share a page: the slots of one may be in use when another's pages are punched.
std::vector<PageBlock> PoolMemory::State::choose_blocks(std::uint32_t ring) {
  Quarantine& quarantine = rings[ring].quarantine;
  std::vector<PageBlock> blocks;
  std::uint64_t bytes = 0;
  const std::uint32_t start = quarantine.cursor;
  std::uint32_t from = start;
  bool wrapped = start == 0;
  while (blocks.size() < kRoundBlocks && bytes < kRoundBytes) {
    const PageBlock block = next_block(ring, from);
    if (block.slots.empty()) {
      if (wrapped) break;
      wrapped = true;
      from = 0;
      continue;
    }
    const bool overlaps = std::any_of(blocks.begin(), blocks.end(), [&](const PageBlock& other) {
      return block.begin < other.end && other.begin < block.end;
    });
    if (overlaps) break;  // in the next round
    blocks.push_back(block);
    bytes += block.end - block.begin;
    from = block.slots.end;
  }
  quarantine.cursor = from;
  return blocks;
}

bool PoolMemory::State::has_slots_in_service(std::uint32_t ring, const PageBlock& block) const {
  const RingState& state = rings[ring];
  for (std::uint32_t slot = block.touching.begin;
       slot < block.touching.end && slot < state.slots_published; ++slot) {
    if (state.in_service[slot]) return true;
  }
  return false;
}

// Step 2: what is left has no slot that anybody else may touch.
void PoolMemory::State::drop_busy_blocks(std::uint32_t ring, std::vector<PageBlock>& blocks) {
  RingState& state = rings[ring];
  const std::vector<SlotRange> pinned = pinned_slots(ring);
  std::erase_if(blocks, [&](const PageBlock& block) {
    return std::any_of(pinned.begin(), pinned.end(), [&](SlotRange pin) {
      return pin.begin < block.touching.end && block.touching.begin < pin.end;
    });
  });
  const auto shared = [&](const PageBlock& block) { return has_slots_in_service(ring, block); };
  if (std::none_of(blocks.begin(), blocks.end(), shared)) return;

  const std::vector<bool> in_use = slots_in_use(ring);
  std::vector<bool> wanted(state.slots_published, false);
  SlotRange window{lib::kNone, 0};
  std::erase_if(blocks, [&](const PageBlock& block) {
    const std::uint32_t end = std::min<std::uint32_t>(block.touching.end, state.slots_published);
    for (std::uint32_t slot = block.touching.begin; slot < end; ++slot) {
      if (in_use[slot]) return true;
    }
    if (!shared(block)) return false;
    for (std::uint32_t slot = block.touching.begin; slot < end; ++slot) {
      wanted[slot] = state.in_service[slot];
    }
    window.begin = std::min(window.begin, block.touching.begin);
    window.end = std::max(window.end, end);
    return false;
  });
  if (window.empty()) return;
  const std::vector<std::uint32_t> withdrawn = withdraw(ring, wanted, window);
  // Where somebody was faster, slots go back: no page of a block with a slot in service has been punched, so they are as
  // they were. Such a slot may touch the next block, too, which then waits with this one.
  for (;;) {
    std::vector<bool> back(state.slots_published, false);
    const std::size_t dropped = std::erase_if(blocks, [&](const PageBlock& block) {
      if (!shared(block)) return false;
      const std::uint32_t end = std::min<std::uint32_t>(block.touching.end, state.slots_published);
      for (std::uint32_t slot = block.touching.begin; slot < end; ++slot) back[slot] = true;
      return true;
    });
    if (dropped == 0) return;
    std::vector<std::uint32_t> returned;
    for (const std::uint32_t slot : withdrawn) {
      if (back[slot] && !state.in_service[slot]) returned.push_back(slot);
    }
    put_in_ring(ring, returned);
  }
}

void PoolMemory::State::replace_quarantined(std::uint32_t ring) {
  Quarantine& quarantine = rings[ring].quarantine;
  if (quarantine.slots.empty() || quarantine.jobs > 0 || Clock::now() < quarantine.retry_at) return;
  std::vector<PageBlock> blocks = choose_blocks(ring);
  drop_busy_blocks(ring, blocks);
  quarantine.progress = false;
  for (const PageBlock& block : blocks) submit_block(ring, block);
  if (blocks.empty()) end_round(ring);
}

void PoolMemory::State::submit_block(std::uint32_t ring, const PageBlock& block) {
  const lib::RingPlan& from = plan.rings[ring];
  CommitJob job;
  job.kind = CommitKind::kReplace;
  job.range = extent_range(ring, 0);
  job.range.offset = from.region_offset + block.begin;
  job.range.bytes = block.end - block.begin;
  job.owner = this;
  job.done = [this, ring, block](CommitResult result) { block_done(ring, block, result); };
  ++rings[ring].quarantine.jobs;
  services.commits.submit(std::move(job));
}

void PoolMemory::State::block_done(std::uint32_t ring, const PageBlock& block,
                                   CommitResult result) {
  Quarantine& quarantine = rings[ring].quarantine;
  --quarantine.jobs;
  if (result.outcome == CommitOutcome::kDone) {
    renew(ring, block);
    quarantine.progress = true;
  } else if (!std::exchange(quarantine.refused, true)) {
    spdlog::warn(
        "pool '{}': {} quarantined slots of {} bytes stay so for now: other pages for them cannot "
        "be had: {}",
        plan.shape.name, quarantine.slots.count(), plan.rings[ring].class_bytes,
        result.error == EBUSY ? "a large page under them is in use by the kernel"
                              : std::strerror(result.error));
  }
  if (quarantine.jobs > 0) return;
  end_round(ring);
  if (published) published(ring);
}

// Steps 4 and 5.
void PoolMemory::State::renew(std::uint32_t ring, const PageBlock& block) {
  Quarantine& quarantine = rings[ring].quarantine;
  const lib::SharedRingView shared = ring_view(ring);
  const std::uint64_t before = quarantine.slots.count();
  lib::program_order();
  for (SlotRange run = quarantine.slots.next(block.slots.begin);
       !run.empty() && run.begin < block.slots.end; run = quarantine.slots.next(run.end)) {
    run.end = std::min(run.end, block.slots.end);
    for (std::uint32_t slot = run.begin; slot < run.end; ++slot) {
      std::atomic<std::uint64_t>& mark = shared.slots[slot].mark;
      mark.store(lib::Mark{mark.load(kPlain)}.with_holder(lib::SlotState::kAbsent, 0).word,
                 kPlain);  // COMMIT
    }
  }
  lib::program_order();
  quarantine.slots.remove(block.slots);
  quarantine.replaced += before - quarantine.slots.count();
  std::vector<std::uint32_t> slots;
  for (std::uint32_t slot = block.touching.begin;
       slot < block.touching.end && slot < rings[ring].slots_published; ++slot) {
    if (is_publishable(ring, slot)) slots.push_back(slot);
  }
  put_in_ring(ring, slots);
}

void PoolMemory::State::end_round(std::uint32_t ring) {
  Quarantine& quarantine = rings[ring].quarantine;
  if (quarantine.slots.empty()) {
    spdlog::info("pool '{}': {} quarantined slots of {} bytes have new pages", plan.shape.name,
                 quarantine.replaced, plan.rings[ring].class_bytes);
    quarantine = {};
    return;
  }
  if (quarantine.progress) {
    quarantine.wait = {};
    quarantine.retry_at = {};
    replace_quarantined(ring);
    return;
  }
  quarantine.wait = std::clamp(quarantine.wait * 2, kFirstWait, kMostWait);
  quarantine.retry_at = Clock::now() + quarantine.wait;
}

// Zero: nothing waits for a time.
std::chrono::nanoseconds PoolMemory::State::next_replacement() const {
  std::chrono::nanoseconds wait{};
  for (const RingState& ring : rings) {
    const Quarantine& quarantine = ring.quarantine;
    if (quarantine.slots.empty() || quarantine.jobs > 0) continue;
    const std::chrono::nanoseconds own =
        std::max<std::chrono::nanoseconds>(quarantine.retry_at - Clock::now(), 1ms);
    if (wait.count() == 0 || own < wait) wait = own;
  }
  return wait;
}

}  // namespace zeropool::daemon
