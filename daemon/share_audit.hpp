#pragma once
// Words of share cells that name nobody: found, withheld, cleared.
//
// Thread safety: the loop thread's; clients go on.
// Invariants:
//   F1  A client's id that is neither attached nor departed was not written by a client (ring_audit.hpp, G2). Whoever had
//       the word before it was overwritten may read the slot still: so it is cleared when every client that was attached
//       then has gone (G6).
//   F2  A hold of the daemon's in a free cell is of no use to anybody (share_ends.hpp, E2): cleared at once.
// Crash safety: as in share_ends.hpp; what was withheld, a daemon that starts again withholds from then.

#include <cstdint>
#include <unordered_map>
#include <unordered_set>

#include "daemon/pool.hpp"

namespace zeropool::daemon {

struct ShareFindings {
  std::uint64_t cleared = 0;
  std::uint64_t withheld = 0;
};

class ShareAudit {
 public:
  static constexpr std::uint32_t kCells = 1024;  // of one look

  explicit ShareAudit(Pool& pool) : pool_(pool) {}

  // On from where the last look ended. `oldest_attach_ns`: of the clients that are attached.
  ShareFindings look(const std::unordered_set<std::uint32_t>& known, std::uint64_t oldest_attach_ns,
                     std::uint64_t now_ns);

 private:
  struct FirstSeen {
    std::uint64_t word = 0;
    std::uint64_t since_ns = 0;
  };
  bool outlived(std::uint64_t key, std::uint64_t word, std::uint64_t oldest_attach_ns,
                std::uint64_t now_ns);
  void look_at(std::uint32_t number, const std::unordered_set<std::uint32_t>& known,
               std::uint64_t oldest_attach_ns, std::uint64_t now_ns, ShareFindings& findings);

  Pool& pool_;
  std::uint32_t next_ = 0;
  std::unordered_map<std::uint64_t, FirstSeen> withheld_;  // by {cell, word of it}
};

}  // namespace zeropool::daemon
