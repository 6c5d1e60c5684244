#include "daemon/page_choice.hpp"

#include <algorithm>
#include <cstring>
#include <fstream>

#include "zeropool/lib/control_plan.hpp"
#include "zeropool/lib/segment.hpp"

namespace zeropool::daemon {
namespace {

std::uint64_t read_number(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t value = 0;
  file >> value;
  return file ? value : 0;
}

// A file with `[chosen]` among its words.
std::string read_choice(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  const std::size_t open = line.find('[');
  const std::size_t close = line.find(']', open == std::string::npos ? 0 : open);
  if (open == std::string::npos || close == std::string::npos) return {};
  return line.substr(open + 1, close - open - 1);
}

// Commits one page and gives it back: a memfd can be made with an empty pool, only fallocate tells.
std::string probe_huge_page(lib::PageKind kind, std::uint32_t node, CommitThread& commits) {
  std::string why;
  const bool giant = kind == lib::PageKind::kGiant1GiB;
  const std::uint64_t bytes = lib::page_bytes(kind);
  const lib::UniqueFd fd = lib::create_segment(
      "zeropool-probe", bytes, giant ? lib::SegmentPages::kGiant1GiB : lib::SegmentPages::kHuge2MiB,
      why);
  if (!fd) return why;
  const lib::Mapping mapping = lib::map_segment(fd.get(), bytes, lib::kGiantPage, why);
  if (!mapping) return why;
  const CommitRange range{fd.get(), mapping.data(), 0, bytes, kind, node};
  const CommitResult result = commits.run_now(CommitKind::kCommit, range);
  if (result.outcome == CommitOutcome::kDone) return {};
  return std::string("one could not be committed (") + std::strerror(result.error) + ")";
}

}  // namespace

lib::PageKind page_kind_of(PageSize size) noexcept {
  switch (size) {
    case PageSize::kHuge1GiB: return lib::PageKind::kGiant1GiB;
    case PageSize::kHuge2MiB: return lib::PageKind::kHuge2MiB;
    case PageSize::kThp: return lib::PageKind::kTransparent;
    case PageSize::kSmall4KiB: return lib::PageKind::kSmall4KiB;
  }
  return lib::PageKind::kSmall4KiB;
}

PageSize page_size_of(lib::PageKind kind) noexcept {
  switch (kind) {
    case lib::PageKind::kGiant1GiB: return PageSize::kHuge1GiB;
    case lib::PageKind::kHuge2MiB: return PageSize::kHuge2MiB;
    case lib::PageKind::kTransparent: return PageSize::kThp;
    case lib::PageKind::kSmall4KiB: return PageSize::kSmall4KiB;
  }
  return PageSize::kSmall4KiB;
}

std::uint64_t free_huge_pages(std::uint32_t node, std::uint64_t page_bytes,
                              const std::string& root) {
  const std::string size = "/hugepages/hugepages-" + std::to_string(page_bytes / 1024) + "kB/";
  const std::string own = root + "/devices/system/node/node" + std::to_string(node) + size;
  const std::string machine = root + "/kernel/mm" + size;
  const bool numa = static_cast<bool>(std::ifstream(own + "free_hugepages"));
  const std::uint64_t free = read_number((numa ? own : machine) + "free_hugepages");
  const std::uint64_t reserved = read_number(machine + "resv_hugepages");
  const std::uint64_t overcommit = read_number(machine + "nr_overcommit_hugepages");
  const std::uint64_t surplus = read_number(machine + "surplus_hugepages");
  return (free > reserved ? free - reserved : 0) +
         (overcommit > surplus ? overcommit - surplus : 0);
}

bool shmem_gets_huge_pages(const std::string& root) {
  const std::string choice = read_choice(root + "/kernel/mm/transparent_hugepage/shmem_enabled");
  return choice == "always" || choice == "within_size" || choice == "advise" || choice == "force";
}

std::string why_not_page_size(PageSize size, std::uint32_t node, std::uint64_t bytes,
                              CommitThread& commits) {
  if (size == PageSize::kSmall4KiB) return {};
  if (size == PageSize::kThp) {
    if (shmem_gets_huge_pages()) return {};
    return "/sys/kernel/mm/transparent_hugepage/shmem_enabled allows none (set it to advise)";
  }
  const lib::PageKind kind = page_kind_of(size);
  const std::uint64_t page = lib::page_bytes(kind);
  const std::uint64_t needed = (bytes + page - 1) / page;
  const std::uint64_t free = free_huge_pages(node, page);
  if (free < needed) {
    return std::to_string(free) + " of them are free, " + std::to_string(needed) +
           " are needed to start with (raise nr_hugepages)";
  }
  return probe_huge_page(kind, node, commits);
}

}  // namespace zeropool::daemon
