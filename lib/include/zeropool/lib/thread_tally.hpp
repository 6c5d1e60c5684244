#pragma once
// How many gets and puts a thread's own magazines have served, without a counter on the hit path.
//
// A hit writes one word of the loaded magazine, {takes, count}: a get takes one and adds to `takes`, a put adds to `count`.
// So from the word as it was at some moment, and as it is, follow the gets (takes gained) and the puts (takes gained plus
// count gained). The record keeps what was counted up to that moment, and the word then: the base. Whatever else changes
// the loaded magazine, or which one is loaded, is followed by a new base (settle).
//
//   1  the base that `loaded` does not name = hits, puts, the word of the magazine that is loaded next
//   2  loaded = {tally number + 1, that magazine} — COMMIT: the new base is the one that counts
//
// Thread safety: settle and own_tally by the thread of the record, in its busy bracket; read_tally by anybody, at any time.
// Invariants:
//   Y1  While steal is not kStealTaken the magazine that `loaded` names is the thread's: it is named after it was claimed
//       and no longer named when it is released. So nobody else writes its word.
//   Y2  hits and puts as read are those of one moment: `loaded`, which is new at every settle, and `steal` are the same
//       before and after.
//   Y3  With kStealTaken what counts is taken_hits and taken_puts, which the daemon wrote before the CAS that took. One
//       thief at a time writes them, and nobody reads them without that word.
//   Y4  Bases are the thread's only; the daemon settles those of the dead, before their magazines go (client_reclaim.cpp).
// Edges: settle's release of `loaded` pairs with the acquire of it in read_tally, its fence with the reader's; the CAS to
// kStealTaken with the acquire of `steal`. A word of a magazine that has another owner by now was written behind the claim
// of that owner, the claim behind the release, and that behind step 2 or the CAS: who sees the first sees the last.
// Crash safety (the thread killed after the step):
//   a hit's COMMIT  counted
//   1               the base before counts
//   2               done
//   between a slow operation's change of the loaded magazine's count and its settle: those slots, a magazine's at most,
//   count as put or got once more or less
// Trust: the record is the client's to write: garbage gives garbage, in its own pool's figures.

#include <atomic>
#include <cstdint>

#include <zeropool/lib/magazine.hpp>
#include <zeropool/lib/ordering.hpp>
#include <zeropool/lib/thread_record.hpp>

namespace zeropool::inline v1::lib {

struct Tally {
  std::uint64_t hits = 0;
  std::uint64_t puts = 0;
};

// What was counted, and what its magazine's word has gained since.
constexpr Tally advance(Tally base, std::uint64_t since, std::uint64_t now) noexcept {
  constexpr std::uint64_t kCountMask = 0xff;
  const std::uint64_t takes = ((now & ~kCountMask) - (since & ~kCountMask)) >> 8;
  return {base.hits + takes, base.puts + takes + (now & kCountMask) - (since & kCountMask)};
}

// By the thread itself; `magazine`: the one that is loaded, null for none.
template <template <typename> class Atom>
Tally own_tally(const RingRecord<Atom>& record, const Magazine<Atom>* magazine) noexcept {
  const std::uint64_t loaded = record.loaded.load(std::memory_order_relaxed);
  const TallyBase<Atom>& base = record.tallies[(loaded >> 32) & 1];
  const Tally tally{base.hits.load(std::memory_order_relaxed),
                    base.puts.load(std::memory_order_relaxed)};
  if (magazine == nullptr || loaded_number(loaded) == 0) return tally;
  return advance(tally, base.since.load(std::memory_order_relaxed),
                 magazine->count.word.load(std::memory_order_relaxed));
}

// Steps 1 and 2. `number` and `magazine` name what is loaded from now on, 0 and null: none.
template <template <typename> class Atom>
void settle(RingRecord<Atom>& record, Tally tally, std::uint32_t number,
            const Magazine<Atom>* magazine) noexcept {
  const std::uint64_t next = (record.loaded.load(std::memory_order_relaxed) >> 32) + 1;
  // A reader who sees a word of the base that is written below sees the `loaded` of the settle before.
  std::atomic_thread_fence(std::memory_order_release);
  TallyBase<Atom>& base = record.tallies[next & 1];
  base.hits.store(tally.hits, std::memory_order_relaxed);  // 1
  base.puts.store(tally.puts, std::memory_order_relaxed);
  base.since.store(magazine == nullptr ? 0 : magazine->count.word.load(std::memory_order_relaxed),
                   std::memory_order_relaxed);
  record.loaded.store((next << 32) | number, std::memory_order_release);  // 2: COMMIT
}

// By anybody. `magazine_of(number)`: the magazine of that number, null where there is none in this ring.
template <template <typename> class Atom, typename MagazineOf>
Tally read_tally(const ThreadRecord<Atom>& thread, const RingRecord<Atom>& record,
                 MagazineOf magazine_of) noexcept {
  // Whoever settles all the time is met in between soon; after so many looks its last base is near enough.
  constexpr int kLooks = 64;
  Tally tally;
  for (int look = 0; look < kLooks; ++look) {
    if (thread.steal.load(std::memory_order_acquire) == kStealTaken) {
      tally = {record.taken_hits.load(std::memory_order_relaxed),
               record.taken_puts.load(std::memory_order_relaxed)};
      std::atomic_thread_fence(std::memory_order_acquire);
      if (thread.steal.load(std::memory_order_relaxed) == kStealTaken) return tally;
    }
    const std::uint64_t loaded = record.loaded.load(std::memory_order_acquire);
    const TallyBase<Atom>& base = record.tallies[(loaded >> 32) & 1];
    tally = {base.hits.load(std::memory_order_relaxed), base.puts.load(std::memory_order_relaxed)};
    const std::uint64_t since = base.since.load(std::memory_order_relaxed);
    const Magazine<Atom>* magazine =
        loaded_number(loaded) == 0 ? nullptr : magazine_of(loaded_number(loaded));
    const std::uint64_t now =
        magazine == nullptr ? since : magazine->count.word.load(std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (record.loaded.load(std::memory_order_relaxed) == loaded &&
        thread.steal.load(std::memory_order_relaxed) != kStealTaken) {
      return advance(tally, since, now);
    }
  }
  return tally;
}

// Y3, by the thief, between its look and its CAS to kStealTaken.
template <template <typename> class Atom>
void note_taken(RingRecord<Atom>& record, Tally tally) noexcept {
  record.taken_hits.store(tally.hits, std::memory_order_relaxed);
  record.taken_puts.store(tally.puts, std::memory_order_relaxed);
}

}  // namespace zeropool::v1::lib
