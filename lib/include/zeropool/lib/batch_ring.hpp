#pragma once
// The batch ring of one (pool, node, class): magazines that threads claim and release whole.
//
// Thread safety: any number of threads and processes; every operation is lock-free and waits for nobody.
// Invariants:
//   R1  The owner word is the truth; queues and bitmaps only say where to look first.
//   R2  A magazine's count is read only while it is owned by the reader.
//   R3  Every release hints the magazine by its count: full -> hot queue of the releaser's cache domain (what
//       that displaces -> cold), empty -> empty, else -> partial.
// Edges:
//   A1 (acquire): the CAS 0 -> me of a claim pairs with
//   R1e (release): the CAS me -> 0 of a release. It carries count, slots, and the marks of the slots.
// Crash safety:
//   claim    CAS owner 0 -> me — COMMIT   the dead's: reclaimed by the owner word
//   release  CAS owner me -> 0 — COMMIT   in the ring, perhaps without a hint: found by scan, re-hinted by the
//                                         daemon

#include <atomic>
#include <cstdint>

#include <zeropool/lib/hint_bitmap.hpp>
#include <zeropool/lib/hint_queue.hpp>
#include <zeropool/lib/magazine.hpp>
#include <zeropool/lib/owner_word.hpp>
#include <zeropool/lib/slot_mark.hpp>

namespace zeropool::inline v1::lib {

// What a claim met on its way.
struct ClaimStats {
  std::uint32_t contention = 0;  // lost CAS and skipped magazines
  bool low = false;              // the ring should be filled up
};

// A ring as one process sees it: pointers into its own mapping. Plain data, made anew by anybody at any time.
template <template <typename> class Atom>
struct RingView {
  Magazine<Atom>* cells = nullptr;   // of this ring
  SlotWords<Atom>* slots = nullptr;  // of this ring
  const Atom<std::uint32_t>* cells_published = nullptr;
  const Atom<std::uint32_t>* slots_published = nullptr;
  const Atom<std::uint32_t>* drain_begin = nullptr;
  const Atom<std::uint32_t>* drain_end = nullptr;
  const Atom<std::uint32_t>* low_words = nullptr;  // null: the ring is low with every word
  std::uint32_t cell_capacity = 0;
  std::uint32_t slot_capacity = 0;
  std::uint32_t magazine_slots = 0;
  std::uint32_t domain_count = 0;
  HotQueueHead<Atom>* hot_heads = nullptr;     // one a domain
  Atom<std::uint32_t>* hot_entries = nullptr;  // hot_size a domain
  std::uint32_t hot_size = 0;
  HintBitmap<Atom> cold;
  HintBitmap<Atom> partial;
  HintBitmap<Atom> empty;

  HotQueue<Atom> hot(std::uint32_t domain) const noexcept {
    return HotQueue<Atom>(hot_heads + domain, hot_entries + std::size_t{domain} * hot_size,
                          hot_size);
  }
  // Bounded by what is laid out: a published count is a word that others can write.
  std::uint32_t cell_bound() const noexcept {
    const std::uint32_t published = cells_published->load(std::memory_order_acquire);
    return published < cell_capacity ? published : cell_capacity;
  }
  std::uint32_t slot_bound() const noexcept {
    const std::uint32_t published = slots_published->load(std::memory_order_acquire);
    return published < slot_capacity ? published : slot_capacity;
  }
};

template <template <typename> class Atom>
class BatchRing {
 public:
  static constexpr std::uint32_t kHotTries = 4;
  static constexpr std::uint32_t kHintTries = 16;
  static constexpr std::uint32_t kScanCells = 256;

  explicit BatchRing(const RingView<Atom>& view) noexcept : view_(view) {}
  const RingView<Atom>& view() const noexcept { return view_; }

  // Makes a magazine mine if it is in the ring. COMMIT of a claim.
  bool try_claim(std::uint32_t cell, OwnerWord me) noexcept {
    Atom<std::uint64_t>& owner = view_.cells[cell].owner;
    if (owner.load(std::memory_order_relaxed) != 0) return false;
    std::uint64_t expected = 0;
    return owner.compare_exchange_strong(expected, me.word, std::memory_order_acquire,
                                         std::memory_order_relaxed);  // A1: pairs with R1e — COMMIT
  }

  // A magazine with at least one slot, by the reuse order of the caller's cache domain: its hot queue, then
  // cold, then partial, then other domains' hot queues, then a bounded scan. kNone: found none.
  std::uint32_t claim_filled(std::uint32_t domain, OwnerWord me, ClaimStats& stats) noexcept {
    const std::uint32_t bound = view_.cell_bound();
    for (std::uint32_t i = 0; i < kHotTries; ++i) {
      const std::uint32_t cell = view_.hot(domain).pop(kHotTries, stats.contention);
      if (cell == kNone) break;
      if (claim_if_filled(cell, bound, me, stats)) return cell;
    }
    bool emptied = false;
    DrainingCells draining;
    for (std::uint32_t i = 0; i < kHintTries; ++i) {
      const std::uint32_t cell = view_.cold.take(stats.contention, emptied);
      if (cell == kNone) break;
      if (claim_if_filled(cell, bound, me, stats, &draining)) {
        hint_draining(draining);
        stats.low = stats.low || (emptied && few_cold());
        return cell;
      }
    }
    hint_draining(draining);
    stats.low = true;  // nothing hot, nothing cold
    for (std::uint32_t i = 0; i < kHintTries; ++i) {
      const std::uint32_t cell = view_.partial.take(stats.contention, emptied);
      if (cell == kNone) break;
      if (claim_if_filled(cell, bound, me, stats)) return cell;
    }
    for (std::uint32_t d = 0; d < view_.domain_count; ++d) {
      const std::uint32_t other = (domain + d) % view_.domain_count;
      for (std::uint32_t i = 0; i < kHotTries; ++i) {
        const std::uint32_t cell = view_.hot(other).pop(kHotTries, stats.contention);
        if (cell == kNone) break;
        if (claim_if_filled(cell, bound, me, stats)) return cell;
      }
    }
    return scan(me, bound, kScanCells, stats, false, [](std::uint32_t count) { return count > 0; });
  }

  // A magazine that has room for at least one more slot: a partial one to top up, or an empty one. There is
  // one for every slot that can be put, but a pass over the ring is no snapshot: with others moving from one
  // magazine to the next it may return kNone, and the caller looks again.
  std::uint32_t claim_with_room(OwnerWord me, ClaimStats& stats) noexcept {
    const std::uint32_t bound = view_.cell_bound();
    bool emptied = false;
    for (std::uint32_t i = 0; i < kHintTries; ++i) {
      const std::uint32_t cell = view_.partial.take(stats.contention, emptied);
      if (cell == kNone) break;
      if (claim_if_room(cell, bound, me, stats)) return cell;
    }
    return claim_empty(me, stats);
  }

  // As claim_with_room, but prefers an empty magazine.
  std::uint32_t claim_empty(OwnerWord me, ClaimStats& stats) noexcept {
    const std::uint32_t bound = view_.cell_bound();
    bool emptied = false;
    for (std::uint32_t i = 0; i < kHintTries; ++i) {
      const std::uint32_t cell = view_.empty.take(stats.contention, emptied);
      if (cell == kNone) break;
      if (claim_if_room(cell, bound, me, stats)) return cell;
    }
    for (std::uint32_t i = 0; i < kHintTries; ++i) {
      const std::uint32_t cell = view_.partial.take(stats.contention, emptied);
      if (cell == kNone) break;
      if (claim_if_room(cell, bound, me, stats)) return cell;
    }
    const std::uint32_t most = view_.magazine_slots;
    const auto has_room = [most](std::uint32_t count) { return count < most; };
    const std::uint32_t near = scan(me, bound, kScanCells, stats, false, has_room);
    // There is always room (docs/architecture.md, "There is always room for a put"): with every hint lost, the
    // whole ring is looked at. Draining magazines count here: without them there may be none.
    return near != kNone ? near : scan(me, bound, bound, stats, true, has_room);
  }

  // Gives a magazine of mine back and hints it. False: it was not mine (damage, or taken while idle).
  bool release(std::uint32_t cell, OwnerWord me, std::uint32_t domain) noexcept {
    const std::uint32_t count = view_.cells[cell].count.load(std::memory_order_relaxed);  // R2
    if (!release_silently(cell, me)) return false;
    hint(cell, count, domain);
    return true;
  }

  // Gives a full magazine back as cold: it is used last and withdrawn first.
  bool release_cold(std::uint32_t cell, OwnerWord me) noexcept {
    const std::uint32_t count = view_.cells[cell].count.load(std::memory_order_relaxed);
    if (!release_silently(cell, me)) return false;
    if (count >= view_.magazine_slots) {
      view_.cold.set(cell);
    } else {
      hint(cell, count, 0);
    }
    return true;
  }

  // R3
  void hint(std::uint32_t cell, std::uint32_t count, std::uint32_t domain) noexcept {
    if (count == 0) {
      view_.empty.set(cell);
    } else if (count < view_.magazine_slots) {
      view_.partial.set(cell);
    } else {
      const std::uint32_t displaced = view_.hot(domain).push(cell);
      if (displaced < view_.cell_capacity) view_.cold.set(displaced);
    }
  }

  // The count of a magazine that the caller owns, cut to what a magazine can hold.
  std::uint32_t count_of(std::uint32_t cell) const noexcept {
    const std::uint32_t count = view_.cells[cell].count.load(std::memory_order_relaxed);
    return count <= view_.magazine_slots ? count : view_.magazine_slots;
  }

 private:
  // Whether what is cold has come down to the low watermark, in words of the bitmap: looked at once for the last magazine
  // of a word, as a get pays for it, and for the doorbell that follows.
  bool few_cold() const noexcept {
    return view_.low_words == nullptr ||
           !view_.cold.has_more_words_than(view_.low_words->load(std::memory_order_relaxed));
  }
  // Draining magazines met on a way through cold: hinted again at its end, else it would meet them again.
  struct DrainingCells {
    std::uint32_t count = 0;
    std::uint32_t cells[kHintTries];
  };

  void hint_draining(const DrainingCells& draining) noexcept {
    for (std::uint32_t i = 0; i < draining.count; ++i) view_.cold.set(draining.cells[i]);
  }

  bool release_silently(std::uint32_t cell, OwnerWord me) noexcept {
    std::uint64_t expected = me.word;
    return view_.cells[cell].owner.compare_exchange_strong(
        expected, 0, std::memory_order_release, std::memory_order_relaxed);  // R1e — COMMIT
  }

  // The count of a magazine just claimed. One beyond what a magazine can hold is damage, and cut, so that no
  // put writes behind the cell.
  std::uint32_t mended_count(std::uint32_t cell) noexcept {
    const std::uint32_t count = view_.cells[cell].count.load(std::memory_order_relaxed);
    if (count <= view_.magazine_slots) return count;
    view_.cells[cell].count.store(view_.magazine_slots, std::memory_order_relaxed);
    return view_.magazine_slots;
  }

  bool claim_if_filled(std::uint32_t cell, std::uint32_t bound, OwnerWord me, ClaimStats& stats,
                       DrainingCells* draining = nullptr) noexcept {
    if (cell >= bound) return false;
    if (!try_claim(cell, me)) {
      ++stats.contention;
      return false;
    }
    const std::uint32_t count = mended_count(cell);
    if (count > 0 && !drains(cell, count)) return true;
    release_silently(cell, me);
    // A draining magazine is hinted cold, where the daemon looks for it.
    if (count == 0) {
      view_.empty.set(cell);
    } else if (draining != nullptr) {
      draining->cells[draining->count++] = cell;
    } else {
      view_.cold.set(cell);
    }
    ++stats.contention;
    return false;
  }

  bool claim_if_room(std::uint32_t cell, std::uint32_t bound, OwnerWord me,
                     ClaimStats& stats) noexcept {
    if (cell >= bound) return false;
    if (!try_claim(cell, me)) {
      ++stats.contention;
      return false;
    }
    if (mended_count(cell) < view_.magazine_slots) return true;
    release_silently(cell, me);
    view_.cold.set(cell);
    ++stats.contention;
    return false;
  }

  // Whether a magazine holds a slot of the extent that is being withdrawn.
  bool drains(std::uint32_t cell, std::uint32_t count) const noexcept {
    const std::uint32_t end = view_.drain_end->load(std::memory_order_relaxed);
    if (end == 0) return false;
    const std::uint32_t begin = view_.drain_begin->load(std::memory_order_relaxed);
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t slot = view_.cells[cell].slots[i].load(std::memory_order_relaxed);
      if (slot >= begin && slot < end) return true;
    }
    return false;
  }

  // Looks at the owner words of up to `most` magazines, from a place that differs between callers.
  template <typename Wanted>
  std::uint32_t scan(OwnerWord me, std::uint32_t bound, std::uint32_t most, ClaimStats& stats,
                     bool draining_too, Wanted wanted) noexcept {
    if (bound == 0) return kNone;
    const std::uint32_t start = (me.client() * 0x9e3779b1U + me.detail() * 0x85ebca6bU) % bound;
    const std::uint32_t steps = bound < most ? bound : most;
    for (std::uint32_t i = 0; i < steps; ++i) {
      const std::uint32_t cell = (start + i) % bound;
      Magazine<Atom>& magazine = view_.cells[cell];
      if (magazine.owner.load(std::memory_order_relaxed) != 0) continue;
      // A plain look, to leave useless magazines alone; the claim decides.
      if (!wanted(magazine.count.load(std::memory_order_relaxed))) continue;
      if (!try_claim(cell, me)) {
        ++stats.contention;
        continue;
      }
      const std::uint32_t count = mended_count(cell);
      const bool draining = !draining_too && count > 0 && drains(cell, count);
      if (wanted(count) && !draining) return cell;
      release_silently(cell, me);
      if (draining) {
        view_.cold.set(cell);  // not hot: the next claimer would meet it first
      } else {
        hint(cell, count, 0);
      }
    }
    return kNone;
  }

  RingView<Atom> view_;
};

}  // namespace zeropool::v1::lib
