#pragma once
// What everybody in a pool may know of a client, and the cells of pins.
//
// Thread safety: identity is written by the daemon before it answers the attach; charges by the client's
// threads. The daemon's own truth about a client is in its ledger.

#include <atomic>
#include <cstdint>

#include <zeropool/lib/layout_constants.hpp>

namespace zeropool::inline v1::lib {

// Whether an attach came to its end: answered by the daemon, then everything mapped by the client. Until then that the
// client's process has the pool not mapped says nothing: it may have been stopped in between, for however long.
//   kComing -> kHere by the client, after it has mapped; kComing -> kGivenUp by the daemon, of a client that is suspect.
//   Each by CAS (P1: release and acquire on both sides): whoever is second knows. A client that finds kGivenUp attaches
//   again; only one that is kHere is taken for gone when its mapping is absent.
// Crash safety: after kHere, as any client. After kGivenUp the next daemon finds the word, and reclaims.
enum class PresenceState : std::uint64_t { kComing = 0, kHere = 1, kGivenUp = 2 };
constexpr std::uint64_t presence(std::uint32_t client, std::uint32_t epoch,
                                 PresenceState state) noexcept {
  return (std::uint64_t{client} << 32) | (std::uint64_t{epoch & 0xffffffU} << 8) |
         static_cast<std::uint64_t>(state);
}

// Which async orders of a client were answered: one bit for each so many order cells, set by the daemon before it wakes the
// client by its socket. Only hints: bits may be lost (a daemon that is killed) or set by anybody, so the client looks at
// all of its cells now and then, too.
//   H1  The daemon sets the bit, release, after its answer, and writes the socket where the word was 0; the client reads
//       the socket, then takes the word, acquire. So who finds the word not 0 knows that the client is yet to look.
inline constexpr std::uint32_t kAnswerBits = 256;
constexpr std::uint32_t cells_per_answer_bit(std::uint32_t order_capacity) noexcept {
  return (order_capacity + kAnswerBits - 1) / kAnswerBits;
}

template <template <typename> class Atom>
struct alignas(128) ClientRecord {
  Atom<std::uint64_t> owner;  // OwnerWord of kind kThread, thread 0; 0: free
  Atom<std::uint32_t> pid;
  Atom<std::uint32_t> uid;
  Atom<std::uint64_t> charged_bytes;  // held and cached: client_charge.hpp
  Atom<std::uint64_t> presence;       // presence() of the client that the record is for
  Atom<std::uint64_t> reserved[4];
  char name[kClientNameBytes];
  Atom<std::uint64_t> answered[kAnswerBits / 64];  // H1
};

// Daemon: an async order in that cell was answered. True: its client is to be woken.
template <template <typename> class Atom>
bool note_answer(ClientRecord<Atom>& client, std::uint32_t cell, std::uint32_t capacity) noexcept {
  const std::uint32_t bit = cell / cells_per_answer_bit(capacity) % kAnswerBits;
  return client.answered[bit / 64].fetch_or(std::uint64_t{1} << (bit % 64),
                                            std::memory_order_acq_rel) == 0;  // H1
}

// Pages that must not move or be released while the client lives.
template <template <typename> class Atom>
struct alignas(kCacheLine) PinCell {
  Atom<std::uint64_t> owner;  // OwnerWord; 0: free
  Atom<std::uint32_t> ring;
  Atom<std::uint32_t> first_slot;
  Atom<std::uint32_t> slot_count;
  Atom<std::uint32_t> flags;
  Atom<std::uint64_t> reserved[5];
};

// The largest holders of a pool, for the sentence of `budget_exhausted`. Written by the daemon, odd `version`
// while it writes.
inline constexpr std::uint32_t kTopHolders = 6;
template <template <typename> class Atom>
struct TopHolder {
  Atom<std::uint64_t> bytes;
  Atom<std::uint32_t> pid;
  Atom<std::uint32_t> reserved;
  Atom<std::uint64_t> name[4];  // kClientNameBytes of text
};

}  // namespace zeropool::v1::lib
