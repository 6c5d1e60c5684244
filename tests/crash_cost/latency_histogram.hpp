#pragma once
// LatencyHistogram: nanoseconds in buckets of at most 1/16 of their value. Plain memory, so that processes may share it.
//
// Thread safety: one writer; read it when the writer stands still.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace zeropool_bench {

class LatencyHistogram {
 public:
  void add(std::uint64_t ns) noexcept {
    ++counts_[bucket(ns)];
    ++total_;
    largest_ = std::max(largest_, ns);
  }
  void add(const LatencyHistogram& other) noexcept {
    for (std::size_t i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
    total_ += other.total_;
    largest_ = std::max(largest_, other.largest_);
  }
  std::uint64_t total() const noexcept { return total_; }
  std::uint64_t largest() const noexcept { return largest_; }
  // The value that `share` of all do not exceed; 0 when there is none.
  std::uint64_t quantile(double share) const noexcept {
    const auto wanted = static_cast<std::uint64_t>(share * static_cast<double>(total_));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < kBuckets; ++i) {
      seen += counts_[i];
      if (seen > wanted) return std::min(upper(i), largest_);
    }
    return largest_;
  }

 private:
  static constexpr std::size_t kParts = 16;  // of each power of two
  static constexpr std::size_t kBuckets = 61 * kParts;

  static std::size_t bucket(std::uint64_t ns) noexcept {
    if (ns < kParts) return static_cast<std::size_t>(ns);
    const auto shift = static_cast<std::size_t>(std::bit_width(ns)) - 5;
    return (shift + 1) * kParts + static_cast<std::size_t>((ns >> shift) & (kParts - 1));
  }
  static std::uint64_t upper(std::size_t bucket) noexcept {
    if (bucket < kParts) return bucket;
    const std::size_t shift = bucket / kParts - 1;
    return ((kParts + bucket % kParts + 1) << shift) - 1;
  }

  std::uint64_t counts_[kBuckets] = {};
  std::uint64_t total_ = 0;
  std::uint64_t largest_ = 0;
};

}  // namespace zeropool_bench
