#pragma once
// A set of slot numbers that mostly lie side by side, kept as runs.
//
// Thread safety: one thread's.
// Invariants: runs are not empty, do not touch each other, and are in order.

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>

#include "daemon/extents.hpp"

namespace zeropool::daemon {

class SlotRuns {
 public:
  bool empty() const noexcept { return runs_.empty(); }
  std::uint64_t count() const noexcept { return count_; }

  // False: it is in it already.
  bool add(std::uint32_t slot) {
    auto after = runs_.upper_bound(slot);
    const auto before = after == runs_.begin() ? runs_.end() : std::prev(after);
    if (before != runs_.end() && slot < before->second) return false;
    ++count_;
    const bool joins_before = before != runs_.end() && before->second == slot;
    const auto run = joins_before ? before : runs_.emplace_hint(after, slot, slot);
    run->second = slot + 1;
    if (after != runs_.end() && after->first == slot + 1) {
      run->second = after->second;
      runs_.erase(after);
    }
    return true;
  }

  void remove(SlotRange range) {
    if (range.empty()) return;
    auto run = runs_.upper_bound(range.begin);
    if (run != runs_.begin()) --run;
    while (run != runs_.end() && run->first < range.end) {
      const SlotRange was{run->first, run->second};
      if (was.end <= range.begin) {
        ++run;
        continue;
      }
      run = runs_.erase(run);
      if (was.begin < range.begin) runs_[was.begin] = range.begin;
      if (was.end > range.end) runs_[range.end] = was.end;
      count_ -= std::min(was.end, range.end) - std::max(was.begin, range.begin);
    }
  }

  // What is in it of the first run that has a slot at `from` or behind it; empty: nothing is.
  SlotRange next(std::uint32_t from) const {
    auto run = runs_.upper_bound(from);
    if (run != runs_.begin() && std::prev(run)->second > from) --run;
    if (run == runs_.end()) return {};
    return {std::max(run->first, from), run->second};
  }

  bool touches(SlotRange range) const {
    const SlotRange found = next(range.begin);
    return !range.empty() && !found.empty() && found.begin < range.end;
  }
  bool contains(std::uint32_t slot) const { return touches({slot, slot + 1}); }

 private:
  std::map<std::uint32_t, std::uint32_t> runs_;  // begin -> end
  std::uint64_t count_ = 0;
};

}  // namespace zeropool::daemon
