#pragma once
// The most that was needed at any look within the last N seconds: what must stay committed, so that a load that comes
// and goes within that time does not release and commit in turn.
//
// Thread safety: one thread's. The clock is the caller's.
// Invariants:
//   D1  peak() is at least as large as every amount noted within the window; what is older than the window and an
//       eighth of it is forgotten.
//   D2  whole() is true only where looks have followed each other, two eighths of the window apart at most (or nothing
//       could change between them), for the length of the window.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace zeropool::daemon {

class DemandWindow {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::int64_t kParts = 8;

  // Another length begins anew.
  void set_length(std::chrono::nanoseconds length) {
    if (length == length_) return;
    *this = DemandWindow();
    length_ = length;
  }
  std::chrono::nanoseconds part() const {
    return std::max<std::chrono::nanoseconds>(length_ / kParts, std::chrono::nanoseconds(1));
  }

  // `unchanged`: since the last look nothing can have been needed but what was noted then.
  void note(std::uint64_t amount, Time now, bool unchanged = false) {
    const std::int64_t current = now.time_since_epoch() / part();
    if (!began_ || (current > last_ + kMostGap && !unchanged)) {
      most_.fill(0);
      since_ = now;
      began_ = true;
    } else {
      const std::uint64_t kept = unchanged ? at(last_) : 0;
      const std::int64_t from = std::max(last_ + 1, current - kSize + 1);
      for (std::int64_t passed = from; passed <= current; ++passed) at(passed) = kept;
    }
    last_ = std::max(last_, current);
    at(last_) = std::max(at(last_), amount);
  }

  std::uint64_t peak() const { return *std::max_element(most_.begin(), most_.end()); }
  bool whole(Time now) const { return began_ && now - since_ >= length_; }

 private:
  static constexpr std::int64_t kSize = kParts + 1;  // the part that has just begun, too
  static constexpr std::int64_t kMostGap = 2;

  std::uint64_t& at(std::int64_t part) { return most_[static_cast<std::size_t>(part % kSize)]; }

  std::chrono::nanoseconds length_{};
  std::array<std::uint64_t, kSize> most_{};
  std::int64_t last_ = 0;  // part of the last look
  Time since_{};
  bool began_ = false;
};

}  // namespace zeropool::daemon
