#pragma once
// pump: the smallest event loop: waits for the pool's event descriptor and polls, until a condition holds.

#include <chrono>
#include <poll.h>

#include <zeropool/async.hpp>

namespace zeropool::testing {

// Whether the descriptor is readable within `limit`.
inline bool readable(int fd, std::chrono::milliseconds limit = std::chrono::milliseconds(0)) {
  pollfd wait{fd, POLLIN, 0};
  return ::poll(&wait, 1, static_cast<int>(limit.count())) == 1 && (wait.revents & POLLIN) != 0;
}

// False: `limit` has passed. It polls only when the descriptor says so: one that is silent is found.
template <typename Condition>
bool pump(Pool& pool, Condition done,
          std::chrono::milliseconds limit = std::chrono::milliseconds(30'000)) {
  const int fd = pool.event_fd();
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!done()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    // In slices: another thread may bring the condition about.
    if (readable(fd, std::chrono::milliseconds(100))) pool.poll();
  }
  return true;
}

}  // namespace zeropool::testing
