#pragma once
// The memory of one pool: control segment, data segments, and the extents that are committed in
// them.
//
// Thread safety: the loop thread's, but for what the commit thread does behind it
// (commit_thread.hpp).
// Invariants:
//   P1  Every byte is charged to the budget before it is committed, and refunded after it is
//       released.
//   P2  A slot is published only when every extent that it touches is committed and populated, and
//       so are its
//       words, and magazines enough for it.
//   P3  An extent, or a page of one, is punched only while the daemon holds every slot that touches it.
// Crash safety: the ledger holds the state of every extent; see ledger.hpp.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "daemon/budget.hpp"
#include "daemon/commit_thread.hpp"
#include "daemon/config.hpp"
#include "daemon/ledger.hpp"
#include "zeropool/lib/control_plan.hpp"
#include "zeropool/lib/control_view.hpp"
#include "zeropool/lib/topology.hpp"

namespace zeropool::daemon {

// What the memory of all pools shares.
struct MemoryServices {
  Budget& budget;
  Ledger& ledger;
  CommitThread& commits;
  const lib::Topology& topology;
  std::vector<PageSize> default_page_sizes;
};

// A pool's descriptors, kept from a daemon to the next.
struct PoolSegments {
  lib::UniqueFd control;
  std::vector<lib::UniqueFd> data;  // by arena
};

enum class GrowOutcome {
  kStarted,       // extents are being committed
  kUnderWay,      // so many were asked for already
  kBudgetSpent,   // the global budget, less other pools' reservations
  kLimitReached,  // the pool's own limit
  kRegionFull,    // the class has all the addresses that were set aside
  kNodeFull,      // no memory (or no hugepages) on that node, or in our cgroup
};

// How many entries of the control segment's tables are there.
struct TableCounts {
  std::uint32_t threads = 0;
  std::uint32_t orders = 0;
  std::uint32_t shares = 0;
  std::uint32_t pins = 0;
  std::uint32_t samples = 0;
};

struct TrimReport {
  std::uint64_t extents = 0;
  std::uint64_t bytes = 0;
};

// Why committed memory goes back.
enum class ReleaseReason : std::size_t {
  kOrder,     // an order waits for memory, and the budget or a limit is spent
  kIdle,      // nobody has needed it for a while
  kPressure,  // the system is short of memory
  kShrink,    // more is committed than the budget or a limit allows, since a reload or a restart
  kCommand,   // zeropoolctl trim
};
inline constexpr std::size_t kReleaseReasons = 5;
using ReleasedBytes = std::array<std::uint64_t, kReleaseReasons>;

inline constexpr std::size_t kPageSizes = 4;
// What a pool's memory has counted.
struct MemoryCounts {
  std::uint64_t trims = 0;
  std::uint64_t trimmed_bytes = 0;
  ReleasedBytes released_bytes{};  // their sum is trimmed_bytes
  std::array<std::array<std::uint64_t, kPageSizes>, kPageSizes> page_fallbacks{};  // [from][to]
};

// By release_idle().
struct IdleLook {
  TrimReport released;
  bool more = false;   // can be released, in the next turn
  bool later = false;  // could be, once it has been idle for as long as the window is
};

// [begin, end)
struct ByteRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

// Pages that nobody committed: somebody touched what is not published.
struct StrayReport {
  std::uint64_t bytes = 0;  // there at the look
  std::uint64_t punched_bytes = 0;
  bool searching = false;  // there is more to look at
  std::vector<std::string> where;
};

class PoolMemory {
 public:
  // Null: `why` says what could not be had, and what to do. Commits the metadata and a first few
  // extents.
  static std::unique_ptr<PoolMemory> create(const PoolConfig& config,
                                            std::uint64_t pool_limit_bytes,
                                            std::uint32_t client_capacity,
                                            std::uint32_t thread_capacity, MemoryServices services,
                                            std::string& why);
  // Takes up the pool `ledger_pool` of the adopted ledger where an earlier daemon, killed anywhere, left it. Null:
  // `why`, and nothing is lost for the next try.
  static std::unique_ptr<PoolMemory> adopt(const PoolConfig& config, std::uint64_t pool_limit_bytes,
                                           std::uint32_t ledger_pool, PoolSegments segments,
                                           MemoryServices services, std::string& why);
  ~PoolMemory();
  PoolMemory(const PoolMemory&) = delete;
  PoolMemory& operator=(const PoolMemory&) = delete;

  const std::string& name() const;
  const lib::ControlPlan& plan() const;  // rings(), arenas: the daemon's own truth
  const lib::ControlView& view() const;
  lib::ControlHeader& header() const;
  // Bounded by what the daemon itself has published, whatever clients write into the segment's
  // counts.
  lib::SharedRingView ring(std::uint32_t number) const;
  std::uint32_t ring_count() const;
  // The daemon's own count of what it has published: a look beyond, at the word of a client, would bring pages.
  TableCounts published() const;
  int control_fd() const;
  int data_fd(std::uint32_t arena) const;

  // Called on the loop thread whenever an extent of a ring has been published, or could not be
  // committed: then
  // grow() says kNodeFull for a while, and whoever waits for slots should look elsewhere.
  void on_published(std::function<void(std::uint32_t ring)> callback);

  // Starts to commit extents for at least `slots` more slots of a ring.
  GrowOutcome grow(std::uint32_t ring, std::uint64_t slots);
  // Answers raised `low` words, and rings below their low watermark: grows them towards the high
  // one, within
  // what budget and limit leave. Also publishes more thread records and order cells when they run
  // short.
  void top_up();
  // Releases extents whose slots all lie in the ring, of every ring but `except_ring` (lib::kNone:
  // none). A
  // bounded piece of work: to release all that can be, call it until it reports none.
  // For pressure only cold extents on ordinary pages: hugepages would go back to their own pool, and help nobody.
  TrimReport trim(std::uint64_t wanted_bytes, std::uint32_t except_ring,
                  ReleaseReason reason = ReleaseReason::kOrder);
  // Releases what no class has needed within its window, never what is reserved: at most about `most_bytes` a call.
  // To be called some eight times a window while clients are attached (demand_window.hpp).
  IdleLook release_idle(std::uint64_t most_bytes, bool clients_attached,
                        std::chrono::steady_clock::time_point now);
  // More is committed than what release_idle() leaves a pool that nobody uses.
  bool above_floor() const;
  const ReleaseConfig& release_config() const;
  // No growth ahead of demand till then.
  void no_top_up_before(std::chrono::steady_clock::time_point then);

  // Looks where some pages of up to `extents` extents lie, others at each call. Nothing on a machine of one node.
  void verify_placement(std::uint32_t extents);
  // Compares what each segment occupies with what is committed (one fstat each), and punches out what is too much:
  // until `deadline_ns`, then on from there at the next call.
  StrayReport punch_strays(std::uint64_t now_ns, std::uint64_t deadline_ns);
  // Reclaim has marked this slot quarantined: the kernel may still write it.
  void quarantine(std::uint32_t ring, std::uint32_t slot);
  // Begins to replace the pages of quarantined slots, where it is time. What could be replaced is told as published.
  void replace_quarantined();
  // When to call that again; zero: no need.
  std::chrono::nanoseconds next_replacement() const;
  std::uint64_t quarantined_slots(std::uint32_t ring) const;
  bool is_quarantined(std::uint32_t ring, std::uint32_t slot) const;

  // The account that its bytes are charged to.
  PoolAccount& account();
  std::uint64_t committed_bytes(std::uint32_t arena) const;  // data only
  // Of those, on another node than asked for: by samples, right after each commit and by verify_placement().
  std::uint64_t misplaced_bytes(std::uint32_t arena) const;
  std::uint64_t pinned_bytes(std::uint32_t arena) const;    // each slot once; a scan of all pins
  std::uint64_t metadata_bytes() const;                     // control segment
  std::uint64_t published_slots(std::uint32_t ring) const;  // exact: slots handed to the ring
  bool in_service(std::uint32_t ring,
                  std::uint32_t slot) const;  // handed to the ring; else the daemon has it
  ExtentState extent_state(std::uint32_t ring, std::uint32_t extent) const;
  std::uint64_t free_slots_estimate(std::uint32_t ring) const;  // by the hints, in whole magazines
  std::uint64_t cold_slots_estimate(std::uint32_t ring) const;
  std::uint64_t trims() const;
  std::uint64_t trimmed_bytes() const;
  const ReleasedBytes& released_bytes() const;  // their sum is trimmed_bytes()
  std::uint64_t page_fallbacks(PageSize from, PageSize to) const;
  const MemoryCounts& counts() const;
  // Adds what the daemon before had counted.
  void resume_counts(const MemoryCounts& before);
  std::uint32_t ledger_index() const;  // LedgerClient::pool
  const std::vector<std::string>& notes()
      const;  // which pages were chosen, and why; logged already
  // Takes up what can be reloaded: limits, watermarks, thread caches, and the header's policy.
  void reconfigure(const PoolConfig& config);

 private:
  struct State;
  explicit PoolMemory(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace zeropool::daemon
