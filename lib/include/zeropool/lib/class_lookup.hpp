#pragma once
// Run-time size to class in a few instructions, for any set of classes.
//
// Sizes are counted in granules of 64 bytes and put into buckets of a floating-point kind: `mantissa_bits`
// bits below the leading one. The bits are chosen so that no bucket holds more than one class boundary; then
// the class is the bucket's first one, plus one comparison. Typical class tables need 30 to 100 buckets.
//
// Thread safety: a value; built once, read by many.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include <zeropool/lib/layout_constants.hpp>

namespace zeropool::inline v1::lib {

struct ClassLookup {
  static constexpr std::uint32_t kMaxMantissaBits = 9;
  static constexpr std::size_t kMaxBuckets = std::size_t{25 - kMaxMantissaBits} << kMaxMantissaBits;

  std::uint64_t largest_bytes = 0;
  std::uint32_t mantissa_bits = 0;
  std::uint32_t class_count = 0;
  std::uint64_t class_bytes[kMaxClasses] = {};
  std::uint8_t first_class[kMaxBuckets] = {};

  static constexpr std::size_t bucket_of(std::uint64_t bytes,
                                         std::uint32_t mantissa_bits) noexcept {
    const std::uint64_t granules = (bytes - 1) / kClassGranule;
    const std::uint32_t shift =
        static_cast<std::uint32_t>(std::bit_width(granules | (std::uint64_t{1} << mantissa_bits))) -
        (mantissa_bits + 1);
    return (std::size_t{shift} << mantissa_bits) + static_cast<std::size_t>(granules >> shift);
  }

  // True for sizes that some class can serve; false for 0 too.
  constexpr bool serves(std::uint64_t bytes) const noexcept { return bytes - 1 < largest_bytes; }

  // The smallest class of at least `bytes`. Needs serves(bytes).
  std::uint32_t class_of(std::uint64_t bytes) const noexcept {
    const std::uint32_t first = first_class[bucket_of(bytes, mantissa_bits)];
    return first + (bytes > class_bytes[first] ? 1U : 0U);
  }

  // Classes ascending, multiples of 64, at most 1 GiB. False when two neighbours are too near to be told
  // apart (nearer than 1/512 of their size) or not ascending: `near_class` is then the number of the first of
  // them. False with kNone: no classes, too many, or one that is no class.
  static bool build(std::span<const std::uint64_t> classes, ClassLookup& into,
                    std::uint32_t& near_class) noexcept;

  friend bool operator==(const ClassLookup&, const ClassLookup&) = default;
};

}  // namespace zeropool::v1::lib
