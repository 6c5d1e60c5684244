#pragma once
// Magazines that the daemon has claimed to grant to one order, and how they become the orderer's or go back.
//
// Thread safety: the loop thread's.
// Crash safety: claimed ones name the daemon, granted ones the client and the order: recovery gives back the
// former, and the latter unless the order is Granted with that sequence.

#include <cstdint>
#include <vector>

#include "daemon/pool_memory.hpp"

namespace zeropool::daemon {

class OrderClaim {
 public:
  explicit OrderClaim(const PoolMemory& memory) : memory_(memory) {}
  ~OrderClaim() { give_back(); }
  OrderClaim(const OrderClaim&) = delete;
  OrderClaim& operator=(const OrderClaim&) = delete;

  // Claims filled magazines of a ring until `wanted` slots are covered. `exact`: what the last one holds
  // beyond that goes back. Returns how many slots it got (more than wanted, with whole magazines).
  std::uint64_t take(std::uint32_t ring, std::uint64_t wanted, bool exact);
  // Links all and makes them the orderer's. False: some word was not ours any more; all has gone back then.
  bool grant(lib::OwnerWord owner, std::uint32_t& first_granted);
  // After grant(): they are the client's to accept.
  void keep() { taken_.clear(); }
  void give_back();

  std::uint64_t repairs() const { return repairs_; }
  // What all taken magazines hold.
  std::uint64_t bytes() const { return bytes_; }

 private:
  struct Taken {
    std::uint32_t ring = 0;
    std::uint32_t cell = 0;
    lib::OwnerWord owner;
  };
  bool put_back_surplus(lib::SharedBatchRing& batch, std::uint32_t cell, std::uint32_t keep);

  const PoolMemory& memory_;
  std::vector<Taken> taken_;
  std::uint64_t bytes_ = 0;
  std::uint64_t repairs_ = 0;
};

}  // namespace zeropool::daemon
