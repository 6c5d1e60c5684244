#pragma once
// GreedyCrowd: clients, each a process of its own, that each want a buffer all the time, where there are fewer buffers
// than clients. What each of them got, and how long it waited, says whether the waiting is fair.
//
// Thread safety: one thread's.

#include <chrono>
#include <cstdint>
#include <vector>

#include "daemon_process.hpp"

namespace zeropool::testing {

struct CrowdMember {
  std::uint64_t gets = 0;
  std::uint64_t failed = 0;
  std::uint64_t longest_wait_ns = 0;
};

struct CrowdFigures {
  std::vector<CrowdMember> members;

  std::uint64_t fewest_gets() const;
  std::uint64_t most_gets() const;
  std::uint64_t gets() const;
  std::uint64_t failed() const;
  std::uint64_t longest_wait_ns() const;
  // How far the most got is above the fewest got, as a part of the fewest.
  double spread() const;
};

// A daemon for it: a pool that this process takes, all but `left` of its 64 KiB buffers, for as long as the call takes.
CrowdFigures run_greedy_crowd(std::size_t clients, std::size_t left,
                              std::chrono::milliseconds time);

}  // namespace zeropool::testing
