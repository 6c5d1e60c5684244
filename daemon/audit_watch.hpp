#pragma once
// The audit that runs by itself: a bounded look a second at each pool that has clients, and one whole pass after the
// last of them has left; then nothing more, so that an idle daemon never wakes.
//
// Thread safety: the loop thread's.
// Invariants:
//   Q1  A tick looks at words for at most kTickNs (and at a few more bytes than that allows: the piece in hand), and
//       never begins a second pass.
//   Q2  Nothing is concluded but what ring_audit.hpp proves, and strays.cpp.
// Crash safety: as in ring_audit.hpp; a daemon that starts again begins a pass anew, and what was withheld is withheld
// from then.

#include <chrono>
#include <cstdint>
#include <functional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "daemon/damage_log.hpp"
#include "daemon/pool.hpp"
#include "daemon/share_audit.hpp"
#include "zeropool/lib/ring_audit.hpp"

namespace zeropool::daemon {

using ClientIds = std::unordered_set<std::uint32_t>;

class AuditWatch {
 public:
  static constexpr std::uint64_t kTickNs = 1'000'000;  // of a second: a thousandth of a CPU
  static constexpr std::chrono::seconds kEvery{1};

  // `add_departed` adds the ids of clients that are gone and may still be named by marks in transit.
  AuditWatch(Pool& pool, std::function<void(ClientIds&)> add_departed);

  void tick(std::uint64_t now_ns);
  // Clients are attached, or the pass after the last one left is not over.
  bool needed() const { return !pool_.clients.empty() || !quiet_pass_done_; }
  void client_came() { quiet_pass_done_ = false; }

 private:
  // What ring_audit.hpp asks for; of the ring that it looks at.
  struct Facts {
    AuditWatch& watch;
    bool known(std::uint32_t client) const;
    bool in_service(std::uint32_t slot) const;
    bool quarantined(std::uint32_t slot) const;
    bool shared(std::uint32_t slot, lib::Mark mark) const;
    bool barrier() const;
    bool outlived(lib::Withheld kind, std::uint32_t index, std::uint64_t word) const;
  };
  struct FirstSeen {
    std::uint64_t word = 0;
    std::uint64_t since_ns = 0;
    std::uint64_t pass = 0;  // that saw it last
  };

  void look_at_clients();
  void look_for_strays(std::uint64_t deadline_ns);
  void look_at_shares();
  void begin_pass();
  void begin_ring();
  void end_ring();
  void end_pass();
  bool outlived(lib::Withheld kind, std::uint32_t index, std::uint64_t word);

  Pool& pool_;
  std::function<void(ClientIds&)> add_departed_;
  DamageLog log_;
  ShareAudit shares_;
  lib::RingAudit<std::atomic, Facts> audit_;
  ClientIds known_;
  std::uint64_t oldest_attach_ns_ = 0;  // of those attached; the largest number: there is none
  std::uint64_t now_ns_ = 0;
  std::uint32_t ring_ = lib::kNone;            // kNone: no pass is under way
  std::vector<std::uint32_t> first_suspects_;  // by ring: where the next pass takes them up
  lib::RingFindings pass_findings_;
  bool quiet_ = false;            // no client was attached since the pass began
  bool quiet_pass_done_ = false;  // one pass after the last client left
  bool strays_left_ = false;
  bool shares_withheld_ = false;
  std::unordered_map<std::uint64_t, FirstSeen> withheld_;
};

}  // namespace zeropool::daemon
