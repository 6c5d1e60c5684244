#pragma once
// PoolStats: what this process did in a pool.

#include <zeropool.h>

namespace zeropool {
inline namespace v1 {

// The counters of one process in one pool, and what is made of them.
struct PoolStats : zp_stats_data {
  PoolStats() noexcept : zp_stats_data{} {}

  // Gets served without zeropoold, of all that were served; 0 before the first.
  double hit_rate() const noexcept {
    const auto served = static_cast<double>(tls_hits + shared_hits + allocations);
    return served > 0 ? static_cast<double>(tls_hits + shared_hits) / served : 0.0;
  }
  // Gets served by the thread's own magazines, of all that were served.
  double tls_hit_rate() const noexcept {
    const auto served = static_cast<double>(tls_hits + shared_hits + allocations);
    return served > 0 ? static_cast<double>(tls_hits) / served : 0.0;
  }
};

}  // namespace v1
}  // namespace zeropool
