#pragma once
// Where the kernel has put pages: a look at a few of a range.
//
// Thread safety: a function; any thread. It touches what it looks at, by reading: only committed ranges, which their
// owner does not punch meanwhile.
// Source: move_pages(2) without a destination.

#include <cstddef>
#include <cstdint>

namespace zeropool::daemon {

struct PageLook {
  std::uint32_t seen = 0;       // pages that the kernel named a node for
  std::uint32_t elsewhere = 0;  // of those, not on the node asked about
};

inline constexpr std::uint32_t kMostLooks = 64;

// Looks at up to `looks` (at most kMostLooks) pages, evenly spread from page `first` on; `first` moves the whole
// pattern, so that later looks meet other pages.
PageLook look_at_pages(const std::byte* range, std::uint64_t bytes, std::uint64_t page_bytes,
                       std::uint32_t node, std::uint32_t looks, std::uint64_t first) noexcept;

}  // namespace zeropool::daemon
