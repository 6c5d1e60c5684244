#pragma once
// What was once said of a ring's hits and puts is not taken back.
//
// A thread that is met within a slow operation, or was killed there, shows up to a magazine's slots more or less than it
// has counted (lib/thread_tally.hpp). Less than before would be a counter's reset to who scrapes it, and all of it would
// count again; so the figure waits until the threads have caught up.
//
// Thread safety: any thread.

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "daemon/statistics.hpp"

namespace zeropool::daemon {

class CounterFloor {
 public:
  // Raises tls_hits and puts of ring `number` to what was said, or keeps in mind what they are. What is below by more than
  // `threads` magazines is no such difference, and is said as it is.
  void raise(std::size_t number, std::uint64_t threads, RingStatistics& ring);

 private:
  struct Said {
    std::uint64_t tls_hits = 0;
    std::uint64_t puts = 0;
  };
  std::mutex mutex_;
  std::vector<Said> said_;
};

}  // namespace zeropool::daemon
