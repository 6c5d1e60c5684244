// A pool that an earlier daemon left, killed between any two of its instructions.
//
//   1  the ledger's shape gives the plan, the kept descriptors the segments
//   2  tables: what is committed of each is a prefix; what a broken commit left behind it is punched
//   3  extents by their state in the ledger (ledger.hpp)
//   4  magazines that the dead daemon owned, and grants that it never answered, go back to the ring
//   5  slots with a Quarantined mark in published extents wait for other pages (quarantine.cpp)
//   6  slots with an Absent mark in published extents are the daemon's: into the ring, but for those that share a page
//      with a quarantined one, which may be a hole
//
// Every step is one that can be done again: a daemon killed in here is followed by one that begins at 1.
// Clients go on all the while. Trust: counts that they can write are bounded by what the ledger and the committed
// pages say.

#include <algorithm>
#include <sys/stat.h>

#include <spdlog/spdlog.h>

#include "daemon/pool_memory_state.hpp"
#include "zeropool/lib/reclaim.hpp"

namespace zeropool::daemon {
namespace {

constexpr auto kPlain = std::memory_order_relaxed;

bool has_size(int fd, std::uint64_t bytes) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && static_cast<std::uint64_t>(info.st_size) == bytes;
}

std::uint32_t within(std::uint64_t value, std::uint64_t low, std::uint64_t high) {
  return static_cast<std::uint32_t>(std::clamp(value, std::min(low, high), high));
}

}  // namespace

bool PoolMemory::State::adopt_segments(PoolSegments segments, std::string& why) {
  if (segments.data.size() != plan.shape.arenas.size() ||
      !has_size(segments.control.get(), plan.segment_bytes)) {
    why = "what is kept of it is not what the ledger says";
    return false;
  }
  control_fd = std::move(segments.control);
  control = lib::map_segment(control_fd.get(), plan.segment_bytes, lib::kGiantPage, why);
  if (!control) return false;
  for (std::size_t a = 0; a < segments.data.size(); ++a) {
    ArenaState arena;
    arena.fd = std::move(segments.data[a]);
    if (!has_size(arena.fd.get(), plan.arena_bytes[a])) {
      why = "what is kept of its arenas is not what the ledger says";
      return false;
    }
    arena.mapping = lib::map_segment(arena.fd.get(), plan.arena_bytes[a], lib::kGiantPage, why);
    if (!arena.mapping) return false;
    arenas.push_back(std::move(arena));
  }
  return true;
}

// What the ledger says is there of a table; punches what a broken commit, or a stray touch, left behind it.
std::uint64_t PoolMemory::State::adopt_prefix(CommittedPrefix& prefix) {
  const std::uint64_t there =
      std::min(services.ledger.prefix(ledger_pool, prefix.number), prefix.capacity_bytes);
  prefix.committed_bytes = prefix.requested_bytes = there;
  punch_range({control_fd.get(), control.data(), prefix.offset + there,
               prefix.capacity_bytes - there, lib::PageKind::kSmall4KiB, 0});
  metadata_bytes += there;
  return there;
}

bool PoolMemory::State::adopt_metadata(std::string& why) {
  lay_out_rings();
  lay_out_tables();
  if (adopt_prefix(fixed) < fixed.capacity_bytes) {
    why = "it was not finished when its daemon was killed";
    return false;
  }
  plan.describe(control.data(), pool_tag);  // the same words again, whatever a client wrote there
  write_distances(control.data(), plan, services.topology, nodes);
  const LedgerPool& entry = services.ledger.pool(ledger_pool);
  for (std::size_t i = 0; i < kTables; ++i) {
    StepTable& table = tables[i];
    const std::uint64_t there =
        std::min<std::uint64_t>(adopt_prefix(table.prefix) / table.entry_bytes, table.capacity);
    // The ledger's word for two of them; the others serve nobody before they are published.
    std::uint64_t before = table.published_word->load(kPlain);
    if (i == kThreads) before = entry.threads_published.load(kPlain);
    if (i == kOrders) before = entry.orders_published.load(kPlain);
    table.published = table.target = within(before, 0, there);
    table.published_word->store(table.published, std::memory_order_release);
  }
  samples_wanted = tables[kSamples].published > 0;
  for (std::uint32_t r = 0; r < rings.size(); ++r) {
    RingState& ring = rings[r];
    const lib::RingPlan& from = plan.rings[r];
    adopt_prefix(ring.words);
    adopt_prefix(ring.cells);
    std::uint32_t high = 0;  // of the slots that were surely published
    for (std::uint32_t extent = 0; extent < from.extent_count; ++extent) {
      const ExtentState state = extent_state(r, extent);
      if (state == ExtentState::kPublished || state == ExtentState::kDraining) {
        high = std::max(high, slots_touching(from, extent).end);
      }
    }
    const std::uint64_t words = std::min<std::uint64_t>(
        ring.words.committed_bytes / sizeof(lib::SharedSlotWords), from.slot_capacity);
    const std::uint64_t cells = std::min<std::uint64_t>(
        ring.cells.committed_bytes / sizeof(lib::SharedMagazine), from.cell_capacity);
    lib::RingDescriptor& shared = view.descriptor(r);
    ring.slots_published = within(shared.slots_published.load(kPlain), high, words);
    ring.cells_published = within(shared.cells_published.load(kPlain), 0, cells);
    ring.slot_high = ring.slots_published;
    ring.in_service.assign(ring.slots_published, false);
    shared.slots_published.store(ring.slots_published, std::memory_order_release);
    shared.cells_published.store(ring.cells_published, std::memory_order_release);
    shared.drain_end.store(0, std::memory_order_release);
    shared.drain_begin.store(0, kPlain);
  }
  return true;
}

// Step 3; what is punched counts as absent from the first instant, what is published as committed.
void PoolMemory::State::adopt_extents() {
  for (std::uint32_t r = 0; r < rings.size(); ++r) {
    const lib::RingPlan& from = plan.rings[r];
    std::uint32_t absent = 0;  // first of a run
    const auto punch_run = [&](std::uint32_t end) {
      if (absent == end) return;
      CommitRange run = extent_range(r, absent);
      run.bytes = (end - absent) * from.extent_bytes;
      punch_range(run);
    };
    for (std::uint32_t extent = 0; extent < from.extent_count; ++extent) {
      const ExtentState state = extent_state(r, extent);
      if (state == ExtentState::kPublished || state == ExtentState::kDraining) {
        set_extent_state(r, extent, ExtentState::kPublished);
        arenas[from.arena].committed_bytes += from.extent_bytes;
        punch_run(extent);
        absent = extent + 1;
      }
    }
    punch_run(from.extent_count);
    for (std::uint32_t extent = 0; extent < from.extent_count; ++extent) {
      if (extent_state(r, extent) != ExtentState::kPublished) {
        set_extent_state(r, extent, ExtentState::kAbsent);
      }
    }
  }
  std::uint64_t bytes = metadata_bytes;
  for (const ArenaState& arena : arenas) bytes += arena.committed_bytes;
  services.budget.adopt(*account, bytes);
}

// Grants whose order is not Granted with their sequence: nobody will accept them (order_cell.hpp).
std::uint64_t PoolMemory::State::give_back_grants(std::uint32_t ring) {
  lib::SharedBatchRing shared(ring_view(ring));
  std::uint64_t given = 0;
  for (std::uint32_t cell = 0; cell < rings[ring].cells_published; ++cell) {
    const lib::OwnerWord owner{shared.view().cells[cell].owner.load(std::memory_order_acquire)};
    if (owner.kind() != lib::OwnerKind::kGrant) continue;
    bool granted = false;
    if (owner.order() < tables[kOrders].published) {
      const lib::OrderWord order{view.order(owner.order()).word.load(std::memory_order_acquire)};
      granted = order.state() == lib::OrderState::kGranted && order.client() == owner.client() &&
                order.epoch() == owner.epoch() &&
                (order.sequence() & lib::OwnerWord::kSequenceMask) == owner.sequence();
    }
    // A CAS from that very word: a client that has just accepted it wins.
    if (!granted && shared.release_cold(cell, owner)) ++given;
  }
  return given;
}

// Steps 4 to 6.
void PoolMemory::State::adopt_ring(std::uint32_t ring) {
  RingState& state = rings[ring];
  publish_cells(ring);
  const lib::SharedRingView shared = ring_view(ring);
  const std::uint64_t grants = give_back_grants(ring);
  const lib::ReclaimReport mended =
      lib::Reclaimer<std::atomic>(shared, lib::kDaemonClient, 0).magazines_only();
  const auto state_of = [&](std::uint32_t slot) {
    return lib::Mark{shared.slots[slot].mark.load(std::memory_order_acquire)}.state();
  };
  for (std::uint32_t slot = 0; slot < state.slots_published; ++slot) {
    if (is_committed(ring, slot) && state_of(slot) == lib::SlotState::kQuarantined) {
      state.quarantine.slots.add(slot);
    }
  }
  std::vector<std::uint32_t> own;
  for (std::uint32_t slot = 0; slot < state.slots_published; ++slot) {
    if (!is_committed(ring, slot) || state.quarantine.slots.contains(slot)) continue;
    if (state_of(slot) == lib::SlotState::kAbsent) {
      if (is_publishable(ring, slot)) own.push_back(slot);
    } else {
      state.in_service[slot] = true;
      ++state.slots_in_service;
    }
  }
  put_in_ring(ring, own);
  if (!state.quarantine.slots.empty()) {
    spdlog::info("pool '{}': {} slots were quarantined by the daemon before", plan.shape.name,
                 state.quarantine.slots.count());
  }
  if (mended.magazines + grants + own.size() > 0) {
    spdlog::info(
        "pool '{}': {} magazines and {} grants of the daemon before went back to the ring, and {} "
        "slots",
        plan.shape.name, mended.magazines, grants, own.size());
  }
}

std::unique_ptr<PoolMemory> PoolMemory::adopt(const PoolConfig& config,
                                              std::uint64_t pool_limit_bytes,
                                              std::uint32_t ledger_pool, PoolSegments segments,
                                              MemoryServices services, std::string& why) {
  auto state = std::make_unique<State>(services);
  state->ledger_pool = ledger_pool;
  state->pool_tag = services.ledger.pool(ledger_pool).pool_tag;
  why = lib::plan_control_segment(services.ledger.shape(ledger_pool), state->plan);
  if (!why.empty() || !state->adopt_segments(std::move(segments), why)) return nullptr;
  for (const lib::PoolShape::Arena& arena : state->plan.shape.arenas) {
    // By the node's id: the machine may have others than the configuration names now.
    std::uint32_t node = 0;
    for (std::uint32_t n = 0; n < services.topology.nodes.size(); ++n) {
      if (services.topology.nodes[n].id == arena.node) node = n;
    }
    state->nodes.push_back(node);
  }
  const std::uint64_t limit = std::min(pool_limit_bytes, state->plan.shape.region_bytes);
  state->account = &services.budget.open_account(config.name, config.reserved_bytes, limit);
  if (!state->adopt_metadata(why)) return nullptr;
  state->adopt_extents();
  lib::ControlHeader& header = state->view.header();
  header.sleeping.store(0, kPlain);
  const std::uint32_t version = header.holders_version.load(kPlain);
  header.holders_version.store(version + version % 2, std::memory_order_release);
  state->write_policy(config, limit);
  for (std::uint32_t ring = 0; ring < state->rings.size(); ++ring) state->adopt_ring(ring);
  state->services.ledger.record_published(ledger_pool, state->tables[kThreads].published,
                                          state->tables[kOrders].published);
  state->notes.push_back("pool " + config.name + ": taken up from the daemon before");
  return std::unique_ptr<PoolMemory>(new PoolMemory(std::move(state)));
}

}  // namespace zeropool::daemon
