#pragma once
// Which threads' caches are taken, and when: those that did nothing for a while, those that starving orders want, all
// that are idle for a trim. How one is taken: cache_steal.hpp.
//
// Thread safety: the loop thread's.
// Invariants:
//   W1  Asked is only who is attached, lives by its pidfd, and whose reclaim has not begun, by this daemon or the one
//       before (Clients; kLedgerReclaiming). V4 of cache_steal.hpp rests on it.
//   W2  A stopped process keeps what it has.
//   W3  A tick looks at records for at most kTickNs (and at a few more than that allows), and asks at most kMostAsked
//       threads, by one barrier; a starving order's round likewise, at most one in kPressEveryNs a ring.
//   W4  Without membarrier nothing is taken. It is said once.
// Crash safety: cache_steal.hpp; resume() finishes what the daemon before was about.

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/pool.hpp"
#include "zeropool/lib/cache_steal.hpp"

namespace zeropool::daemon {

// What one round took.
struct TakenCaches {
  std::uint64_t threads = 0;
  std::uint64_t magazines = 0;
  std::uint64_t slots = 0;
  std::uint64_t bytes = 0;

  TakenCaches& operator+=(const TakenCaches& other);
};

class IdleCaches {
 public:
  static constexpr std::uint64_t kTickNs = 1'000'000;
  static constexpr std::size_t kMostAsked = 256;
  static constexpr std::uint64_t kPressEveryNs = 10'000'000;

  // `lives`: whether the process of a client that is attached has not ended.
  IdleCaches(Pool& pool, std::function<bool(std::uint32_t client)> lives);

  // At a restart, when the clients of before are known again: what the daemon before left half taken.
  void resume();
  // About once a second while clients are attached: threads that did not use what they cache for
  // pool.config.thread_cache_idle give it back.
  TakenCaches tick(std::uint64_t now_ns);
  // For an order that starves: idle caches with slots of this ring; where there are none, all that were not used
  // since the last tick, so that their extents can be released.
  TakenCaches take_for(std::uint32_t ring, std::uint64_t now_ns);
  // For an order that its client's quota has no room for: what that client's own idle threads cache.
  TakenCaches take_of(std::uint32_t client, std::uint64_t now_ns);
  // Whatever is idle now.
  TakenCaches take_all();

 private:
  using Ring = lib::StealRing<std::atomic>;
  // What a ring of a thread looked like; times in milliseconds, differences only.
  struct Seen {
    std::uint32_t uses = 0;       // low half of its counters' sum
    std::uint32_t magazines = 0;  // which it had, mixed
    std::uint32_t unused_since_ms = 0;
    std::uint32_t unmoved_since_ms = 0;
  };
  struct Asked {
    std::uint32_t thread = 0;
    lib::OwnerWord owner;
  };

  void look_at_rings();
  void look_at_clients();
  bool may_ask(lib::OwnerWord owner);
  bool attached(lib::OwnerWord owner) const;
  // Looks at records from `cursor` on, until one of the bounds; true when all were looked at.
  template <typename Wanted>
  bool collect(std::uint32_t& cursor, std::uint64_t deadline_ns, Wanted wanted);
  bool went_unused(std::uint32_t thread, std::uint32_t now_ms);
  bool unused_since_tick(std::uint32_t thread);
  bool can_be_asked(std::uint32_t thread) const;
  std::uint32_t cached_slots(std::uint32_t thread, std::uint32_t ring) const;
  std::uint32_t uses_of(std::uint32_t thread, std::uint32_t ring) const;
  void note_tallies(std::uint32_t thread);
  bool caches_anything(std::uint32_t thread) const;
  void ask();
  bool barrier();
  TakenCaches take(StealReason reason);
  void release(TakenCaches& taken);
  void count(const TakenCaches& taken, StealReason reason);
  bool mend_broken();
  bool lies_unnamed(const lib::StolenMagazine& magazine) const;

  lib::SharedThreadRecord& record(std::uint32_t thread) const {
    return pool_.memory->view().thread(thread);
  }

  Pool& pool_;
  std::function<bool(std::uint32_t)> lives_;
  std::vector<Ring> rings_;
  lib::CacheSteal<std::atomic> steal_{rings_};
  std::unordered_map<std::uint32_t, const ClientInfo*> clients_;  // in a round
  std::unordered_map<std::uint32_t, bool> may_ask_;               // in a round, by client
  std::vector<std::uint32_t> wanted_;
  std::vector<Asked> asked_;
  std::vector<lib::StolenMagazine> list_;
  std::vector<Seen> seen_;  // by thread and ring
  std::vector<std::uint64_t> pressed_ns_;
  std::uint32_t tick_cursor_ = 0;
  std::uint32_t press_cursor_ = 0;
  std::uint32_t quota_cursor_ = 0;
  std::uint64_t quota_ns_ = 0;
  std::uint32_t mend_looks_left_ = 0;
  bool no_barrier_ = false;
  std::uint64_t logged_ns_ = 0;
  TakenCaches unlogged_;
};

}  // namespace zeropool::daemon
