#pragma once
// The mark of a slot: who holds it, and its generation.
//
//   63                      24 23    20 19            0
//   [ generation (40 bits)    ][ state ][ client      ]
//
// Thread safety: a mark is one 64-bit atomic; Mark is its plain value.
// Invariants:
//   M1  The holder named by a Held mark is the only one that changes it, but for reclaim after its death.
//   M2  The generation grows with every put and every release for hand-off, so an old handle or Buffer never
//       matches again (2^40 uses of one slot).
//   M3  A zero word (a page never written) is Absent: held by the daemon, not published.

#include <atomic>
#include <cstdint>

#include <zeropool/lib/layout_constants.hpp>

namespace zeropool::inline v1::lib {

enum class SlotState : std::uint32_t {
  kAbsent = 0,       // held by the daemon: not published, or withdrawn
  kFree = 1,         // in a magazine
  kHeld = 2,         // by `client`
  kInTransit = 3,    // released by `client`, not yet adopted
  kShared = 4,       // several readers; `client` is the number of its share cell
  kQuarantined = 5,  // with the daemon: the kernel may still write it for its dead holder
  kOrphaned = 6,     // put when no magazine could be found; the daemon collects it
};

struct Mark {
  std::uint64_t word = 0;

  static constexpr std::uint32_t kStateShift = kClientIdBits;
  static constexpr std::uint32_t kGenerationShift = 24;
  static constexpr std::uint64_t kHolderMask = (std::uint64_t{1} << kGenerationShift) - 1;
  static constexpr std::uint64_t kGenerationMask = (std::uint64_t{1} << 40) - 1;

  // The low 24 bits: state and client.
  static constexpr std::uint64_t holder_bits(SlotState state, std::uint32_t client) noexcept {
    return (static_cast<std::uint64_t>(state) << kStateShift) | client;
  }
  static constexpr Mark make(std::uint64_t generation, SlotState state,
                             std::uint32_t client) noexcept {
    return Mark{((generation & kGenerationMask) << kGenerationShift) | holder_bits(state, client)};
  }

  constexpr std::uint64_t generation() const noexcept { return word >> kGenerationShift; }
  constexpr SlotState state() const noexcept {
    return static_cast<SlotState>((word >> kStateShift) & 0xf);
  }
  constexpr std::uint32_t client() const noexcept {
    return static_cast<std::uint32_t>(word & ((std::uint64_t{1} << kClientIdBits) - 1));
  }
  constexpr bool is(SlotState state, std::uint32_t client) const noexcept {
    return (word & kHolderMask) == holder_bits(state, client);
  }
  constexpr bool is_free() const noexcept { return is(SlotState::kFree, 0); }

  // The generation where a mark has it, and nothing else.
  constexpr Mark generation_alone() const noexcept { return Mark{word & ~kHolderMask}; }
  // The same generation, another holder.
  constexpr Mark with_holder(SlotState state, std::uint32_t client) const noexcept {
    return Mark{(word & ~kHolderMask) | holder_bits(state, client)};
  }
  // The next generation, another holder.
  constexpr Mark next(SlotState state, std::uint32_t client) const noexcept {
    return make(generation() + 1, state, client);
  }

  friend constexpr bool operator==(Mark, Mark) = default;
};

// What travels beside a mark while a slot is in transit; written at release only.
//
//   63       50 49            30 29              0
//   [ tag     ][ receiver       ][ bytes - 1      ]
struct TransitNote {
  std::uint64_t word = 0;

  static constexpr std::uint32_t kBytesBits = 30;
  static constexpr std::uint32_t kTagBits = 14;

  static constexpr TransitNote make(std::uint64_t bytes, std::uint32_t receiver,
                                    std::uint32_t tag) noexcept {
    return TransitNote{((bytes - 1) & ((std::uint64_t{1} << kBytesBits) - 1)) |
                       (std::uint64_t{receiver} << kBytesBits) |
                       (std::uint64_t{tag} << (kBytesBits + kClientIdBits))};
  }
  constexpr std::uint64_t bytes() const noexcept {
    return (word & ((std::uint64_t{1} << kBytesBits) - 1)) + 1;
  }
  constexpr std::uint32_t receiver() const noexcept {
    return static_cast<std::uint32_t>((word >> kBytesBits) & ((1U << kClientIdBits) - 1));
  }
  constexpr std::uint32_t tag() const noexcept {
    return static_cast<std::uint32_t>(word >> (kBytesBits + kClientIdBits));
  }
};

// The two words of a slot, as they lie in the control segment.
template <template <typename> class Atom>
struct SlotWords {
  Atom<std::uint64_t> mark;
  Atom<std::uint64_t> note;
};

}  // namespace zeropool::v1::lib
