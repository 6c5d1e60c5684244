#pragma once
// The owner word of a magazine: the truth about who may touch it.
//
//   63                      32 31  28 27    20 19            0
//   [ detail                  ][ kind ][ epoch ][ client      ]
//
// detail is {thread: 16} for a thread's magazine, {sequence: 15, order: 17} for a granted one. A zero word is
// a magazine in the ring.

#include <atomic>
#include <cstdint>

#include <zeropool/lib/layout_constants.hpp>

namespace zeropool::inline v1::lib {

enum class OwnerKind : std::uint32_t { kRing = 0, kThread = 1, kGrant = 2, kDaemon = 3 };

struct OwnerWord {
  std::uint64_t word = 0;

  static constexpr std::uint32_t kUncachedThread = 0xffff;  // a thread that has no record
  static constexpr std::uint32_t kOrderBits = 17;
  static constexpr std::uint32_t kSequenceMask = (1U << 15) - 1;

  static constexpr OwnerWord make(OwnerKind kind, std::uint32_t client, std::uint32_t epoch,
                                  std::uint32_t detail) noexcept {
    return OwnerWord{(std::uint64_t{detail} << 32) | (static_cast<std::uint64_t>(kind) << 28) |
                     (std::uint64_t{epoch & 0xffU} << kClientIdBits) | client};
  }
  static constexpr OwnerWord thread(std::uint32_t client, std::uint32_t epoch,
                                    std::uint32_t thread) noexcept {
    return make(OwnerKind::kThread, client, epoch, thread);
  }
  static constexpr OwnerWord grant(std::uint32_t client, std::uint32_t epoch, std::uint32_t order,
                                   std::uint32_t sequence) noexcept {
    return make(OwnerKind::kGrant, client, epoch,
                order | ((sequence & kSequenceMask) << kOrderBits));
  }
  static constexpr OwnerWord daemon(std::uint32_t detail = 0) noexcept {
    return make(OwnerKind::kDaemon, kDaemonClient, 0, detail);
  }

  constexpr bool in_ring() const noexcept { return word == 0; }
  constexpr OwnerKind kind() const noexcept { return static_cast<OwnerKind>((word >> 28) & 0xf); }
  constexpr std::uint32_t client() const noexcept {
    return static_cast<std::uint32_t>(word & ((1U << kClientIdBits) - 1));
  }
  constexpr std::uint32_t epoch() const noexcept {
    return static_cast<std::uint32_t>((word >> kClientIdBits) & 0xff);
  }
  constexpr std::uint32_t detail() const noexcept { return static_cast<std::uint32_t>(word >> 32); }
  constexpr std::uint32_t order() const noexcept { return detail() & ((1U << kOrderBits) - 1); }
  constexpr std::uint32_t sequence() const noexcept { return detail() >> kOrderBits; }

  friend constexpr bool operator==(OwnerWord, OwnerWord) = default;
};

static_assert(kMaxOrders < (1U << OwnerWord::kOrderBits));

}  // namespace zeropool::v1::lib
