#pragma once
// What the audit of one pool found, as log lines: the first of a kind at once, the rest in one line a minute at most.
//
// Thread safety: the loop thread's.

#include <array>
#include <cstdint>
#include <string>

#include "daemon/pool.hpp"
#include "daemon/pool_memory.hpp"
#include "daemon/share_audit.hpp"
#include "zeropool/lib/ring_audit.hpp"

namespace zeropool::daemon {

class DamageLog {
 public:
  explicit DamageLog(const Pool& pool) : pool_(pool) {}

  void found(std::uint32_t ring, const lib::RingFindings& findings, std::uint64_t now_ns);
  void found(const ShareFindings& findings, std::uint64_t now_ns);
  void found(const StrayReport& strays, std::uint64_t now_ns);
  // What is held back since the last line, when a minute has passed, or `now`.
  void tell(std::uint64_t now_ns, bool now = false);

 private:
  enum Kind : std::size_t {
    kCounts,
    kEntries,
    kMarks,
    kOwners,
    kLost,
    kWithheld,
    kStrays,
    kShares,
    kKinds
  };

  bool is_first(Kind kind, std::uint64_t amount);
  std::string attached() const;

  const Pool& pool_;
  std::array<bool, kKinds> told_{};
  std::array<std::uint64_t, kKinds> untold_{};
  std::uint64_t last_line_ns_ = 0;
};

}  // namespace zeropool::daemon
