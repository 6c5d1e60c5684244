#include "daemon/commit.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <fcntl.h>
#include <fstream>
#include <sys/mman.h>
#include <unistd.h>

#include "zeropool/lib/control_plan.hpp"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace zeropool::daemon {
namespace {

// What a call that may be interrupted ends with: 0 or an errno.
template <typename Call>
int completed(Call call) noexcept {
  while (call() != 0) {
    if (errno != EINTR && errno != EAGAIN) return errno;
  }
  return 0;
}

int allocate(int fd, std::uint64_t offset, std::uint64_t bytes) noexcept {
  return completed(
      [&] { return ::fallocate(fd, 0, static_cast<off_t>(offset), static_cast<off_t>(bytes)); });
}

int advise(std::byte* at, std::uint64_t bytes, int advice) noexcept {
  return completed([&] { return ::madvise(at, bytes, advice); });
}

bool is_hugetlb(lib::PageKind kind) noexcept {
  return kind == lib::PageKind::kGiant1GiB || kind == lib::PageKind::kHuge2MiB;
}

// fallocate knows no advice against huge pages, a fault does. K3
int commit_small(const CommitRange& range, std::uint64_t offset, std::uint64_t bytes) noexcept {
  static const bool advise_against = huge_pages_come_unasked();
  if (!advise_against || range.mapping == nullptr) return allocate(range.fd, offset, bytes);
  std::byte* const at = range.mapping + offset;
  if (const int error = advise(at, bytes, MADV_NOHUGEPAGE); error == 0) {
    const int refused = advise(at, bytes, MADV_POPULATE_WRITE);
    if (refused != EINVAL) return refused;  // a kernel before 5.14 has no such advice
  }
  return allocate(range.fd, offset, bytes);
}

// Backs [offset, offset + bytes) of the segment by pages, and this process's mapping of it where
// that is what
// brings huge pages or shared page tables.
int commit_chunk(const CommitRange& range, std::uint64_t offset, std::uint64_t bytes) noexcept {
  if (range.page_kind == lib::PageKind::kSmall4KiB) return commit_small(range, offset, bytes);
  std::byte* const at = range.mapping + offset;
  if (range.page_kind == lib::PageKind::kTransparent) {
    // Holes first: tmpfs gives huge pages to advised faults, seldom to fallocate. The advice may be
    // refused
    // (no transparent huge pages in this kernel): then these are small pages.
    advise(at, bytes, MADV_HUGEPAGE);
    const int error = advise(at, bytes, MADV_POPULATE_WRITE);
    return error == EINVAL ? allocate(range.fd, offset, bytes) : error;
  }
  if (const int error = allocate(range.fd, offset, bytes); error != 0) return error;
  // Fills the page tables that clients share; a kernel before 5.14 has no such advice, and they
  // fault instead.
  const int error = advise(at, bytes, MADV_POPULATE_WRITE);
  return error == EINVAL ? 0 : error;
}

// Ordinary memory: a punch inside a huge page that cannot be split (it is pinned) clears the bytes and leaves the page.
// A pinned page has been touched, so it is data to lseek.
bool has_pages(const CommitRange& range) noexcept {
  const off_t data = ::lseek(range.fd, static_cast<off_t>(range.offset), SEEK_DATA);
  return data >= 0 && static_cast<std::uint64_t>(data) < range.offset + range.bytes;
}

CommitResult failure(int error) noexcept {
  // EFAULT: a populate met what a touch would meet as SIGBUS, a huge page that is not to be had.
  const bool full = error == ENOSPC || error == ENOMEM || error == EFAULT || error == EDQUOT;
  return {full ? CommitOutcome::kNodeFull : CommitOutcome::kFailed, error};
}

}  // namespace

bool huge_pages_come_unasked(const std::string& root) {
  std::ifstream file(root + "/kernel/mm/transparent_hugepage/shmem_enabled");
  std::string choices;
  std::getline(file, choices);
  return choices.find("[always]") != std::string::npos ||
         choices.find("[within_size]") != std::string::npos;
}

CommitResult commit_range(const CommitRange& range, MemoryGuard& guard) noexcept {
  const std::uint64_t chunk = std::max(kCommitChunkBytes, lib::page_bytes(range.page_kind));
  for (std::uint64_t done = 0; done < range.bytes;) {
    const std::uint64_t bytes = std::min(chunk, range.bytes - done);
    int error = 0;
    if (!is_hugetlb(range.page_kind) && !guard.take(range.node, bytes)) error = ENOSPC;  // K2
    if (error == 0) error = commit_chunk(range, range.offset + done, bytes);
    if (error != 0) {
      CommitRange got = range;  // K1, with what this chunk got before it failed
      got.bytes = done + bytes;
      punch_range(got);
      return failure(error);
    }
    done += bytes;
  }
  return {};
}

CommitResult replace_range(const CommitRange& range, MemoryGuard& guard) noexcept {
  if (const CommitResult punched = punch_range(range); punched.outcome != CommitOutcome::kDone) {
    return punched;
  }
  if (!is_hugetlb(range.page_kind) && has_pages(range)) return {CommitOutcome::kFailed, EBUSY};
  return commit_range(range, guard);
}

CommitResult punch_range(const CommitRange& range) noexcept {
  if (range.bytes == 0) return {};
  const int error = completed([&] {
    return ::fallocate(range.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                       static_cast<off_t>(range.offset), static_cast<off_t>(range.bytes));
  });
  if (error != 0) return {CommitOutcome::kFailed, error};
  return {};
}

}  // namespace zeropool::daemon
