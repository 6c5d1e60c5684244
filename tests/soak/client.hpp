#pragma once
// A client of a soak, in a process of its own: works at random, with threads that come and go and children that it
// forks, until it is told to end.

#include <cstddef>
#include <cstdint>

#include <zeropool/zeropool.hpp>

#include "actor.hpp"
#include "tests/integration/support/child_process.hpp"

namespace zeropool::soak {

struct ClientRole {
  std::size_t place = 0;
  std::uint64_t seed = 0;
  bool breaks = false;
};

// Throws when it cannot attach, and when a child of its own has crashed.
void run_client(const OpenOptions& options, Scene scene, const ClientRole& role,
                testing::Link& director);

}  // namespace zeropool::soak
