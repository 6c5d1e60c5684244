#pragma once
// Survivor: the client beside the one that is killed. It takes all that can be had, with a pattern of its own in
// each buffer, so that a second holder of any of them is seen.
//
// Thread safety: one thread's.

#include <cstddef>
#include <cstdint>
#include <vector>

#include <zeropool/zeropool.hpp>

#include "pattern.hpp"

namespace zeropool::testing {

class Survivor {
 public:
  static constexpr std::size_t kStep = 4096;  // bytes between the words of its patterns

  Survivor(Pool pool, std::size_t bytes) : pool_(std::move(pool)), bytes_(bytes) {}

  Pool& pool() { return pool_; }
  std::size_t held() const { return buffers_.size(); }
  // Orders until nothing more comes, so that the pool has all its budget's slots. Returns how many it holds.
  std::size_t fill_pool(std::chrono::milliseconds wait = std::chrono::milliseconds(200)) {
    // A daemon that was still at it (the machine is busy) is no daemon that has nothing more.
    for (int timeouts = 0; timeouts < kMostTimeouts;) {
      Buffer buffer = pool_.get(bytes_, wait);
      const ErrorCode code = buffer.error_code();
      if (keep(std::move(buffer))) {
        timeouts = 0;
      } else if (code == ErrorCode::timed_out) {
        ++timeouts;
      } else {
        break;
      }
    }
    return held();
  }
  static constexpr int kMostTimeouts = 50;  // in a row
  // Everything in its caches and in the ring; never waits.
  std::size_t take_all() {
    while (keep(pool_.try_get(bytes_))) {
    }
    return held();
  }
  bool keep(Buffer buffer) {
    if (!buffer) return false;
    write_pattern(buffer, seed_of(buffers_.size()), kStep);
    buffers_.push_back(std::move(buffer));
    return true;
  }
  // Nobody else has written into what it holds.
  bool intact() const {
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      if (!has_pattern(buffers_[i], seed_of(i), kStep)) return false;
    }
    return true;
  }
  void put(std::size_t count) {
    buffers_.resize(count < buffers_.size() ? buffers_.size() - count : 0);
  }
  void put_all() { buffers_.clear(); }

 private:
  static std::uint64_t seed_of(std::size_t i) { return 0x5eedULL << 32 | i; }

  Pool pool_;
  std::size_t bytes_;
  std::vector<Buffer> buffers_;
};

}  // namespace zeropool::testing
