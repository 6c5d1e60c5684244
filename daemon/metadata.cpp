// The control segment's tables: charged and committed from their fronts, then published.

#include <algorithm>

#include "daemon/pool_memory_state.hpp"

namespace zeropool::daemon {
namespace {

constexpr std::uint64_t kStepBytes = std::uint64_t{16} << 10;
constexpr std::chrono::milliseconds kTableLook{50};
constexpr std::uint32_t kFewBlocks = 8;  // of samples: 64 KiB

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

}  // namespace

ChargeOutcome PoolMemory::State::charge(std::uint64_t bytes) {
  const ChargeOutcome outcome = services.budget.charge(*account, bytes);  // P1
  if (outcome == ChargeOutcome::kCharged) record_account();
  return outcome;
}

void PoolMemory::State::refund(std::uint64_t bytes) {
  services.budget.refund(*account, bytes);
  record_account();
}

void PoolMemory::State::record_account() {
  const PoolAccount now = services.budget.snapshot(*account);
  if (ledger_pool != lib::kNone) services.ledger.record_account(ledger_pool, now, metadata_bytes);
  if (!control || !fixed.covers(sizeof(lib::ControlHeader))) return;
  lib::ControlHeader& header = view.header();
  header.committed_bytes.store(now.committed_bytes, std::memory_order_relaxed);
  header.limit_bytes.store(now.limit_bytes, std::memory_order_relaxed);
  header.budget_bytes.store(services.budget.budget(), std::memory_order_relaxed);
}

// Sees to it that the first `bytes` are committed, now or soon. Anything but kCharged: it cannot
// be.
ChargeOutcome PoolMemory::State::request(CommittedPrefix& prefix, std::uint64_t bytes) {
  const std::uint64_t needed = std::min(round_up(bytes, lib::kSmallPage), prefix.capacity_bytes);
  if (needed <= prefix.requested_bytes) return ChargeOutcome::kCharged;
  if (prefix.failed) return ChargeOutcome::kBudgetSpent;  // until what is under way is back
  std::uint64_t end = std::min(round_up(bytes, kStepBytes), prefix.capacity_bytes);
  const std::uint64_t begin = prefix.requested_bytes;
  ChargeOutcome outcome = charge(end - begin);
  if (outcome != ChargeOutcome::kCharged) {
    end = needed;
    outcome = charge(end - begin);
  }
  if (outcome != ChargeOutcome::kCharged) return outcome;
  metadata_bytes += end - begin;
  prefix.requested_bytes = end;
  ++prefix.jobs;
  CommitJob job;
  job.range = {control_fd.get(),          control.data(),
               prefix.offset + begin,     end - begin,
               lib::PageKind::kSmall4KiB, plan.shape.arenas.front().node};
  job.owner = this;
  job.done = [this, &prefix, begin, end](CommitResult result) {
    metadata_done(prefix, begin, end, result);
  };
  services.commits.submit(std::move(job));
  return outcome;
}

void PoolMemory::State::metadata_done(CommittedPrefix& prefix, std::uint64_t begin,
                                      std::uint64_t end, CommitResult result) {
  --prefix.jobs;
  const bool committed = result.outcome == CommitOutcome::kDone;
  if (committed && !prefix.failed) {
    prefix.committed_bytes = end;
    services.ledger.set_prefix(ledger_pool, prefix.number, end);
  } else {
    // What was committed behind a gap goes back as well: a prefix has no holes.
    if (committed) {
      punch_range({control_fd.get(), control.data(), prefix.offset + begin, end - begin,
                   lib::PageKind::kSmall4KiB, 0});
    }
    prefix.failed = true;
    metadata_bytes -= end - begin;
    refund(end - begin);
  }
  if (prefix.jobs == 0 && prefix.failed) {
    prefix.failed = false;
    prefix.requested_bytes = prefix.committed_bytes;
  }
  publish_steps();
}

// Of the magazines that so many slots and threads need.
std::uint64_t PoolMemory::State::cell_bytes(std::uint32_t ring, std::uint64_t slots,
                                            std::uint32_t threads) const {
  const lib::RingPlan& from = plan.rings[ring];
  const std::uint32_t cells =
      std::min(lib::ControlPlan::cells_needed(from, slots, threads), from.cell_capacity);
  return std::uint64_t{cells} * sizeof(lib::SharedMagazine);
}

// Magazines that are committed and not yet published: empty ones.
void PoolMemory::State::publish_cells(std::uint32_t ring) {
  RingState& state = rings[ring];
  const std::uint64_t committed = state.cells.committed_bytes / sizeof(lib::SharedMagazine);
  const auto end = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(committed, plan.rings[ring].cell_capacity));
  if (end <= state.cells_published) return;
  view.descriptor(ring).cells_published.store(end, std::memory_order_release);
  const lib::SharedRingView shared = ring_view(ring);
  for (std::uint32_t cell = state.cells_published; cell < end; ++cell) {
    lib::HintBitmap<std::atomic> empty = shared.empty;
    empty.set(cell);
  }
  state.cells_published = end;
}

// Asks for the pages of `target` entries; for thread records also for the magazines that their
// threads need.
bool PoolMemory::State::request_step(Table number, std::uint32_t target) {
  StepTable& table = tables[number];
  target = std::min(target, table.capacity);
  if (target <= table.target) return true;
  if (number == kThreads) {
    for (std::uint32_t ring = 0; ring < rings.size(); ++ring) {
      const std::uint64_t bytes = cell_bytes(ring, rings[ring].slot_high, target);
      if (request(rings[ring].cells, bytes) != ChargeOutcome::kCharged) return false;
    }
  }
  if (request(table.prefix, target * table.entry_bytes) != ChargeOutcome::kCharged) return false;
  table.target = target;
  return true;
}

// Raises the published counts to their targets where everything that they need is there.
void PoolMemory::State::publish_steps() {
  for (std::size_t number = 0; number < kTables; ++number) {
    StepTable& table = tables[number];
    if (table.published >= table.target) continue;
    bool ready = table.prefix.covers(table.target * table.entry_bytes);
    bool lost = !ready && table.prefix.jobs == 0;
    if (number == kThreads) {
      for (std::uint32_t ring = 0; ring < rings.size(); ++ring) {
        const CommittedPrefix& cells = rings[ring].cells;
        if (cells.covers(cell_bytes(ring, rings[ring].slots_published, table.target))) continue;
        ready = false;
        lost = lost || cells.jobs == 0;
      }
    }
    if (ready) {
      if (number == kThreads) {
        for (std::uint32_t ring = 0; ring < rings.size(); ++ring) publish_cells(ring);
      }
      table.published = table.target;
      table.published_word->store(table.published, std::memory_order_release);
    } else if (lost) {
      table.target = table.published;  // asked for again by the next look
    }
  }
  services.ledger.record_published(ledger_pool, tables[kThreads].published,
                                   tables[kOrders].published);
}

bool PoolMemory::State::more_than_half_used(Table number) const {
  const StepTable& table = tables[number];
  std::uint32_t used = 0;
  for (std::uint32_t i = 0; i < table.published && used <= table.published / 2; ++i) {
    const std::byte* entry = view.base() + table.prefix.offset + i * table.entry_bytes;
    // Thread records and pins begin with their owner's word, order cells and share cells with their state.
    const auto& first = *reinterpret_cast<const std::atomic<std::uint64_t>*>(entry);
    const std::uint64_t word = first.load(std::memory_order_relaxed);
    const bool free = number == kOrders   ? lib::OrderWord{word}.state() == lib::OrderState::kFree
                      : number == kShares ? lib::ShareWord{word}.state() == lib::ShareState::kFree
                                          : word == 0;
    if (!free) ++used;
  }
  return used > table.published / 2;
}

void PoolMemory::State::step_tables() {
  lib::ControlHeader& header = view.header();
  const bool threads = header.threads_wanted.exchange(0, std::memory_order_relaxed) != 0;
  const bool orders = header.orders_wanted.exchange(0, std::memory_order_relaxed) != 0;
  const bool pins = header.pins_wanted.exchange(0, std::memory_order_relaxed) != 0;
  const bool shares = header.shares_wanted.exchange(0, std::memory_order_relaxed) != 0;
  const auto now = std::chrono::steady_clock::now();
  const bool look = now >= next_table_look;
  if (look) next_table_look = now + kTableLook;
  if (header.samples_wanted.exchange(0, std::memory_order_relaxed) != 0) samples_wanted = true;
  // For each thread record there is, once anybody samples; where that is too much, a few more, so that some are served.
  const StepTable& samples = tables[kSamples];
  if (samples_wanted && !request_step(kSamples, tables[kThreads].published)) {
    request_step(kSamples, std::min(tables[kThreads].published, samples.target + kFewBlocks));
  }
  if (samples.target > samples.published) publish_steps();
  for (std::size_t i = 0; i < kTables; ++i) {
    const auto number = static_cast<Table>(i);
    StepTable& table = tables[i];
    if (number == kSamples || table.target > table.published || table.published == table.capacity)
      continue;
    const bool asked = (number == kThreads && threads) || (number == kOrders && orders) ||
                       (number == kPins && pins) || (number == kShares && shares);
    if (!asked && !(look && more_than_half_used(number))) continue;
    // Twice as many; where that is too much, one more step.
    if (!request_step(number, table.published * 2))
      request_step(number, table.published + table.first_step);
    // Its pages may be there already, by the size of a commit: then nothing is to come that would publish it.
    if (table.target > table.published) publish_steps();
  }
}

}  // namespace zeropool::daemon
