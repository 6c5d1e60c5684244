#pragma once
// What the daemon does with shares: it takes away the holds of the dead, ends shares that nobody ends, lets tickets run out.
//
// Thread safety: the loop thread's; clients go on.
// Invariants:
//   E1  A share is ended by the steps of share_cell.hpp, in the daemon's name (Dying by kDaemonClient), whoever it is ended
//       for: so it can be broken off anywhere, and the next daemon goes on with it.
//   E2  The hold of a dead client that did direct I/O becomes the daemon's (HoldWord::daemon()): the kernel may still read
//       the slot for it, or write it. Clients do not end a share with such a hold; the daemon does, when it is the only one
//       left, and the slot is quarantined.
//   E3  Tickets run out by CAS from the very word that was first seen a lease ago. Every hand-on and adoption makes another
//       word: so none ends early, and those that are lost end a lease after the last use of any.
// Crash safety:
//   hold of the dead -> 0, or the daemon's       again: the rest
//   Opening or Dying by the dead -> Dying by me  the next daemon's sweep ends it
//   Alive -> Dying by me                         the same
//   mark Shared -> Absent — COMMIT, then put     pool_adopt.cpp, step 6; the cell, which no mark names: Free
//   mark Shared -> Quarantined — COMMIT          pool_adopt.cpp, step 5; the same
//   my holds -> 0, Dying -> Free                 again: the rest
// Trust: a cell's words are read once and held to the plan; a slot is taken only where its mark names the cell.

#include <cstdint>
#include <unordered_map>

#include "daemon/pool.hpp"
#include "zeropool/lib/share_cell.hpp"

namespace zeropool::daemon {

struct ShareCounts {
  std::uint64_t holds = 0;        // of the dead
  std::uint64_t ended = 0;        // slots that came back to the ring
  std::uint64_t quarantined = 0;  // slots, E2
  std::uint64_t expired = 0;      // tickets
};

// The holds of a dead client, and what it was opening or ending; then all shares that nobody holds.
ShareCounts reclaim_shares(Pool& pool, std::uint32_t client, bool direct_io);

// Ends the share of this cell if nothing but the daemon's own holds is left of it, or a daemon was about to.
void end_if_over(Pool& pool, std::uint32_t number, ShareCounts& counts);

// The slots that are shared now, by ring.
std::vector<std::uint64_t> shared_slots(const Pool& pool);
// Called with (client, ring) once for each client that holds a share, and with every share that a mark names.
template <typename Visit>
void each_share_holder(const Pool& pool, Visit visit);

// True: the cell, in use, names this slot with this mark (R6).
bool is_shared_by(const PoolMemory& memory, std::uint32_t ring, std::uint32_t slot, lib::Mark mark);

class ShareWatch {
 public:
  explicit ShareWatch(Pool& pool) : pool_(pool) {}

  ShareCounts sweep(std::uint64_t now_ns);
  // Tickets are out, or the daemon has a hold: something will be to do, and nobody will say so.
  bool waits() const { return waits_; }

 private:
  struct Seen {
    std::uint64_t word = 0;
    std::uint64_t since_ns = 0;
  };

  Pool& pool_;
  std::unordered_map<std::uint32_t, Seen> seen_;  // by cell: tickets
  bool waits_ = false;
};

template <typename Visit>
void each_share_holder(const Pool& pool, Visit visit) {
  const PoolMemory& memory = *pool.memory;
  const std::uint32_t published = memory.published().shares;
  for (std::uint32_t number = 0; number < published; ++number) {
    const lib::SharedShareCell& cell = memory.view().share(number);
    if (lib::ShareWord{cell.state.load(std::memory_order_acquire)}.state() !=
        lib::ShareState::kAlive) {
      continue;
    }
    const lib::SharedSlot name = lib::named_by(cell);
    if (!is_shared_by(memory, name.ring, name.slot, name.mark(number))) continue;
    std::uint32_t told[lib::kShareHolders];
    std::uint32_t count = 0;
    for (const auto& word : cell.holders) {
      const lib::HoldWord hold{word.load(std::memory_order_relaxed)};
      if (hold.word == 0) continue;
      bool known = false;
      for (std::uint32_t i = 0; i < count; ++i) known = known || told[i] == hold.client();
      if (known) continue;
      told[count++] = hold.client();
      visit(hold.client(), name.ring);
    }
  }
}

}  // namespace zeropool::daemon
