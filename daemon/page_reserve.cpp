#include "daemon/page_reserve.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <map>
#include <unistd.h>
#include <utility>

#include "daemon/memory_guard.hpp"
#include "daemon/page_choice.hpp"
#include "daemon/pool_shape.hpp"
#include "daemon/statistics_words.hpp"
#include "zeropool/lib/unique_fd.hpp"

namespace zeropool::daemon {
namespace {

bool is_hugetlb(PageSize size) {
  return size == PageSize::kHuge1GiB || size == PageSize::kHuge2MiB;
}

// Those before the first that needs no reserve: what follows it is never reached for want of pages.
std::vector<PageSize> leading_hugetlb(const std::vector<PageSize>& sizes) {
  return {sizes.begin(), std::find_if_not(sizes.begin(), sizes.end(), is_hugetlb)};
}

bool read_count(const std::string& path, std::uint64_t& value) {
  std::ifstream file(path);
  return static_cast<bool>(file >> value);
}

// 0, or errno.
int write_count(const std::string& path, std::uint64_t value) {
  const lib::UniqueFd fd(::open(path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC));
  if (!fd) return errno;
  char text[24];
  const auto end = std::to_chars(text, text + sizeof(text), value).ptr;
  const auto bytes = static_cast<std::size_t>(end - text);
  for (;;) {
    const ssize_t done = ::write(fd.get(), text, bytes);
    if (done == static_cast<ssize_t>(bytes)) return 0;
    if (done >= 0) return EIO;
    if (errno != EINTR) return errno;
  }
}

// What may become hugepages: not the memory that ordinary commits leave alone, and not all of the rest, the pools' own
// tables are ordinary memory. A kernel without NUMA is asked for all: its count is the machine's.
std::uint64_t spare_bytes(std::uint32_t node, const std::string& root) {
  const MemoryGuard guard(
      MemoryGuardPaths{.nodes = root + "/devices/system/node", .proc = {}, .cgroup = {}});
  return guard.headroom(node) / 8 * 7;
}

PageGrant reserve_one(const PageWish& wish, PageSize size, const BeforeRaise& before_raise,
                      const std::string& root) {
  const std::uint64_t page = lib::page_bytes(page_kind_of(size));
  PageGrant grant;
  grant.node = wish.node;
  grant.size = size;
  grant.asked = wish.bytes / page;
  const std::string folder = hugepages_folder(wish.node, size, root);
  const std::string count = folder + "nr_hugepages";
  std::uint64_t free = 0;
  if (!read_count(count, grant.before) || !read_count(folder + "free_hugepages", free)) {
    grant.error = ENOENT;
    grant.command = "grep Hugepagesize /proc/meminfo; ls /sys/kernel/mm/hugepages";
    return grant;
  }
  grant.after = grant.before;
  grant.granted = std::min(free, grant.asked);
  if (grant.full()) return grant;
  const std::uint64_t more = std::min(grant.asked - free, spare_bytes(wish.node, root) / page);
  const std::uint64_t wanted = grant.before + more;
  grant.command = "echo " + std::to_string(grant.before + grant.asked - free) + " > " + count;
  if (more == 0) return grant;
  if (before_raise) {
    PageGrant intent = grant;
    intent.after = wanted;
    if (!before_raise(intent)) {
      grant.error = ECANCELED;
      return grant;
    }
  }
  grant.error = write_count(count, wanted);
  // A grant of less than was asked for is no error to the kernel.
  if (!read_count(count, grant.after)) grant.after = grant.before;
  if (!read_count(folder + "free_hugepages", free)) free = 0;
  grant.granted = std::min(free, grant.asked);
  return grant;
}

}  // namespace

std::string hugepages_folder(std::uint32_t node, PageSize size, const std::string& root) {
  const std::string name =
      "/hugepages/hugepages-" + std::to_string(lib::page_bytes(page_kind_of(size)) / kKiB) + "kB/";
  std::string own = root + "/devices/system/node/node" + std::to_string(node) + name;
  std::error_code ignored;
  if (std::filesystem::exists(own + "nr_hugepages", ignored)) return own;
  return root + "/kernel/mm" + name;  // a kernel without NUMA
}

std::uint64_t hugepages_on(std::uint32_t node, PageSize size, const std::string& root) {
  std::uint64_t count = 0;
  return read_count(hugepages_folder(node, size, root) + "nr_hugepages", count) ? count : 0;
}

std::vector<PageWish> page_wishes(const Config& config, const lib::Topology& topology,
                                  std::uint64_t budget_bytes) {
  const auto limit_of = [&](const PoolConfig& pool) {
    return std::min(pool.limit_bytes.value_or(budget_bytes), budget_bytes);
  };
  // Limits may add up to more than the budget: then each pool's part is smaller in proportion.
  long double limits = 0;
  for (const PoolConfig& pool : config.pools) limits += static_cast<long double>(limit_of(pool));
  const long double part =
      limits > static_cast<long double>(budget_bytes) ? budget_bytes / limits : 1.0L;
  std::map<std::pair<std::vector<PageSize>, std::uint32_t>, std::uint64_t> bytes;
  for (const PoolConfig& pool : config.pools) {
    std::vector<PageSize> sizes = leading_hugetlb(pool.page_sizes.value_or(config.pages.size));
    const std::vector<std::uint32_t> nodes = arena_nodes(pool, topology);
    if (sizes.empty() || nodes.empty()) continue;
    const std::uint64_t page = lib::page_bytes(page_kind_of(sizes.front()));
    const auto share = static_cast<std::uint64_t>(static_cast<long double>(limit_of(pool)) * part);
    // Whole pages; the first nodes have those that are left over.
    const std::uint64_t pages = share / page;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const std::uint64_t here = pages / nodes.size() + (i < pages % nodes.size() ? 1 : 0);
      bytes[{sizes, topology.nodes[nodes[i]].id}] += here * page;
    }
  }
  std::vector<PageWish> wishes;
  for (const auto& [of, wanted] : bytes) {
    if (wanted > 0) wishes.push_back({of.second, of.first, wanted});
  }
  std::stable_sort(wishes.begin(), wishes.end(),
                   [](const PageWish& a, const PageWish& b) { return a.node < b.node; });
  return wishes;
}

std::vector<PageGrant> reserve_pages(const std::vector<PageWish>& wishes,
                                     const BeforeRaise& before_raise, const std::string& root) {
  // Two wishes for one size on one node (pools with other second sizes) are one: what is free serves both together.
  std::vector<PageWish> merged;
  for (const PageWish& wish : wishes) {
    const auto same = std::find_if(merged.begin(), merged.end(), [&](const PageWish& other) {
      return other.node == wish.node && other.sizes.front() == wish.sizes.front();
    });
    if (same == merged.end()) {
      merged.push_back(wish);
    } else {
      same->bytes += wish.bytes;
      if (wish.sizes.size() > same->sizes.size()) same->sizes = wish.sizes;
    }
  }
  std::vector<PageGrant> grants;
  for (const PageWish& wish : merged) {
    for (const PageSize size : wish.sizes) {
      grants.push_back(reserve_one(wish, size, before_raise, root));
      if (grants.back().granted > 0 || grants.back().asked == 0) break;
    }
  }
  return grants;
}

std::uint64_t lower_pages(std::uint32_t node, PageSize size, std::uint64_t pages, int& error,
                          const std::string& root) {
  const std::string folder = hugepages_folder(node, size, root);
  std::uint64_t now = 0;
  std::uint64_t free = 0;
  error = 0;
  if (!read_count(folder + "nr_hugepages", now) || !read_count(folder + "free_hugepages", free)) {
    error = ENOENT;
    return 0;
  }
  const std::uint64_t wanted = std::max(pages, now - std::min(now, free));
  if (wanted < now) error = write_count(folder + "nr_hugepages", wanted);
  return hugepages_on(node, size, root);
}

std::string PageGrant::describe() const {
  std::string text = "node " + std::to_string(node) + ": " + std::to_string(granted) + " of " +
                     std::to_string(asked) + " pages of " + page_size_word(size) + " are free";
  if (error == ENOENT) return text + " (no such file; the kernel has no pages of that size)";
  text += " (nr_hugepages " + std::to_string(before);
  if (after != before) text += " -> " + std::to_string(after);
  text += ")";
  if (error != 0) {
    text += std::string(": ") + std::strerror(error) + "; as root: " + command;
  } else if (!full()) {
    text += ": the node has no more to spare, or not in one piece; reserve earlier after boot";
  }
  return text;
}

}  // namespace zeropool::daemon
