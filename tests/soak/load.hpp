#pragma once
// The daemon's configuration in a soak, and what the load must know of it.

#include <chrono>

namespace zeropool::soak {

// Of a get that does not say how long it waits.
constexpr std::chrono::nanoseconds kPoolWait = std::chrono::milliseconds(50);

// So little memory that eight clients spend it now and then.
constexpr const char* kConfig = R"(budget: 96MiB
metrics: {listen: []}
pools:
  frames:
    classes: [4KiB, 64KiB, 1MiB]
    wait: {timeout: 50ms}
    handoff: {lease: 200ms}
)";

}  // namespace zeropool::soak
