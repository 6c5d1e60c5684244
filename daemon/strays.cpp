// Pages that nobody committed. A touch of a hole, a read too, brings a page that outlives the toucher; st_blocks
// counts it, on hugetlb and tmpfs alike, and it is compared with what is committed.
//
// Thread safety: the loop thread's. The commit thread may be at work: what it has in hand counts as there, so that a
// segment that grows shows fewer strays than it has, never more, until the commit is over.
// Invariants:
//   Y1  Only holes are punched: extents whose state is Absent (begin_extent writes Committing before the commit thread
//       hears of it, and this thread writes both), the gaps between regions, and what lies behind a table's requested
//       bytes up to the next table. What is committed, or being committed, is never in one of them.
// Crash safety: a punch of a hole can be done again.

#include <algorithm>

#include "daemon/config_units.hpp"
#include "daemon/event_loop.hpp"
#include "daemon/pool_memory_state.hpp"

namespace zeropool::daemon {
namespace {

constexpr std::uint64_t kPieceBytes = std::uint64_t{1} << 30;  // punched at a time
constexpr std::uint64_t kFirstWaitNs = 1'000'000'000;
constexpr std::uint32_t kMostDoublings = 9;  // about ten minutes

std::uint64_t excess(int fd, std::uint64_t expected) {
  const std::uint64_t occupied = lib::segment_occupied_bytes(fd);
  return occupied > expected ? occupied - expected : 0;
}

}  // namespace

struct PoolMemory::State::Segment {
  int fd = -1;
  std::uint64_t bytes = 0;
  std::uint64_t expected_bytes = 0;
  std::uint32_t arena = lib::kNone;  // kNone: the control segment
  std::string name;
};

void PoolMemory::State::punch_strays(std::uint64_t now_ns, std::uint64_t deadline_ns,
                                     StrayReport& report) {
  stray_searches.resize(arenas.size() + 1);
  for (std::uint32_t a = 0; a < arenas.size(); ++a) {
    const Segment segment{arenas[a].fd.get(), plan.arena_bytes[a],
                          arenas[a].committed_bytes + arenas[a].committing_bytes, a,
                          "node " + std::to_string(plan.shape.arenas[a].node)};
    look_at_segment(segment, stray_searches[a], now_ns, deadline_ns, report);
    report.searching = report.searching || arenas[a].committing_bytes > 0;
  }
  look_at_segment(
      {control_fd.get(), plan.segment_bytes, metadata_bytes, lib::kNone, "the control segment"},
      stray_searches.back(), now_ns, deadline_ns, report);
}

void PoolMemory::State::look_at_segment(const Segment& segment, StraySearch& search,
                                        std::uint64_t now_ns, std::uint64_t deadline_ns,
                                        StrayReport& report) {
  std::uint64_t strays = excess(segment.fd, segment.expected_bytes);
  report.bytes += strays;
  if (strays == 0) {
    search = {};
    return;
  }
  if (now_ns < search.not_before_ns) return;
  std::uint64_t punched = 0;
  bool at_end = false;
  // At least one piece, whatever the time: every look gets further.
  do {
    const ByteRange hole = segment.arena == lib::kNone ? next_table_hole(search.cursor)
                                                       : next_hole(segment.arena, search.cursor);
    at_end = hole.begin >= segment.bytes;
    if (at_end) break;
    CommitRange range;
    range.fd = segment.fd;
    range.offset = hole.begin;
    range.bytes = std::min(hole.end, hole.begin + kPieceBytes) - hole.begin;
    search.cursor = hole.begin + range.bytes;
    punch_range(range);  // Y1. What it could not punch is still there at the next look
    const std::uint64_t left = excess(segment.fd, segment.expected_bytes);
    punched += strays - std::min(strays, left);  // too few while the commit thread adds pages
    strays = left;
  } while (strays > 0 && monotonic_ns() < deadline_ns);
  search.punched_bytes += punched;
  report.punched_bytes += punched;
  if (punched > 0) report.where.push_back(format_bytes(punched) + " of " + segment.name);
  if (strays == 0) {
    search = {};
  } else if (!at_end) {
    report.searching = true;
  } else {
    // From the start again; more and more seldom where nothing can be punched (pages that a device holds).
    search.fruitless =
        search.punched_bytes > 0 ? 0 : std::min(search.fruitless + 1, kMostDoublings);
    search.not_before_ns = now_ns + (search.fruitless == 0 ? 0 : kFirstWaitNs << search.fruitless);
    search.cursor = 0;
    search.punched_bytes = 0;
    report.searching = search.fruitless == 0;
  }
}

// The first hole of a data segment that ends behind `from`, cut there; where there is none it begins at the end.
ByteRange PoolMemory::State::next_hole(std::uint32_t arena, std::uint64_t from) const {
  // Regions lie in the order of the classes.
  const std::size_t classes = plan.shape.class_bytes.size();
  for (std::size_t c = 0; c < classes; ++c) {
    const auto ring = static_cast<std::uint32_t>(arena * classes + c);
    const lib::RingPlan& region = plan.rings[ring];
    if (from < region.region_offset) return {from, region.region_offset};
    std::uint64_t extent = (from - region.region_offset) / region.extent_bytes;
    const auto is_absent = [&] {
      return extent_state(ring, static_cast<std::uint32_t>(extent)) == ExtentState::kAbsent;
    };
    while (extent < region.extent_count && !is_absent()) ++extent;
    if (extent >= region.extent_count) {  // on behind its last extent
      from = std::max(from, region.region_offset + region.extent_count * region.extent_bytes);
      continue;
    }
    const std::uint64_t begin = std::max(from, region.region_offset + extent * region.extent_bytes);
    while (extent < region.extent_count && is_absent() &&
           region.region_offset + extent * region.extent_bytes < begin + kPieceBytes) {
      ++extent;
    }
    return {begin, region.region_offset + extent * region.extent_bytes};
  }
  return {from, plan.arena_bytes[arena]};
}

// The same of the control segment: behind what was asked for of each table.
ByteRange PoolMemory::State::next_table_hole(std::uint64_t from) const {
  std::vector<ByteRange> asked;
  const auto add = [&](const CommittedPrefix& table) {
    if (table.requested_bytes == 0) return;
    asked.push_back({table.offset, table.offset + table.requested_bytes});
  };
  add(fixed);
  for (const StepTable& table : tables) add(table.prefix);
  for (const RingState& ring : rings) {
    add(ring.words);
    add(ring.cells);
  }
  std::sort(asked.begin(), asked.end(),
            [](const ByteRange& a, const ByteRange& b) { return a.begin < b.begin; });
  for (const ByteRange& table : asked) {
    if (table.end <= from) continue;
    if (table.begin > from) return {from, table.begin};
    from = table.end;
  }
  return {from, plan.segment_bytes};
}

}  // namespace zeropool::daemon
