// Sizes (64KiB), shares (25%) and durations (5s): text to exact numbers and back.
//
// A number is decimal digits, with a fraction when the result is exact (1.5GiB), then a unit; one
// space may stand between them. No sign, no exponent, no leading zero, no rounding.
// Errors: Parsed holds a sentence that says what is wrong and what is accepted.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace zeropool::daemon {

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = kKiB * 1024;
inline constexpr std::uint64_t kGiB = kMiB * 1024;
inline constexpr std::uint64_t kTiB = kGiB * 1024;

// Bytes, or a share of something whose size is known later.
struct Amount {
  enum class Kind { kBytes, kPercent };
  Kind kind = Kind::kBytes;
  std::uint64_t value = 0;  // bytes, or hundredths of a percent (0 to 10000)

  static constexpr Amount bytes(std::uint64_t bytes) { return {Kind::kBytes, bytes}; }
  static constexpr Amount percent_hundredths(std::uint64_t hundredths) {
    return {Kind::kPercent, hundredths};
  }
  // Rounded down to a byte; never overflows.
  std::uint64_t of(std::uint64_t total_bytes) const;
  bool operator==(const Amount&) const = default;
};

template <typename T>
struct Parsed {
  std::optional<T> value;
  std::string error;  // empty when there is a value
};

Parsed<std::uint64_t> parse_bytes(std::string_view text);                // a bare number is bytes
Parsed<Amount> parse_amount(std::string_view text);                      // bytes, or 0.01% to 100%
Parsed<std::chrono::nanoseconds> parse_duration(std::string_view text);  // bare only for 0

// In the largest unit that keeps it exact; parse_*(format_*(x)) is x.
std::string format_bytes(std::uint64_t bytes);
std::string format_amount(const Amount& amount);
std::string format_duration(std::chrono::nanoseconds duration);

}  // namespace zeropool::daemon
