// Whether committed pages lie on the node that they were asked from: a few of each extent right after it was committed,
// and of some extents in turn ever after. What MPOL_BIND gives is right; where the call is refused, or somebody
// migrates pages, it is not.

#include <algorithm>

#include <spdlog/spdlog.h>

#include "daemon/page_nodes.hpp"
#include "daemon/pool_memory_state.hpp"

namespace zeropool::daemon {
namespace {

constexpr std::uint32_t kLooksAfterGrowth = 32;
constexpr std::uint32_t kLooksInTurn = 8;
// Transparent huge pages may have been split.
constexpr std::uint64_t kSmallPageBytes = 4096;

std::uint64_t page_step(lib::PageKind kind) noexcept {
  return kind == lib::PageKind::kTransparent ? kSmallPageBytes : lib::page_bytes(kind);
}

}  // namespace

void PoolMemory::State::verify_extent(std::uint32_t ring, std::uint32_t extent,
                                      std::uint32_t looks) {
  if (services.topology.nodes.size() < 2) return;
  const CommitRange range = extent_range(ring, extent);
  const PageLook look = look_at_pages(range.mapping + range.offset, range.bytes,
                                      page_step(range.page_kind), range.node, looks, ++look_number);
  if (look.seen == 0) return;
  ArenaState& arena = arenas[plan.rings[ring].arena];
  const std::uint64_t wrong = range.bytes * look.elsewhere / look.seen;
  const std::uint64_t number = rings[ring].first_extent + extent;
  const std::uint64_t before = arena.forget_misplaced(number);
  if (wrong == 0) return;
  arena.misplaced[number] = wrong;
  arena.misplaced_bytes += wrong;
  if (before == 0 && !arena.said_misplaced) {
    arena.said_misplaced = true;
    spdlog::warn(
        "pool {}: memory asked from node {} lies on another one ({} of {} pages looked at); see "
        "misplaced_bytes",
        plan.shape.name, range.node, look.elsewhere, look.seen);
  }
}

std::uint64_t ArenaState::forget_misplaced(std::uint64_t number) {
  const auto found = misplaced.find(number);
  if (found == misplaced.end()) return 0;
  const std::uint64_t bytes = found->second;
  misplaced_bytes -= bytes;
  misplaced.erase(found);
  if (misplaced.empty()) said_misplaced = false;
  return bytes;
}

void PoolMemory::State::verify_after_growth(std::uint32_t ring, std::uint32_t extent) {
  verify_extent(ring, extent, kLooksAfterGrowth);
}

// A bounded piece of work: `extents` published ones, each ring's in turn.
void PoolMemory::State::verify_some(std::uint32_t extents) {
  if (services.topology.nodes.size() < 2 || rings.empty()) return;
  std::uint64_t steps = 0;
  for (const lib::RingPlan& ring : plan.rings) steps += ring.extent_count;
  // A pass over all that is laid out, at most: most of it is absent.
  for (steps = std::min<std::uint64_t>(steps, 4096); steps > 0 && extents > 0; --steps) {
    if (verify_ring >= rings.size()) verify_ring = 0;
    const std::uint32_t count = std::min<std::uint32_t>(
        plan.rings[verify_ring].extent_count,
        rings[verify_ring].slots_published == 0
            ? 0
            : last_extent_of(plan.rings[verify_ring], rings[verify_ring].slots_published - 1) + 1);
    if (verify_next >= count) {
      ++verify_ring;
      verify_next = 0;
      continue;
    }
    const std::uint32_t extent = verify_next++;
    if (extent_state(verify_ring, extent) != ExtentState::kPublished) continue;
    verify_extent(verify_ring, extent, kLooksInTurn);
    --extents;
  }
}

}  // namespace zeropool::daemon
