#pragma once
// A magazine: one 256-byte cell of a batch ring, claimed whole and used in place.
//
// Thread safety: `owner` may be changed by anybody, by CAS; the rest belongs to whom it names.
// Invariants:
//   C1  Only the owner named by `owner` writes count, link and slots; nobody writes them while it is 0.
//   C2  slots[0 .. count) are distinct, and each is Free or about to be (the windows of slot_transfer.hpp).
//   C3  A slot lies below the count of at most one magazine.

#include <atomic>
#include <cstdint>

#include <zeropool/lib/layout_constants.hpp>

namespace zeropool::inline v1::lib {

template <template <typename> class Atom>
struct alignas(256) Magazine {
  Atom<std::uint64_t> owner;  // OwnerWord
  Atom<std::uint32_t> count;
  Atom<std::uint32_t>
      link;  // while granted: 1 + the number of the order's next magazine, 0 at the end
  Atom<std::uint32_t> slots[kMaxMagazineSlots];
};

}  // namespace zeropool::v1::lib
