#pragma once
// Hand-offs that nobody adopts, and tickets of shares, come back after the pool's lease; slots that were put where no magazine could be
// found are collected.
//
// Thread safety: the loop thread's.
// Invariants:
//   W1  A slot is taken only by CAS from the very mark that was first seen a lease ago: an adopter that comes
//       at the same instant wins or loses, never both.
//   W2  A magazine is claimed before the CAS, so that a slot taken can be put.
// Crash safety: a kill between CAS and put leaves an Absent mark, which a later daemon puts back.

#include <chrono>
#include <cstdint>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "daemon/pool.hpp"
#include "daemon/share_ends.hpp"

namespace zeropool::daemon {

struct LeaseSweep {
  std::uint64_t in_transit = 0;  // left after the sweep
  std::uint64_t expired = 0;
  std::uint64_t orphans = 0;  // collected
  ShareCounts shares;
};

class LeaseWatch {
 public:
  explicit LeaseWatch(Pool& pool) : pool_(pool), shares_(pool) {}

  // Sweeps all marks when hand-offs have begun or slots were orphaned since the last sweep, or some were in
  // transit then. Cheap otherwise: it sums counters. Shares are looked at each time.
  LeaseSweep look(std::uint64_t now_ns);
  LeaseSweep sweep(std::uint64_t now_ns);

  // When to look again: soon while something is in transit, seldom while clients are attached (a hand-off
  // rings no bell); zero: not needed.
  std::chrono::nanoseconds next_look() const;
  // Slots in transit at the last sweep, by ring.
  std::vector<std::uint64_t> in_transit() const;
  // Clients that a mark in transit named at the last sweep.
  const std::unordered_set<std::uint32_t>& named_clients() const { return named_clients_; }

 private:
  struct Seen {
    std::uint64_t mark = 0;
    std::uint64_t since_ns = 0;
  };
  struct Work;

  std::uint64_t activity() const;
  void sweep_ring(std::uint32_t ring, Work& work);

  Pool& pool_;
  ShareWatch shares_;
  std::unordered_map<std::uint64_t, Seen> seen_;  // by {ring, slot}
  std::unordered_set<std::uint32_t> named_clients_;
  std::uint64_t last_activity_ = 0;
};

}  // namespace zeropool::daemon
