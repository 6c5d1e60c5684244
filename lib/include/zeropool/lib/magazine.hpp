#pragma once
// A magazine: one 256-byte cell of a batch ring, claimed whole and used in place.
//
// Thread safety: `owner` may be changed by anybody, by CAS; the rest belongs to whom it names.
// Invariants:
//   C1  Only the owner named by `owner` writes count, link and slots; nobody writes them while it is 0.
//   C2  slots[0 .. count) are distinct, and each is Free or about to be (the windows of slot_transfer.hpp).
//   C3  A slot lies below the count of at most one magazine.
//   C4  Each of those slots is clean (all its bytes are 0, nobody has had it), or was put there by a process of the
//       user that `users` names, or `users` is kManyUsers. Whoever puts a slot sees to it before the put's commit.
//   C5  A get by the hit path adds one to `takes` with the store that commits it (thread_tally.hpp reads them as its
//       thread's hits). Nothing else changes `takes`, but a link, which lies over it while no thread has the magazine.

#include <atomic>
#include <cstdint>

#include <zeropool/lib/layout_constants.hpp>
#include <zeropool/lib/ordering.hpp>

namespace zeropool::inline v1::lib {

// Magazine::users: whose bytes its slots may show. 1 + the user id as the daemon knows it.
inline constexpr std::uint32_t kNoUser = 0;
inline constexpr std::uint32_t kManyUsers = 0xffffffff;
// User ids that more than one user may have here (65534: those that our user namespace does not map) count as many.
constexpr std::uint32_t user_stamp(std::uint32_t uid) noexcept {
  return uid >= 0xfffffffe || uid == 65534 ? kManyUsers : uid + 1;
}

// Added to a count word: one taken, one put. (Templates, so that a bench can go without takes.)
template <template <typename> class Atom>
inline constexpr std::uint64_t kTake = (std::uint64_t{1} << 8) - 1;
template <template <typename> class Atom>
inline constexpr std::uint64_t kPut = 1;

// {takes: 56, count: 8}, and while granted {link: 32, -: 24, count: 8}.
template <template <typename> class Atom>
struct CountWord {
  static constexpr std::uint64_t kCountMask = 0xff;
  static constexpr std::uint32_t kTakesShift = 8;

  Atom<std::uint64_t> word;

  // The slots that it has.
  std::uint32_t load(std::memory_order order = std::memory_order_seq_cst) const noexcept {
    return static_cast<std::uint32_t>(word.load(order) & kCountMask);
  }
  // The owner's. What does not fit a byte is stored as its low one.
  void store(std::uint32_t count, std::memory_order order = std::memory_order_seq_cst) noexcept {
    word.store((word.load(std::memory_order_relaxed) & ~kCountMask) | (count & kCountMask), order);
  }
  // While granted: 1 + the number of the order's next magazine, 0 at the end.
  std::uint32_t link() const noexcept {
    return static_cast<std::uint32_t>(word.load(std::memory_order_relaxed) >> 32);
  }
  void set_link(std::uint32_t link) noexcept {
    word.store((std::uint64_t{link} << 32) |
                   (word.load(std::memory_order_relaxed) & std::uint64_t{0xffffffff}),
               std::memory_order_relaxed);
  }
};

template <template <typename> class Atom>
struct alignas(256) Magazine {
  Atom<std::uint64_t> owner;  // OwnerWord
  CountWord<Atom> count;
  Atom<std::uint32_t> slots[kMaxMagazineSlots];
  Atom<std::uint32_t> users;
};

// C4, before a slot that shows bytes of `users` is put. The caller owns the magazine.
template <template <typename> class Atom>
void admit(Magazine<Atom>& magazine, std::uint32_t users) noexcept {
  const std::uint32_t now = magazine.users.load(std::memory_order_relaxed);
  const bool empty = magazine.count.load(std::memory_order_relaxed) == 0;
  if (now == users || (users == kNoUser && !empty)) return;
  magazine.users.store(empty || now == kNoUser ? users : kManyUsers, std::memory_order_relaxed);
  program_order();
}

}  // namespace zeropool::v1::lib
