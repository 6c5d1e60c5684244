#include "daemon/order_intake.hpp"

#include <algorithm>

namespace zeropool::daemon {
namespace {

using lib::ErrorCode;

constexpr auto kRelaxed = std::memory_order_relaxed;

ErrorCode check(const Pool& pool, Order& order) {
  const lib::PoolShape& shape = pool.memory->plan().shape;
  if (order.arena >= shape.arenas.size()) return ErrorCode::invalid_argument;
  std::uint64_t bytes = 0;
  for (const lib::OrderItem item : order.items) {
    if (item.cls() >= shape.class_bytes.size() || item.count() == 0) {
      return ErrorCode::invalid_argument;
    }
    bytes += item.count() * shape.class_bytes[item.cls()];  // at most 32 * 2^26 * 2^30: fits
    order.classes |= 1U << item.cls();
  }
  order.bytes = bytes;
  if (bytes > pool.memory->account().limit_bytes) return ErrorCode::too_large;
  // Whether the client has so much left is asked when it is its turn (client_quota.hpp).
  const std::uint64_t quota = pool.config.client_quota_bytes.value_or(0);
  return quota != 0 && bytes > quota ? ErrorCode::quota_exceeded : ErrorCode::ok;
}

}  // namespace

const ClientInfo* client_of(const Pool& pool, lib::OrderWord word) {
  for (const ClientInfo& client : pool.clients) {
    if (client.id == word.client() && (client.epoch & 0xffU) == word.epoch()) return &client;
  }
  return nullptr;
}

ErrorCode read_order(const Pool& pool, std::uint32_t cell, lib::OrderWord word,
                     std::uint64_t now_ns, Order& order) {
  const lib::SharedOrderCell& shared = pool.memory->view().order(cell);
  order.cell = cell;
  order.word = word;
  order.flags = shared.flags.load(kRelaxed);
  order.arena = shared.arena.load(kRelaxed);
  order.deadline_ns = shared.deadline_ns.load(kRelaxed);
  order.posted_ns = std::min(shared.posted_ns.load(kRelaxed), now_ns);
  const std::uint32_t count = shared.item_count.load(kRelaxed);
  if (count == 0 || count > lib::kMaxClasses) return ErrorCode::invalid_argument;
  for (std::uint32_t i = 0; i < count; ++i) {
    order.items.push_back(lib::OrderItem{shared.items[i].load(kRelaxed)});
  }
  return check(pool, order);
}

std::vector<std::uint32_t> rings_for(const Pool& pool, const Order& order, std::uint32_t cls) {
  const lib::ControlPlan& plan = pool.memory->plan();
  const auto classes = static_cast<std::uint32_t>(plan.shape.class_bytes.size());
  const auto arenas = static_cast<std::uint32_t>(plan.shape.arenas.size());
  std::vector<std::uint32_t> rings = {order.arena * classes + cls};
  const bool one_node =
      (order.flags & lib::kOrderOneNode) != 0 || pool.config.placement == Placement::kLocalOnly;
  if (one_node) return rings;
  // Our own table, read back from shared memory: each entry is checked, a missing one appended.
  const auto* entries =
      reinterpret_cast<const lib::ArenaEntry*>(pool.memory->view().base() + plan.arenas_offset);
  std::vector<bool> listed(arenas, false);
  listed[order.arena] = true;
  const auto add = [&](std::uint32_t arena) {
    if (arena >= arenas || listed[arena]) return;
    listed[arena] = true;
    rings.push_back(arena * classes + cls);
  };
  for (std::uint32_t i = 0; i < arenas; ++i) add(entries[order.arena].order[i]);
  for (std::uint32_t arena = 0; arena < arenas; ++arena) add(arena);
  return rings;
}

}  // namespace zeropool::daemon
