#pragma once
// An order as the daemon has copied and checked it.
//
// Thread safety: the loop thread's. Trust: each word of the cell is read once; what comes out is in range.

#include <cstdint>
#include <vector>

#include "daemon/pool.hpp"
#include "zeropool/lib/error_code.hpp"
#include "zeropool/lib/order_cell.hpp"

namespace zeropool::daemon {

struct Order {
  std::uint32_t cell = 0;
  lib::OrderWord word;
  std::uint32_t flags = 0;
  std::uint32_t arena = 0;
  std::uint64_t deadline_ns = 0;
  std::uint64_t posted_ns = 0;
  std::uint64_t bytes = 0;          // all that it wants
  std::uint32_t classes = 0;        // bit mask
  std::uint32_t missing = 0;        // those of which there was not enough once
  bool starved = false;             // no memory could be had for it, or for one before it
  std::uint64_t arrival = 0;        // grows with each order (OrderQueue)
  std::uint64_t over_quota_ns = 0;  // since when it does not fit its client's quota; 0: it fits
  std::vector<lib::OrderItem> items;
};

// The client of this pool that an order's word names; null: there is none.
const ClientInfo* client_of(const Pool& pool, lib::OrderWord word);

// Anything but kOk: why it can never be served. cell and word are set in any case.
lib::ErrorCode read_order(const Pool& pool, std::uint32_t cell, lib::OrderWord word,
                          std::uint64_t now_ns, Order& order);

// The rings that may serve a class of it, the nearest first.
std::vector<std::uint32_t> rings_for(const Pool& pool, const Order& order, std::uint32_t cls);

}  // namespace zeropool::daemon
