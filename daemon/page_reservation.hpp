#pragma once
// The hugepages that this daemon has asked from the kernel for itself (pages.reserve), so that it can give them back.
//
// Thread safety: one thread's, the loop's; under the instance lock, which makes the record one daemon's.
// Invariants:
//   R1  The count of a node is raised only after the record says by how much it will be.
//   R2  A node's count is lowered by what was raised at most, and never below what was there before.
// Crash safety: the record is a file beside the socket. A killed daemon leaves it, and the pages; the next one takes both
// over. It names the boot that it belongs to: after another one the pages are gone, and it means nothing.

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/page_reserve.hpp"

namespace zeropool::daemon {

struct PageReservationPaths {
  std::string record;  // the file
  std::string sys = "/sys";
  std::string boot_id = "/proc/sys/kernel/random/boot_id";
};

class PageReservation {
 public:
  // What a daemon before has recorded is this one's now.
  explicit PageReservation(PageReservationPaths paths);
  // Gives back, where give_back_at_end() was called; else the next daemon finds all as it is.
  ~PageReservation();
  PageReservation(const PageReservation&) = delete;
  PageReservation& operator=(const PageReservation&) = delete;

  // Raises the counts that are short of the wishes.
  std::vector<PageGrant> raise(const std::vector<PageWish>& wishes);
  void give_back_at_end() { give_back_ = true; }

  struct Raised {
    std::uint32_t node = 0;
    PageSize size = PageSize::kHuge2MiB;
    std::uint64_t least = 0;  // what was there before
    std::uint64_t pages = 0;
    bool operator==(const Raised&) const = default;
  };
  const std::vector<Raised>& raised() const { return raised_; }

 private:
  void load();
  void settle();
  bool save() const;
  Raised& entry_of(const PageGrant& grant);

  PageReservationPaths paths_;
  std::string boot_;
  std::vector<Raised> raised_;
  bool give_back_ = false;
};

}  // namespace zeropool::daemon
