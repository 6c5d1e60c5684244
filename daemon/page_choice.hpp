#pragma once
// Which page size an arena gets: the first of those configured that is to be had.
//
// Thread safety: the loop thread's. Source: sysfs, under `root` so that a test can bring its own.

#include <cstdint>
#include <string>

#include "daemon/commit_thread.hpp"
#include "daemon/config.hpp"
#include "zeropool/lib/control_header.hpp"

namespace zeropool::daemon {

lib::PageKind page_kind_of(PageSize size) noexcept;
PageSize page_size_of(lib::PageKind kind) noexcept;

// Huge pages that a node could still give, the surplus that may be overcommitted included.
// `page_bytes`: 2 MiB
// or 1 GiB.
std::uint64_t free_huge_pages(std::uint32_t node, std::uint64_t page_bytes,
                              const std::string& root = "/sys");
// Whether advised tmpfs mappings get transparent huge pages.
bool shmem_gets_huge_pages(const std::string& root = "/sys");

// Empty: `bytes` in pages of `size` can be had on the node, as far as can be told beforehand (for
// hugetlb one
// page was committed and given back). Else why not.
std::string why_not_page_size(PageSize size, std::uint32_t node, std::uint64_t bytes,
                              CommitThread& commits);

}  // namespace zeropool::daemon
