#pragma once
// While a client's order does not fit its quota, its own threads keep nothing: their puts go back at once.
//
// Thread safety: the loop thread's; `limit` words are read by their threads at each put.
// Crash safety: limits that a killed daemon left at 0 are set again by the next one (CachePressure::relieve_everything).

#include <cstdint>
#include <unordered_set>

#include "daemon/pool_memory.hpp"

namespace zeropool::daemon {

class ClientPressure {
 public:
  explicit ClientPressure(const PoolMemory& memory) : memory_(memory) {}

  // Asks the caches of a client, once until it is relieved.
  void press(std::uint32_t client);
  // All but these get their limits back.
  void relieve_but(const std::unordered_set<std::uint32_t>& clients);

 private:
  void set_limits(std::uint32_t client, bool pressed);

  const PoolMemory& memory_;
  std::unordered_set<std::uint32_t> pressed_;
};

}  // namespace zeropool::daemon
