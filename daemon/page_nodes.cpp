#include "daemon/page_nodes.hpp"

#include <algorithm>
#include <array>
#include <numaif.h>

namespace zeropool::daemon {

PageLook look_at_pages(const std::byte* range, std::uint64_t bytes, std::uint64_t page_bytes,
                       std::uint32_t node, std::uint32_t looks, std::uint64_t first) noexcept {
  const std::uint64_t pages = bytes / page_bytes;
  const std::uint64_t count = std::min<std::uint64_t>({looks, kMostLooks, pages});
  if (count == 0) return {};
  std::array<void*, kMostLooks> addresses{};
  std::array<int, kMostLooks> nodes{};
  const std::uint64_t stride = pages / count;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::byte* page = range + (first % stride + i * stride) * page_bytes;
    // The kernel knows nothing of pages that this process has not mapped.
    static_cast<void>(*static_cast<const volatile std::byte*>(page));
    addresses[i] = const_cast<std::byte*>(page);
    nodes[i] = -1;
  }
  PageLook look;
  if (::move_pages(0, count, addresses.data(), nullptr, nodes.data(), 0) != 0) return look;
  for (std::uint64_t i = 0; i < count; ++i) {
    if (nodes[i] < 0) continue;
    ++look.seen;
    if (nodes[i] != static_cast<int>(node)) ++look.elsewhere;
  }
  return look;
}

}  // namespace zeropool::daemon
