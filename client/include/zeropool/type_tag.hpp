#pragma once
// What lets a type travel to another process: a name and a version, on both sides the same.
//
// Thread safety: constants.

#include <cstdint>
#include <string_view>
#include <type_traits>

#include <zeropool.h>

namespace zeropool {
inline namespace v1 {

// The largest tag: 21 bits of a handle and a note hold it.
inline constexpr std::uint32_t kMaxTypeTag = (1U << 21) - 1;

// zp_type_tag(): FNV-1a of the name's bytes, a 0 and the version's four (lowest first), folded to 21 bits, of which the
// low 14 are never all 0 (in a handle that is plain bytes).
constexpr std::uint32_t type_tag(std::string_view name, std::uint32_t version) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  const auto mix = [&hash](std::uint8_t byte) { hash = (hash ^ byte) * 0x100000001b3ULL; };
  for (const char c : name) mix(static_cast<std::uint8_t>(c));
  mix(0);
  for (int shift = 0; shift < 32; shift += 8) mix(static_cast<std::uint8_t>(version >> shift));
  const auto folded =
      static_cast<std::uint32_t>((hash ^ (hash >> 21) ^ (hash >> 42)) & kMaxTypeTag);
  return (folded & 0x3fff) != 0 ? folded : folded | 1;
}

// Specialise it for a type that may be handed to another process:
//
//   template <>
//   struct zeropool::HandOff<Tick> {
//     static constexpr const char* name = "market.Tick";
//     static constexpr std::uint32_t version = 2;  // another one whenever its members change
//   };
//
// The other side must mean the same bytes by that name and version: the same machine, the same members. A type that has
// pointers, or anything that means something in one process only, must not say so.
template <typename T>
struct HandOff {};

template <typename T>
concept HandsOff = requires {
  {std::string_view(HandOff<T>::name)};
  {static_cast<std::uint32_t>(HandOff<T>::version)};
};

// What C programs, and other languages, give zp_adopt_as().
template <typename T>
constexpr zp_type type_of() noexcept {
  static_assert(
      std::is_trivially_copyable_v<T>,
      "only a trivially copyable type can be handed to another process: its bytes are all "
      "that travels");
  static_assert(
      HandsOff<T>,
      "say that this type may be handed to another process: specialise zeropool::HandOff<T> "
      "with a name and a version (zeropool/type_tag.hpp)");
  return {type_tag(HandOff<T>::name, HandOff<T>::version), static_cast<std::uint32_t>(alignof(T)),
          sizeof(T)};
}

}  // namespace v1
}  // namespace zeropool
