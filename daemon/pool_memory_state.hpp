#pragma once
// What PoolMemory keeps. Its functions are spread over files by what they do:
//   pool_create.cpp   the segments, and the first extents
//   pool_adopt.cpp    those of an earlier daemon
//   metadata.cpp      the control segment's tables, committed from their fronts; thread records,
//   order cells
//   grow.cpp          extents in
//   publish.cpp       slots into the ring
//   trim.cpp          slots out of the ring, extents out
//   quarantine.cpp    slots that the kernel may still write: their pages replaced
//   watermarks.cpp    ahead of demand
//   idle_release.cpp  what nobody has needed for a while
//   verify_placement.cpp  on which node pages really lie
//   strays.cpp        pages that nobody committed
//
// Thread safety: the loop thread's.
// Invariants:
//   E1  RingState::in_service says which slots the daemon has handed to the ring; what clients
//       write never
//       changes it. An extent is punched only while no slot that touches it is in service.
//   E2  slot words and magazines below slots_published and cells_published are committed, and stay
//       so.
//   E3  A slot that shares a page with a quarantined one is not handed to the ring: that page may be a hole.

#include <array>
#include <atomic>
#include <chrono>
#include <deque>
#include <map>
#include <utility>

#include "daemon/demand_window.hpp"
#include "daemon/extents.hpp"
#include "daemon/pool_memory.hpp"
#include "daemon/pool_shape.hpp"
#include "daemon/slot_runs.hpp"
#include "zeropool/lib/segment.hpp"

namespace zeropool::daemon {

// A table of the control segment, committed from its front in steps.
struct CommittedPrefix {
  std::uint32_t number = 0;  // in the ledger
  std::uint64_t offset = 0;
  std::uint64_t capacity_bytes = 0;  // whole pages
  std::uint64_t committed_bytes = 0;
  std::uint64_t requested_bytes = 0;  // with what is under way
  std::uint32_t jobs = 0;
  bool failed = false;  // a job failed: no new ones until those under way are back

  bool covers(std::uint64_t bytes) const noexcept { return bytes <= committed_bytes; }
};

// A table whose entries are published in steps, because clients use them up.
struct StepTable {
  CommittedPrefix prefix;
  std::uint64_t entry_bytes = 0;
  std::uint32_t capacity = 0;
  std::uint32_t first_step = 0;
  std::uint32_t published = 0;
  std::uint32_t target = 0;
  std::atomic<std::uint32_t>* published_word = nullptr;  // in the header
};
enum Table : std::size_t { kThreads, kOrders, kShares, kPins, kSamples, kTables };
static_assert(kFixedPrefixes == 1 + kTables);

// Quarantined slots of a ring, by the daemon's own record (quarantine.cpp).
struct Quarantine {
  SlotRuns slots;
  std::uint32_t cursor = 0;    // where the next round begins
  std::uint32_t jobs = 0;      // of the round that is under way
  std::uint64_t replaced = 0;  // since there were none
  bool progress = false;       // this round replaced some
  bool refused = false;        // that new pages could not be had was logged
  std::chrono::nanoseconds wait{};
  std::chrono::steady_clock::time_point retry_at{};
};

// What a ring was released of by itself, and may be (idle_release.cpp).
struct IdleRelease {
  DemandWindow demand;  // in slots
  std::chrono::steady_clock::time_point not_before{};
  std::chrono::steady_clock::time_point released_at{};
  std::uint32_t regrets = 0;    // times that it grew again soon
  std::uint32_t fruitless = 0;  // looks one after the other that could release nothing
};

// Whole pages of a region, and the slots that touch them.
struct PageBlock {
  SlotRange slots;          // from the first to the last quarantined one
  std::uint64_t begin = 0;  // bytes from the region's first
  std::uint64_t end = 0;
  SlotRange touching;
};

enum class GrowFor { kOrder, kAhead };  // somebody waits, or nobody yet

struct RingState {
  std::uint64_t first_extent = 0;  // its number in the ledger
  CommittedPrefix words;
  CommittedPrefix cells;
  std::vector<bool> in_service;  // by slot, up to slots_published
  std::uint64_t slots_in_service = 0;
  std::uint64_t growing_slots = 0;
  std::uint32_t slot_high = 0;  // slots that words and magazines were asked for
  // The daemon's own copies of the published counts, for its views: those in the segment can be
  // written by
  // clients, and a look beyond what is committed would bring pages.
  std::atomic<std::uint32_t> slots_published = 0;
  std::atomic<std::uint32_t> cells_published = 0;
  std::uint32_t lowest_absent = 0;      // no extent below it is absent
  std::vector<std::uint32_t> stranded;  // committed slots that no magazine was found for
  Quarantine quarantine;
  std::vector<std::uint32_t>
      unpunched;  // extents in state punching: the kernel refused, they stay charged
  bool demanded = false;
  IdleRelease idle;
  // A look for idle extents that found none is not made again at once, but by a command: it costs a look at every
  // magazine, and may be asked for at every put while orders wait.
  std::chrono::steady_clock::time_point no_look_before{};
};

// Where the search for strays stands in a segment.
struct StraySearch {
  std::uint64_t cursor = 0;
  std::uint64_t punched_bytes = 0;  // since it began at 0
  std::uint32_t fruitless = 0;      // whole searches one after the other that punched nothing
  std::uint64_t not_before_ns = 0;
};

struct ArenaState {
  lib::UniqueFd fd;
  lib::Mapping mapping;
  std::uint64_t committed_bytes = 0;
  std::uint64_t committing_bytes = 0;                  // with the commit thread
  std::chrono::steady_clock::time_point full_until{};  // its node refused: no new try before
  bool refused = false;                                // since the last commit that it allowed
  // By the last look at each extent, by its number in the ledger; and their sum.
  std::map<std::uint64_t, std::uint64_t> misplaced;
  std::uint64_t misplaced_bytes = 0;
  bool said_misplaced = false;

  // Returns what it was.
  std::uint64_t forget_misplaced(std::uint64_t number);
};

inline constexpr std::uint64_t kFirstBytes = 4 * kMiB;  // of a ring at start, at most

struct PoolMemory::State {
  using Clock = std::chrono::steady_clock;

  explicit State(MemoryServices from) : services(std::move(from)) {}
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // pool_create.cpp
  void lay_out_rings();
  void lay_out_tables();
  bool open_segments(const PoolConfig& config, std::uint64_t limit_bytes, std::string& why);
  bool commit_metadata(std::string& why);
  void commit_first_extents(std::uint64_t limit_bytes);
  void write_policy(const PoolConfig& config, std::uint64_t limit_bytes);

  // pool_adopt.cpp
  bool adopt_segments(PoolSegments segments, std::string& why);
  bool adopt_metadata(std::string& why);
  std::uint64_t adopt_prefix(CommittedPrefix& prefix);
  void adopt_extents();
  void adopt_ring(std::uint32_t ring);
  std::uint64_t give_back_grants(std::uint32_t ring);

  // metadata.cpp
  ChargeOutcome charge(std::uint64_t bytes);
  void refund(std::uint64_t bytes);
  void record_account();
  ChargeOutcome request(CommittedPrefix& prefix, std::uint64_t bytes);
  void metadata_done(CommittedPrefix& prefix, std::uint64_t begin, std::uint64_t end,
                     CommitResult result);
  std::uint64_t cell_bytes(std::uint32_t ring, std::uint64_t slots, std::uint32_t threads) const;
  void publish_cells(std::uint32_t ring);
  bool request_step(Table table, std::uint32_t target);
  void publish_steps();
  void step_tables();
  bool more_than_half_used(Table table) const;

  // grow.cpp
  GrowOutcome grow(std::uint32_t ring, std::uint64_t slots, std::uint64_t most_bytes, GrowFor whom);
  GrowOutcome begin_extent(std::uint32_t ring, std::uint32_t extent, GrowFor whom,
                           std::uint64_t& gained_slots);
  void extent_done(std::uint32_t ring, std::uint32_t extent, std::uint64_t gained_slots,
                   CommitResult result);
  std::uint64_t slots_gained(std::uint32_t ring, std::uint32_t extent) const;
  std::uint32_t next_absent(std::uint32_t ring);
  CommitRange extent_range(std::uint32_t ring, std::uint32_t extent) const;
  ExtentState extent_state(std::uint32_t ring, std::uint32_t extent) const;
  void set_extent_state(std::uint32_t ring, std::uint32_t extent, ExtentState state);

  // publish.cpp
  void publish_extent(std::uint32_t ring, std::uint32_t extent);
  bool is_committed(std::uint32_t ring, std::uint32_t slot) const;
  bool is_publishable(std::uint32_t ring, std::uint32_t slot) const;
  void put_in_ring(std::uint32_t ring, const std::vector<std::uint32_t>& slots,
                   std::uint32_t fresh_extent = lib::kNone);

  // trim.cpp
  TrimReport trim(std::uint64_t wanted_bytes, std::uint32_t except_ring, ReleaseReason reason);
  std::uint64_t most_released(std::uint32_t except_ring, ReleaseReason reason) const;
  bool is_trimmed_for(std::uint32_t ring, ReleaseReason reason) const;
  void count_release(const TrimReport& report, ReleaseReason reason);
  void trim_ring(std::uint32_t ring, std::uint64_t wanted_bytes, TrimReport& report);
  std::vector<std::uint32_t> idle_extents(std::uint32_t ring, std::uint64_t most) const;
  std::vector<bool> slots_in_use(std::uint32_t ring) const;
  std::vector<SlotRange> pinned_slots(std::uint32_t ring) const;
  std::vector<bool> pinned_extents(std::uint32_t ring) const;
  std::uint64_t pinned_bytes(std::uint32_t arena) const;
  std::vector<std::uint32_t> withdraw(std::uint32_t ring, const std::vector<bool>& wanted,
                                      SlotRange window);
  void withdraw_from(std::uint32_t ring, std::uint32_t cell, const std::vector<bool>& wanted,
                     std::vector<std::uint32_t>& withdrawn);
  bool is_withdrawn(std::uint32_t ring, std::uint32_t extent) const;
  bool punch_extent(std::uint32_t ring, std::uint32_t extent);
  bool finish_punch(std::uint32_t ring, std::uint32_t extent);
  void punch_again(std::uint32_t ring);

  // verify_placement.cpp
  void verify_extent(std::uint32_t ring, std::uint32_t extent, std::uint32_t looks);
  void verify_after_growth(std::uint32_t ring, std::uint32_t extent);
  void verify_some(std::uint32_t extents);

  // quarantine.cpp
  void quarantine(std::uint32_t ring, std::uint32_t slot);
  void replace_quarantined(std::uint32_t ring);
  std::chrono::nanoseconds next_replacement() const;
  bool shares_quarantined_page(std::uint32_t ring, std::uint32_t slot) const;
  PageBlock pages_of(std::uint32_t ring, SlotRange slots) const;
  PageBlock next_block(std::uint32_t ring, std::uint32_t from) const;
  std::vector<PageBlock> choose_blocks(std::uint32_t ring);
  void drop_busy_blocks(std::uint32_t ring, std::vector<PageBlock>& blocks);
  bool has_slots_in_service(std::uint32_t ring, const PageBlock& block) const;
  void submit_block(std::uint32_t ring, const PageBlock& block);
  void block_done(std::uint32_t ring, const PageBlock& block, CommitResult result);
  void renew(std::uint32_t ring, const PageBlock& block);
  void end_round(std::uint32_t ring);

  // watermarks.cpp
  void top_up();
  void growth_ended(std::uint32_t ring);
  std::uint64_t free_slots(std::uint32_t ring) const;
  std::uint64_t cold_slots(std::uint32_t ring) const;

  // idle_release.cpp
  IdleLook release_idle(std::uint64_t most_bytes, bool clients_attached, Clock::time_point now);
  void note_growth(std::uint32_t ring, std::uint64_t slots, Clock::time_point now);
  std::uint64_t used_slots(std::uint32_t ring) const;
  std::uint64_t floor_bytes(std::uint32_t ring) const;
  std::uint64_t surplus_bytes(std::uint32_t ring) const;
  bool above_floor() const;

  // strays.cpp
  void punch_strays(std::uint64_t now_ns, std::uint64_t deadline_ns, StrayReport& report);
  struct Segment;
  void look_at_segment(const Segment& segment, StraySearch& search, std::uint64_t now_ns,
                       std::uint64_t deadline_ns, StrayReport& report);
  ByteRange next_hole(std::uint32_t arena, std::uint64_t from) const;
  ByteRange next_table_hole(std::uint64_t from) const;

  lib::SharedRingView ring_view(std::uint32_t ring) const {
    lib::SharedRingView shared = view.ring(ring, plan.rings[ring]);
    shared.cells_published = &rings[ring].cells_published;
    shared.slots_published = &rings[ring].slots_published;
    return shared;
  }

  MemoryServices services;
  PoolAccount* account = nullptr;
  lib::ControlPlan plan;
  lib::ControlView view;
  lib::UniqueFd control_fd;
  lib::Mapping control;
  CommittedPrefix fixed;  // header, constant tables, hints
  std::array<StepTable, kTables> tables;
  std::deque<RingState> rings;  // never moved: views point at its published counts
  std::vector<ArenaState> arenas;
  std::vector<std::uint32_t> nodes;  // of the arenas: indices into topology.nodes
  std::uint32_t ledger_pool = lib::kNone;
  std::uint32_t pool_tag = 0;
  Watermarks watermarks;
  std::uint64_t metadata_bytes = 0;
  std::vector<StraySearch> stray_searches;  // one a data segment, then the control segment's
  MemoryCounts counts;
  ReleaseConfig release;
  bool looked_with_clients = true;       // at the last release_idle()
  Clock::time_point no_top_up_before{};  // the system is short of memory
  std::uint32_t verify_ring = 0;         // what verify_some looks at next
  std::uint32_t verify_next = 0;
  std::uint64_t look_number = 0;
  std::vector<std::string> notes;
  std::chrono::steady_clock::time_point next_table_look{};
  bool samples_wanted = false;  // by some client, once
  std::function<void(std::uint32_t)> published;
};

}  // namespace zeropool::daemon
