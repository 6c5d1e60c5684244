#include <zeropool/lib/class_lookup.hpp>

namespace zeropool::inline v1::lib {
namespace {

// The first class boundary that shares its bucket with the boundary before it, or kNone.
std::uint32_t first_clash(std::span<const std::uint64_t> classes, std::uint32_t mantissa_bits) {
  for (std::size_t i = 1; i + 1 < classes.size(); ++i) {
    // A boundary lies between classes[i] and the next granule: inside the bucket of classes[i], unless
    // classes[i] is the last size of it. Two boundaries in one bucket cannot be told apart.
    const std::size_t before = ClassLookup::bucket_of(classes[i - 1], mantissa_bits);
    const std::size_t here = ClassLookup::bucket_of(classes[i], mantissa_bits);
    const bool before_inside =
        ClassLookup::bucket_of(classes[i - 1] + kClassGranule, mantissa_bits) == before;
    if (before == here && before_inside &&
        ClassLookup::bucket_of(classes[i] + kClassGranule, mantissa_bits) == here) {
      return static_cast<std::uint32_t>(i - 1);
    }
  }
  return kNone;
}

}  // namespace

bool ClassLookup::build(std::span<const std::uint64_t> classes, ClassLookup& into,
                        std::uint32_t& near_class) noexcept {
  into = ClassLookup{};
  near_class = kNone;
  if (classes.empty() || classes.size() > kMaxClasses) return false;
  // They may come from a segment: nothing may index behind first_class.
  for (std::size_t i = 0; i < classes.size(); ++i) {
    if (classes[i] == 0 || classes[i] % kClassGranule != 0 || classes[i] > kMaxClassBytes)
      return false;
    if (i == 0 || classes[i - 1] < classes[i]) continue;
    near_class = static_cast<std::uint32_t>(i - 1);
    return false;
  }
  for (std::uint32_t bits = 0; bits <= kMaxMantissaBits; ++bits) {
    near_class = first_clash(classes, bits);
    if (near_class != kNone) continue;
    into.mantissa_bits = bits;
    into.class_count = static_cast<std::uint32_t>(classes.size());
    for (std::size_t i = 0; i < classes.size(); ++i) into.class_bytes[i] = classes[i];
    into.largest_bytes = classes.back();
    // Fill each bucket with the class of its smallest size: walk the classes' first sizes downwards.
    const std::size_t last = bucket_of(into.largest_bytes, bits);
    std::size_t bucket = 0;
    for (std::uint32_t c = 0; c < into.class_count; ++c) {
      const std::size_t end = bucket_of(classes[c], bits);
      for (; bucket <= end && bucket <= last; ++bucket)
        into.first_class[bucket] = static_cast<std::uint8_t>(c);
    }
    return true;
  }
  return false;
}

}  // namespace zeropool::v1::lib
