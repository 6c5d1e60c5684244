#pragma once
// Commits and punches a byte range of a segment: the only place that makes memory come and go.
//
// Thread safety: functions; any thread, but the memory policy that decides on the node is the
// calling thread's
// (commit_thread.hpp binds itself).
// Invariants:
//   K1  commit_range is all or nothing: what a failed commit got is punched out again (hugetlb
//       keeps it).
//   K2  Before each chunk of ordinary memory the guard is asked, so that a full node or cgroup is
//       an answer
//       and not the OOM killer.
//   K3  On 4 KiB pages exactly the range is backed, also where the kernel gives huge pages unasked (shmem_enabled
//       always or within_size): a huge page would commit what nobody was charged for.
// Errors: CommitResult; nothing throws.

#include <cstddef>
#include <cstdint>
#include <string>

#include "daemon/memory_guard.hpp"
#include "zeropool/lib/control_header.hpp"

namespace zeropool::daemon {

inline constexpr std::uint64_t kCommitChunkBytes = std::uint64_t{8} << 20;

// A range of a segment. `mapping` is where this process has mapped the segment's first byte.
struct CommitRange {
  int fd = -1;
  std::byte* mapping = nullptr;
  std::uint64_t offset = 0;  // offset and bytes: multiples of the page size
  std::uint64_t bytes = 0;
  lib::PageKind page_kind = lib::PageKind::kSmall4KiB;
  std::uint32_t node = 0;  // the node's id
};

enum class CommitOutcome {
  kDone,
  kNodeFull,  // no memory, or no huge pages, on that node or in our cgroup
  kFailed,    // anything else: `error` is the errno
};

struct CommitResult {
  CommitOutcome outcome = CommitOutcome::kDone;
  int error = 0;
};

// Whether the kernel brings huge pages to tmpfs that nobody has advised; `root` is /sys, a test brings its own.
bool huge_pages_come_unasked(const std::string& root = "/sys");

CommitResult commit_range(const CommitRange& range, MemoryGuard& guard) noexcept;

// Other pages in the place of those that are there. The old ones belong to whoever has them pinned, who sees nothing of
// the new ones and is not seen by them; without such a one they are free. Not kDone: the range is a hole, or (EBUSY)
// has its old pages yet, as a huge page that is pinned cannot be split.
CommitResult replace_range(const CommitRange& range, MemoryGuard& guard) noexcept;

// Gives the range back to the kernel. Done too for what was never committed.
CommitResult punch_range(const CommitRange& range) noexcept;

}  // namespace zeropool::daemon
