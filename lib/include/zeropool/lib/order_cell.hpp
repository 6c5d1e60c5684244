#pragma once
// An order: a client's request for slots that the ring does not have.
//
//   word: 63         32 31  28 27    20 19            0
//         [ sequence   ][ state ][ epoch ][ client      ]
//
// Thread safety: the word changes by CAS only; the other fields belong to the client while Writing, and to
// nobody but readers after that (`refusal`, `first_granted`: the daemon's).
//
//   step       action                                          after a kill here
//   take       CAS Free -> Writing, sequence + 1               reclaim frees a Writing cell of a dead client
//   post       CAS Writing -> Posted (release: pairs with O1)  reclaim cancels it
//   grant 1    owner word of each magazine = grant(order, seq) recovery: grants whose order is not Granted
//                                                              with that sequence go back to the ring
//   grant 2    CAS Posted -> Granted (release: O2) — COMMIT    the client's; reclaimed by the owner words
//   refuse     CAS Posted -> Refused                           the client frees the cell
//   cancel     CAS Posted -> Free by the client — COMMIT       a grant under way fails its CAS and goes back
//   accept     CAS owner grant -> thread, each magazine        the rest is reclaimed by the owner words
//   end        word = Free, the sequence kept
//
// O1: the daemon's load of the word, acquire. O2 pairs with the client's load of the word, acquire.

#include <atomic>
#include <cstdint>

#include <zeropool/lib/error_code.hpp>
#include <zeropool/lib/layout_constants.hpp>

namespace zeropool::inline v1::lib {

enum class OrderState : std::uint32_t {
  kFree = 0,
  kWriting = 1,
  kPosted = 2,
  kGranted = 3,
  kRefused = 4,
};

struct OrderWord {
  std::uint64_t word = 0;

  static constexpr OrderWord make(std::uint32_t sequence, OrderState state, std::uint32_t client,
                                  std::uint32_t epoch) noexcept {
    return OrderWord{(std::uint64_t{sequence} << 32) | (static_cast<std::uint64_t>(state) << 28) |
                     (std::uint64_t{epoch & 0xffU} << kClientIdBits) | client};
  }
  constexpr std::uint32_t sequence() const noexcept {
    return static_cast<std::uint32_t>(word >> 32);
  }
  constexpr OrderState state() const noexcept {
    return static_cast<OrderState>((word >> 28) & 0xf);
  }
  constexpr std::uint32_t client() const noexcept {
    return static_cast<std::uint32_t>(word & ((1U << kClientIdBits) - 1));
  }
  constexpr std::uint32_t epoch() const noexcept {
    return static_cast<std::uint32_t>((word >> kClientIdBits) & 0xff);
  }
  constexpr OrderWord with_state(OrderState state) const noexcept {
    return make(sequence(), state, client(), epoch());
  }
  constexpr OrderWord freed() const noexcept { return make(sequence(), OrderState::kFree, 0, 0); }

  friend constexpr bool operator==(OrderWord, OrderWord) = default;
};

// {class: 6, count: 26}: so many slots of that class.
struct OrderItem {
  std::uint32_t word = 0;
  static constexpr std::uint32_t kMaxCount = (1U << 26) - 1;
  static constexpr OrderItem make(std::uint32_t cls, std::uint32_t count) noexcept {
    return OrderItem{(cls << 26) | count};
  }
  constexpr std::uint32_t cls() const noexcept { return word >> 26; }
  constexpr std::uint32_t count() const noexcept { return word & kMaxCount; }
};

// {sequence: 24, error code: 8}. The daemon writes it before its CAS of the word: where the order was cancelled in
// between, and the cell taken anew, it says by its sequence that it is not about the new one.
struct OrderReason {
  std::uint32_t word = 0;
  static constexpr std::uint32_t kCodeBits = 8;
  static constexpr OrderReason make(OrderWord order, ErrorCode code) noexcept {
    return OrderReason{(order.sequence() << kCodeBits) |
                       (static_cast<std::uint32_t>(code) & ((1U << kCodeBits) - 1))};
  }
  // What it says of this order; ok: nothing.
  constexpr ErrorCode code_for(OrderWord order) const noexcept {
    if (word >> kCodeBits != (order.sequence() << kCodeBits) >> kCodeBits) return ErrorCode::ok;
    return static_cast<ErrorCode>(word & ((1U << kCodeBits) - 1));
  }
};

// Wake by the client's socket, after a bit in its ClientRecord, not by futex. A kill in between loses a wake, no answer: the
// client looks at all of its cells now and then.
inline constexpr std::uint32_t kOrderAsync = 1;
inline constexpr std::uint32_t kOrderOneNode = 2;  // only from `arena`
// No slots, only that the client's own caches make room in its quota for so many: refused with `ok` once there is.
inline constexpr std::uint32_t kOrderRoom = 4;

template <template <typename> class Atom>
struct alignas(256) OrderCell {
  Atom<std::uint64_t> word;  // OrderWord
  Atom<std::uint32_t> wake;  // futex: grows by one at each grant and refusal
  Atom<std::uint32_t> item_count;
  Atom<std::uint64_t> deadline_ns;  // CLOCK_MONOTONIC
  Atom<std::uint64_t> posted_ns;    // CLOCK_MONOTONIC
  Atom<std::uint64_t> cookie;       // unused: whose cell it is a client knows by its own table
  Atom<std::uint32_t> flags;
  Atom<std::uint32_t> arena;          // where the orderer runs
  Atom<std::uint32_t> first_granted;  // 1 + the pool-wide number of the first granted magazine
  Atom<std::uint32_t> refusal;        // OrderReason: why it is refused, or why it still waits
  Atom<std::uint64_t> reserved[9];
  Atom<std::uint32_t> items[kMaxClasses];  // OrderItem
};

// Daemon: says why an order waits.
template <template <typename> class Atom>
void note_reason(OrderCell<Atom>& cell, OrderWord posted, ErrorCode code) noexcept {
  cell.refusal.store(OrderReason::make(posted, code).word, std::memory_order_relaxed);
}

// Daemon: refuses an order. False: it is not posted any more.
template <template <typename> class Atom>
bool refuse_order(OrderCell<Atom>& cell, OrderWord posted, ErrorCode code) noexcept {
  note_reason(cell, posted, code);
  std::uint64_t expected = posted.word;
  return cell.word.compare_exchange_strong(expected, posted.with_state(OrderState::kRefused).word,
                                           std::memory_order_release, std::memory_order_relaxed);
}

// Daemon: makes the magazines that were granted the order's. False: it is not posted any more.
template <template <typename> class Atom>
bool grant_order(OrderCell<Atom>& cell, OrderWord posted, std::uint32_t first_granted) noexcept {
  cell.first_granted.store(first_granted, std::memory_order_relaxed);
  note_reason(cell, posted, ErrorCode::ok);
  std::uint64_t expected = posted.word;
  return cell.word.compare_exchange_strong(expected, posted.with_state(OrderState::kGranted).word,
                                           std::memory_order_release,
                                           std::memory_order_relaxed);  // grant 2: COMMIT (O2)
}

// What has become of a posted order. Gone: the daemon freed its cell, as it takes the client for dead.
enum class OrderAnswer { kWaits, kGranted, kRefused, kGone };
// Client.
template <template <typename> class Atom>
OrderAnswer answer_of(const OrderCell<Atom>& cell, OrderWord posted) noexcept {
  const OrderWord found{cell.word.load(std::memory_order_acquire)};  // O2
  if (found == posted) return OrderAnswer::kWaits;
  if (found == posted.with_state(OrderState::kGranted)) return OrderAnswer::kGranted;
  return found == posted.with_state(OrderState::kRefused) ? OrderAnswer::kRefused
                                                          : OrderAnswer::kGone;
}
// Client: cancels its order. False: it was answered at the last moment, and answer_of() says how.
template <template <typename> class Atom>
bool withdraw_order(OrderCell<Atom>& cell, OrderWord posted) noexcept {
  std::uint64_t expected = posted.word;
  return cell.word.compare_exchange_strong(expected, posted.freed().word, std::memory_order_acq_rel,
                                           std::memory_order_acquire);  // COMMIT
}
// Client: ends an order that was granted, and is accepted, or was refused.
template <template <typename> class Atom>
void end_order(OrderCell<Atom>& cell, OrderWord posted) noexcept {
  cell.word.store(posted.freed().word, std::memory_order_release);
}

// Client: what the daemon said of its order; ok: nothing.
template <template <typename> class Atom>
ErrorCode reason_of(const OrderCell<Atom>& cell, OrderWord posted) noexcept {
  return OrderReason{cell.refusal.load(std::memory_order_relaxed)}.code_for(posted);
}

}  // namespace zeropool::v1::lib
