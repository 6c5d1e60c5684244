#pragma once
// Taking an idle thread's magazines, by the daemon, without the thread's help.
//
//   1  ask      CAS steal NONE -> REQ
//   -  barrier  membarrier(GLOBAL_EXPEDITED): one for all threads asked in a round
//   2  look     busy is not 0: CAS REQ -> NONE, and nothing is taken
//   3  list     the magazines whose owner word is the thread's, as its record names them; and note what the thread has
//               counted, which is in those magazines (thread_tally.hpp Y3)
//   4  take     CAS REQ -> TAKEN — COMMIT: what is listed is not the thread's any more
//   5  release  CAS owner thread -> 0, each listed magazine — COMMIT, and a hint
//
// Thread safety: one thief at a time (the daemon's loop thread), any thread of any client at work; nobody waits.
// Invariants:
//   V1  From a busy == 0 that was seen after the barrier until steal is no longer REQ, the thread touches no magazine:
//       it writes busy, reads REQ, and answers by CAS REQ -> NONE (hot_path.hpp T3). So the list is whole (T1) and
//       stands; it is made between 2 and 4, never after 4: then the thread may be awake again, and may have claimed the
//       same magazine once more, under the same owner word.
//   V2  A thread that finds TAKEN forgets what its record names, touches none of it, goes on counting from what the thief
//       noted, and answers NONE.
//   V3  A magazine is released once: it is listed once, and owned by that very word when it is listed; only a thief's
//       CAS can end that ownership after 4.
//   V4  Never from a client that is dead or whose reclaim has begun: a reclaim that was killed leaves a window of its
//       own in a magazine, whatever `busy` says. The caller sees to it.
// Edges:
//   B (membarrier) pairs with the compiler's barrier in enter(): either the thread sees REQ, or the thief its busy.
//   busy == 0 (acquire) pairs with leave() (release): the magazines are as the last operation left them.
// Crash safety (the thief killed after the step; the next one begins at 1):
//   1        REQ stays: the thread answers NONE by itself, or the next thief does for it
//   2, 3     as 1
//   4, 5     TAKEN, some magazines still carry the thread's word: the thread forgets them, asleep or awake, so no
//            record names them; found by their owner words (list_by_words) and released by steps 1 to 5
//   the thread killed at any step: its magazines are found by their owner words (reclaim.hpp), taken ones are the
//   ring's
// Trust: the record is the client's to write: numbers are checked, a magazine is released only by CAS from exactly the
// word that was read and is that thread's, and is listed once however often a record names it.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include <zeropool/lib/batch_ring.hpp>
#include <zeropool/lib/thread_record.hpp>

namespace zeropool::inline v1::lib {

struct StolenMagazine {
  std::uint32_t ring = 0;
  std::uint32_t cell = 0;    // of the ring
  std::uint32_t thread = 0;  // number of its record
  OwnerWord owner;
  std::uint32_t slots = 0;
};

// The rings of a pool as the thief sees them.
template <template <typename> class Atom>
struct StealRing {
  RingView<Atom> view;
  std::uint32_t first_cell = 0;  // pool-wide number of its first magazine
};

// 1. False: the thread has not answered an earlier steal, or its process takes part in no barrier.
template <template <typename> class Atom>
bool ask_for_caches(ThreadRecord<Atom>& thread) noexcept {
  std::uint32_t expected = kStealNone;
  if (thread.barriers.load(std::memory_order_relaxed) == 0) return false;
  if (!thread.steal.compare_exchange_strong(expected, kStealRequested, std::memory_order_seq_cst)) {
    return false;
  }
  // Once more: the record may have got another owner in between, who writes `barriers` before `steal`.
  if (thread.barriers.load(std::memory_order_acquire) != 0) return true;
  expected = kStealRequested;
  thread.steal.compare_exchange_strong(expected, kStealNone, std::memory_order_acq_rel);
  return false;
}

// Takes the question back: REQ -> NONE.
template <template <typename> class Atom>
void leave_caches(ThreadRecord<Atom>& thread) noexcept {
  std::uint32_t expected = kStealRequested;
  thread.steal.compare_exchange_strong(expected, kStealNone, std::memory_order_acq_rel);
}

// 2. After the barrier. False: the thread is awake, and is left alone.
template <template <typename> class Atom>
bool caches_are_idle(ThreadRecord<Atom>& thread) noexcept {
  if (thread.busy.load(std::memory_order_acquire) == 0) return true;
  leave_caches(thread);
  return false;
}

// 4. False: the thread woke up and answered; nothing is taken. One that was taken by an earlier thief and has not
// woken since is taken still: only a thief writes TAKEN, so it was TAKEN all the while.
template <template <typename> class Atom>
bool take_caches(ThreadRecord<Atom>& thread) noexcept {
  std::uint32_t expected = kStealRequested;
  return thread.steal.compare_exchange_strong(expected, kStealTaken,
                                              std::memory_order_acq_rel) ||  // COMMIT
         expected == kStealTaken;
}

// Lists and releases.
template <template <typename> class Atom>
class CacheSteal {
 public:
  // `rings` outlives it.
  explicit CacheSteal(const std::vector<StealRing<Atom>>& rings) noexcept : rings_(rings) {}

  // 3. What the record of `thread` names and `owner` owns, appended to `list`.
  void list_by_record(std::uint32_t thread, const RingRecord<Atom>* records, OwnerWord owner,
                      std::vector<StolenMagazine>& list) const {
    for (std::uint32_t r = 0; r < rings_.size(); ++r) {
      const std::size_t begin = list.size();
      const RingRecord<Atom>& record = records[r];
      add(r, loaded_number(record.loaded.load(std::memory_order_relaxed)), thread, owner, begin,
          list);
      add(r, record.previous.load(std::memory_order_relaxed), thread, owner, begin, list);
      const std::uint32_t spares =
          std::min(record.spare_count.load(std::memory_order_relaxed), kMaxSpares);
      for (std::uint32_t i = 0; i < spares; ++i) {
        add(r, record.spares[i].load(std::memory_order_relaxed), thread, owner, begin, list);
      }
    }
  }

  // 3, by the truth: every magazine of a ring whose owner word is of a thread that `wanted` takes, also those that no
  // record names. Costs a look at each magazine.
  template <typename Wanted>
  void list_by_words(std::uint32_t ring, Wanted wanted, std::vector<StolenMagazine>& list) const {
    const RingView<Atom>& view = rings_[ring].view;
    const std::uint32_t bound = view.cell_bound();
    for (std::uint32_t cell = 0; cell < bound; ++cell) {
      const OwnerWord owner{view.cells[cell].owner.load(std::memory_order_acquire)};
      if (owner.kind() == OwnerKind::kThread && wanted(owner)) {
        list.push_back({ring, cell, owner.detail(), owner, count(view, cell)});
      }
    }
  }

  // Whether the record names that magazine. A plain look.
  bool is_named(const RingRecord<Atom>* records, std::uint32_t ring, std::uint32_t cell) const {
    const RingRecord<Atom>& record = records[ring];
    const std::uint32_t named = rings_[ring].first_cell + cell + 1;
    if (loaded_number(record.loaded.load(std::memory_order_relaxed)) == named) return true;
    if (record.previous.load(std::memory_order_relaxed) == named) return true;
    const std::uint32_t spares =
        std::min(record.spare_count.load(std::memory_order_relaxed), kMaxSpares);
    for (std::uint32_t i = 0; i < spares; ++i) {
      if (record.spares[i].load(std::memory_order_relaxed) == named) return true;
    }
    return false;
  }

  // 5. False: it was not the thread's any more (damage). As cold: no core has it in its cache.
  bool release(const StolenMagazine& magazine) const {
    return BatchRing<Atom>(rings_[magazine.ring].view).release_cold(magazine.cell, magazine.owner);
  }

 private:
  static std::uint32_t count(const RingView<Atom>& view, std::uint32_t cell) {
    return std::min(view.cells[cell].count.load(std::memory_order_relaxed), view.magazine_slots);
  }

  void add(std::uint32_t ring, std::uint32_t named, std::uint32_t thread, OwnerWord owner,
           std::size_t begin, std::vector<StolenMagazine>& list) const {
    const StealRing<Atom>& from = rings_[ring];
    const std::uint32_t cell = named - 1 - from.first_cell;
    if (named == 0 || cell >= from.view.cell_bound()) return;
    for (std::size_t i = begin; i < list.size(); ++i) {
      if (list[i].cell == cell) return;  // V3
    }
    if (from.view.cells[cell].owner.load(std::memory_order_acquire) != owner.word) return;
    list.push_back({ring, cell, thread, owner, count(from.view, cell)});
  }

  const std::vector<StealRing<Atom>>& rings_;
};

// The thread's part, V2. It owns nothing of what it forgets; `forget` clears its own numbers and pointers.
template <template <typename> class Atom, typename Forget>
void answer_steal(ThreadRecord<Atom>& thread, Forget forget) noexcept {
  std::uint32_t state = thread.steal.load(std::memory_order_acquire);
  if (state == kStealRequested) {
    // I am awake. Where the CAS fails the daemon was quicker: the next look finds what it wrote.
    thread.steal.compare_exchange_strong(state, kStealNone, std::memory_order_acq_rel);
    return;
  }
  if (state == kStealNone) return;
  if (state == kStealTaken) forget();
  thread.steal.store(kStealNone, std::memory_order_release);  // another value is damage
}

}  // namespace zeropool::v1::lib
