// A pool's segments, and the first extents in them.

#include <algorithm>
#include <sys/random.h>

#include <spdlog/spdlog.h>

#include "daemon/page_choice.hpp"
#include "daemon/pool_memory_state.hpp"
#include "zeropool/lib/tracepoint.hpp"

namespace zeropool::daemon {
namespace {

constexpr std::uint64_t kFirstPart = 8;  // of the pool's limit, in all
constexpr std::uint32_t kFirstThreads = 64;
constexpr std::uint32_t kFirstOrders = 256;
constexpr std::uint32_t kFirstShares = 64;
constexpr std::uint32_t kFirstPins = 64;

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

std::uint32_t random_tag() {
  std::uint32_t tag = 0;
  while (tag == 0) {
    if (::getrandom(&tag, sizeof tag, 0) != static_cast<ssize_t>(sizeof tag)) tag = 0;
  }
  return tag;
}

lib::SegmentPages segment_pages(lib::PageKind kind) {
  if (kind == lib::PageKind::kGiant1GiB) return lib::SegmentPages::kGiant1GiB;
  if (kind == lib::PageKind::kHuge2MiB) return lib::SegmentPages::kHuge2MiB;
  return lib::SegmentPages::kSmall;
}

CommittedPrefix prefix_at(std::uint32_t number, std::uint64_t offset, std::uint64_t bytes) {
  CommittedPrefix prefix;
  prefix.number = number;
  prefix.offset = offset;
  prefix.capacity_bytes = round_up(bytes, lib::kSmallPage);
  return prefix;
}

const char* name_of(PageSize size) {
  switch (size) {
    case PageSize::kHuge1GiB: return "1GiB";
    case PageSize::kHuge2MiB: return "2MiB";
    case PageSize::kThp: return "thp";
    case PageSize::kSmall4KiB: return "4KiB";
  }
  return "4KiB";
}

// What the arenas of a pool get, and what was tried before.
struct PageChoice {
  std::vector<PageSize> sizes;      // as configured, never empty
  std::vector<std::size_t> chosen;  // by arena: index of `sizes`
  std::vector<std::string> notes;

  PageSize of(std::size_t arena) const { return sizes[chosen[arena]]; }
  bool is_last(std::size_t arena) const { return chosen[arena] + 1 == sizes.size(); }
  void next(std::size_t arena, const std::string& pool, std::uint32_t node,
            const std::string& why) {
    notes.push_back("pool " + pool + ", node " + std::to_string(node) + ": no " +
                    name_of(of(arena)) + " pages: " + why);
    ++chosen[arena];
  }
};

}  // namespace

PoolMemory::State::~State() {
  services.commits.forget(this);
  if (ledger_pool != lib::kNone) services.ledger.close_pool(ledger_pool);
  // The pages go with the segments, which close only now where no client has them.
  arenas.clear();
  control = {};
  control_fd.reset();
  if (account != nullptr) services.budget.close_account(*account);
}

void PoolMemory::State::lay_out_rings() {
  rings.resize(plan.rings.size());
  std::uint64_t extents = 0;
  for (std::size_t r = 0; r < rings.size(); ++r) {
    const lib::RingPlan& from = plan.rings[r];
    rings[r].first_extent = extents;
    extents += from.extent_count;
    const auto number = kFixedPrefixes + 2 * static_cast<std::uint32_t>(r);
    rings[r].words =
        prefix_at(number, plan.slots_offset + from.first_slot * sizeof(lib::SharedSlotWords),
                  std::uint64_t{from.slot_capacity} * sizeof(lib::SharedSlotWords));
    rings[r].cells = prefix_at(
        number + 1,
        plan.magazines_offset + std::uint64_t{from.first_cell} * sizeof(lib::SharedMagazine),
        std::uint64_t{from.cell_capacity} * sizeof(lib::SharedMagazine));
  }
}

void PoolMemory::State::lay_out_tables() {
  fixed =
      prefix_at(0, 0, plan.threads_offset);  // the header, the constant tables, every ring's hints
  view = lib::ControlView(control.data(), plan);
  const auto set_table = [&](Table number, std::uint64_t offset, std::uint64_t entry_bytes,
                             std::uint32_t capacity, std::uint32_t first,
                             std::atomic<std::uint32_t>& published_word) {
    StepTable& table = tables[number];
    table.prefix =
        prefix_at(1 + static_cast<std::uint32_t>(number), offset, entry_bytes * capacity);
    table.entry_bytes = entry_bytes;
    table.capacity = capacity;
    table.first_step = std::min(first, capacity);
    table.published_word = &published_word;
  };
  lib::ControlHeader& header = view.header();
  const lib::PoolShape& shape = plan.shape;
  set_table(kThreads, plan.threads_offset, plan.thread_record_bytes, shape.thread_capacity,
            kFirstThreads, header.threads_published);
  set_table(kOrders, plan.orders_offset, sizeof(lib::SharedOrderCell), shape.order_capacity,
            kFirstOrders, header.orders_published);
  set_table(kShares, plan.shares_offset, sizeof(lib::ShareCell<std::atomic>), shape.share_capacity,
            kFirstShares, header.shares_published);
  set_table(kPins, plan.pins_offset, sizeof(lib::PinCell<std::atomic>), shape.pin_capacity,
            kFirstPins, header.pins_published);
  // One block a thread record; nothing of it before a client wants some.
  set_table(kSamples, plan.samples_offset, sizeof(lib::SharedSampleBlock), shape.thread_capacity, 0,
            header.samples_published);
}

bool PoolMemory::State::open_segments(const PoolConfig& config, std::uint64_t limit_bytes,
                                      std::string& why) {
  const std::string name = "zeropool-" + plan.shape.name;
  control_fd =
      lib::create_segment(name + "-control", plan.segment_bytes, lib::SegmentPages::kSmall, why);
  if (!control_fd) return false;
  control = lib::map_segment(control_fd.get(), plan.segment_bytes, lib::kGiantPage, why);
  if (!control) return false;
  for (std::size_t a = 0; a < plan.shape.arenas.size(); ++a) {
    const lib::PoolShape::Arena& shape = plan.shape.arenas[a];
    ArenaState arena;
    arena.fd = lib::create_segment(name + "-node" + std::to_string(shape.node), plan.arena_bytes[a],
                                   segment_pages(shape.page_kind), why);
    if (!arena.fd) return false;
    arena.mapping = lib::map_segment(arena.fd.get(), plan.arena_bytes[a], lib::kGiantPage, why);
    if (!arena.mapping) return false;
    arenas.push_back(std::move(arena));
  }
  pool_tag = random_tag();
  ledger_pool = services.ledger.open_pool(plan, pool_tag, why);
  if (ledger_pool == lib::kNone) return false;
  account = &services.budget.open_account(config.name, config.reserved_bytes, limit_bytes);
  lay_out_rings();
  return true;
}

bool PoolMemory::State::commit_metadata(std::string& why) {
  lay_out_tables();
  const lib::PoolShape& shape = plan.shape;
  const auto wanted = [&] {
    std::uint64_t bytes = fixed.capacity_bytes;
    for (const StepTable& table : tables) {
      bytes += round_up(table.first_step * table.entry_bytes, lib::kSmallPage);
    }
    std::uint64_t smallest = ~std::uint64_t{0};
    for (std::uint32_t r = 0; r < rings.size(); ++r) {
      bytes += round_up(cell_bytes(r, 0, tables[kThreads].first_step), lib::kSmallPage);
      smallest = std::min(smallest, plan.rings[r].extent_bytes);
    }
    // One extent, its slots' words, and room for rounding.
    return bytes + smallest +
           smallest / plan.rings.front().class_bytes * sizeof(lib::SharedSlotWords) + 32 * kKiB;
  };
  const std::uint64_t available = services.budget.available(*account);
  if (available < wanted()) {
    why = "pool " + shape.name + " needs at least " + format_bytes(wanted()) + " (" +
          std::to_string(wanted()) +
          " bytes) for its metadata and one extent of one class, and has " +
          std::to_string(available) +
          " bytes: raise its limit or the budget, or lower other pools' reservations, "
          "limits.threads or the "
          "number of classes";
    return false;
  }
  const auto refused = [&] {
    why = "pool " + shape.name +
          ": no memory for its control segment: free some, or raise the cgroup's limit";
    return false;
  };
  if (request(fixed, fixed.capacity_bytes) != ChargeOutcome::kCharged) return refused();
  services.commits.finish();
  if (!fixed.covers(fixed.capacity_bytes)) return refused();
  plan.describe(control.data(), pool_tag);
  write_distances(control.data(), plan, services.topology, nodes);
  for (std::size_t i = 0; i < kTables; ++i) {
    const auto number = static_cast<Table>(i);
    if (!request_step(number, tables[number].first_step)) return refused();
  }
  services.commits.finish();
  const bool all = std::all_of(tables.begin(), tables.end(), [](const StepTable& table) {
    return table.published > 0 || table.first_step == 0;
  });
  return all || refused();
}

void PoolMemory::State::write_policy(const PoolConfig& config, std::uint64_t limit_bytes) {
  constexpr auto kPlain = std::memory_order_relaxed;
  lib::ControlHeader& header = view.header();
  header.scrub.store(config.scrub, kPlain);
  header.placement = config.placement;
  header.wait_timeout_ns.store(static_cast<std::uint64_t>(config.wait.timeout.count()), kPlain);
  header.lease_ns.store(static_cast<std::uint64_t>(config.handoff_lease.count()), kPlain);
  header.client_quota_bytes.store(config.client_quota_bytes.value_or(0), kPlain);
  watermarks = watermarks_of(config, limit_bytes);
  release = config.release;
  for (std::uint32_t r = 0; r < rings.size(); ++r) {
    const lib::RingPlan& from = plan.rings[r];
    const std::uint64_t magazines =
        config.thread_cache_bytes / (std::uint64_t{from.magazine_slots} * from.class_bytes);
    // The plan has magazines for so many spares and no more.
    const std::uint64_t spares =
        std::min<std::uint64_t>(from.spare_limit, magazines > 2 ? magazines - 2 : 0);
    view.descriptor(r).spare_limit.store(static_cast<std::uint32_t>(spares), kPlain);
    view.descriptor(r).put_limit.store(from.magazine_slots, kPlain);
    const std::uint64_t word_bytes = 64 * std::uint64_t{from.magazine_slots} * from.class_bytes;
    // One more, as words that gets and puts have been through are partly empty.
    const std::uint64_t words = (watermarks.low_bytes + word_bytes - 1) / word_bytes + 1;
    view.descriptor(r).low_words.store(
        static_cast<std::uint32_t>(std::min<std::uint64_t>(words, from.cell_capacity)), kPlain);
  }
  record_account();
}

// One extent of each ring, then as many as make min(low watermark, 4 MiB), within an eighth of the
// limit.
void PoolMemory::State::commit_first_extents(std::uint64_t limit_bytes) {
  const std::uint64_t most = limit_bytes / kFirstPart;
  std::uint64_t spent = 0;
  for (std::uint32_t ring = 0; ring < rings.size(); ++ring) {
    if (grow(ring, 1, plan.rings[ring].extent_bytes, GrowFor::kAhead) == GrowOutcome::kStarted) {
      spent += plan.rings[ring].extent_bytes;
    }
  }
  for (std::uint32_t ring = 0; ring < rings.size(); ++ring) {
    const std::uint64_t wanted =
        round_up(std::min(watermarks.low_bytes, kFirstBytes), plan.rings[ring].extent_bytes);
    std::uint64_t have = plan.rings[ring].extent_bytes;
    while (have < wanted && spent + plan.rings[ring].extent_bytes <= most) {
      if (grow(ring, rings[ring].growing_slots + 1, plan.rings[ring].extent_bytes,
               GrowFor::kAhead) != GrowOutcome::kStarted)
        break;
      have += plan.rings[ring].extent_bytes;
      spent += plan.rings[ring].extent_bytes;
    }
    rings[ring].demanded = false;
  }
  services.commits.finish();
}

std::unique_ptr<PoolMemory> PoolMemory::create(const PoolConfig& config,
                                               std::uint64_t pool_limit_bytes,
                                               std::uint32_t client_capacity,
                                               std::uint32_t thread_capacity,
                                               MemoryServices services, std::string& why) {
  const std::uint64_t budget = services.budget.budget();
  const std::uint64_t limit =
      std::min(pool_limit_bytes, config.limit_max_bytes.value_or(pool_limit_bytes));
  lib::PoolShape shape =
      pool_shape(config, services.topology, budget, limit, client_capacity, thread_capacity);
  if (shape.arenas.empty()) {
    why = "pool " + config.name + ": none of its nodes has memory: change nodes";
    return nullptr;
  }
  PageChoice choice;
  choice.sizes = config.page_sizes.value_or(services.default_page_sizes);
  if (choice.sizes.empty()) choice.sizes = {PageSize::kSmall4KiB};
  choice.chosen.assign(shape.arenas.size(), 0);
  const std::uint64_t first_bytes = std::max<std::uint64_t>(
      std::min(limit / kFirstPart / shape.arenas.size(), shape.class_bytes.size() * kFirstBytes),
      lib::kHugePage);
  for (std::size_t a = 0; a < shape.arenas.size(); ++a) {
    for (std::string refusal; !choice.is_last(a);
         choice.next(a, config.name, shape.arenas[a].node, refusal)) {
      // A page for a moment: it is committed, so it counts.
      const std::uint64_t probe = lib::page_bytes(page_kind_of(choice.of(a)));
      if (services.budget.borrow(probe)) {
        refusal =
            why_not_page_size(choice.of(a), shape.arenas[a].node, first_bytes, services.commits);
        services.budget.refund_overhead(probe);
      } else {
        refusal = "the budget has no room for one more";
      }
      if (refusal.empty()) break;
    }
  }
  // Each round either succeeds, or takes a smaller page for an arena, or fails.
  for (;;) {
    for (std::size_t a = 0; a < shape.arenas.size(); ++a) {
      shape.arenas[a].page_kind = page_kind_of(choice.of(a));
    }
    auto state = std::make_unique<State>(services);
    state->nodes = arena_nodes(config, services.topology);
    why = lib::plan_control_segment(shape, state->plan);
    if (!why.empty()) {
      why = "pool " + config.name + ": " + why;
      return nullptr;
    }
    std::string problem;
    if (!state->open_segments(config, limit, problem) || !state->commit_metadata(problem)) {
      // Larger pages mean larger extents: perhaps a smaller one fits.
      bool smaller = false;
      for (std::size_t a = 0; a < shape.arenas.size(); ++a) {
        if (choice.is_last(a) || choice.of(a) != PageSize::kHuge1GiB) continue;
        choice.next(a, config.name, shape.arenas[a].node, problem);
        smaller = true;
      }
      if (smaller) continue;
      why = problem;
      return nullptr;
    }
    state->write_policy(config, limit);
    state->commit_first_extents(limit);
    bool retry = false;
    for (std::size_t a = 0; a < state->arenas.size(); ++a) {
      if (!state->arenas[a].refused || choice.is_last(a)) continue;
      choice.next(a, config.name, shape.arenas[a].node, "the first extents could not be committed");
      retry = true;
    }
    if (retry) continue;
    const bool any = std::any_of(state->rings.begin(), state->rings.end(),
                                 [](const RingState& ring) { return ring.slots_in_service > 0; });
    if (!any) {
      why = "pool " + config.name + ": not one extent could be committed: no " +
            name_of(choice.of(0)) +
            " pages, or no memory, on its nodes; allow smaller pages (pages.size), or free memory";
      return nullptr;
    }
    for (ArenaState& arena : state->arenas) arena.full_until = {};
    state->notes = choice.notes;
    for (std::size_t a = 0; a < shape.arenas.size(); ++a) {
      state->notes.push_back("pool " + config.name + ", node " +
                             std::to_string(shape.arenas[a].node) + ": " + name_of(choice.of(a)) +
                             " pages");
      if (choice.chosen[a] == 0) continue;
      lib::tracepoint::fall_back(config.name.c_str(), shape.arenas[a].node,
                                 static_cast<std::uint32_t>(choice.sizes.front()),
                                 static_cast<std::uint32_t>(choice.of(a)));
      ++state->counts.page_fallbacks[static_cast<std::size_t>(choice.sizes.front())]
                                    [static_cast<std::size_t>(choice.of(a))];
    }
    for (const std::string& note : state->notes) spdlog::info("{}", note);
    return std::unique_ptr<PoolMemory>(new PoolMemory(std::move(state)));
  }
}

}  // namespace zeropool::daemon
