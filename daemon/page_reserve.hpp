#pragma once
// Hugepages asked from the kernel, node by node: how many, the asking, and what was granted.
//
// Thread safety: functions of their arguments; two that raise one node's count at the same time may each miss the other's.
// Source: nr_hugepages and free_hugepages of each node, under `root` so that a test can bring its own. The count of a
// node is never lowered here.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "daemon/config.hpp"
#include "zeropool/lib/topology.hpp"

namespace zeropool::daemon {

struct PageWish {
  std::uint32_t node = 0;  // its id
  // Those to try in this order: one is taken instead of the one before where a node could give none of that.
  std::vector<PageSize> sizes;
  std::uint64_t bytes = 0;
  bool operator==(const PageWish&) const = default;
};

// What each node is to have free for the pools: each pool's part of the budget, spread over its nodes, in hugetlb pages
// where its pages.size begins with them. Together never more than the budget.
std::vector<PageWish> page_wishes(const Config& config, const lib::Topology& topology,
                                  std::uint64_t budget_bytes);

// One node, one size.
struct PageGrant {
  std::uint32_t node = 0;
  PageSize size = PageSize::kHuge2MiB;
  std::uint64_t asked = 0;    // pages that are to be free
  std::uint64_t granted = 0;  // of those, that are
  std::uint64_t before = 0;   // nr_hugepages
  std::uint64_t after = 0;
  int error = 0;        // errno of the file, where it could not be written
  std::string command;  // that would do it, as root

  bool full() const { return granted >= asked; }
  // "node 0: 48 of 64 pages of 2MiB (nr_hugepages 0 -> 48)"
  std::string describe() const;
};

// With a '/' at its end.
std::string hugepages_folder(std::uint32_t node, PageSize size, const std::string& root = "/sys");
// nr_hugepages of a node; 0 where there is none.
std::uint64_t hugepages_on(std::uint32_t node, PageSize size, const std::string& root = "/sys");

// Called before the kernel is asked: `after` is what it will be asked for. False: it shall not be.
using BeforeRaise = std::function<bool(const PageGrant& intent)>;

// Raises what is short of the wish, and reads back. In the order of the tries, nodes ascending.
std::vector<PageGrant> reserve_pages(const std::vector<PageWish>& wishes,
                                     const BeforeRaise& before_raise = {},
                                     const std::string& root = "/sys");

// Lowers a node's count to `pages`, but takes free ones only: what is in use stays. (The kernel would take them when they
// are given back, but counts wrongly where several nodes have such: seen on 6.1.) The count afterwards.
std::uint64_t lower_pages(std::uint32_t node, PageSize size, std::uint64_t pages, int& error,
                          const std::string& root = "/sys");

}  // namespace zeropool::daemon
