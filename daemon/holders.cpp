#include "daemon/holders.hpp"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "daemon/logging.hpp"
#include "daemon/share_ends.hpp"
#include "zeropool/lib/client_charge.hpp"

namespace zeropool::daemon {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

std::uint64_t total(const ClientHolding& holding) {
  return holding.held_bytes + holding.cached_bytes + holding.in_transit_bytes +
         holding.shared_bytes;
}

}  // namespace

std::atomic<std::uint64_t>& charge_word(const Pool& pool, const ClientInfo& client) {
  // A record that an adopted ledger names and the pool has not: charged nowhere.
  static std::atomic<std::uint64_t> nowhere{0};
  if (client.record >= pool.memory->plan().shape.client_capacity) return nowhere;
  return pool.memory->view().client(client.record).charged_bytes;
}

lib::SharedClientCharge charge_of(const Pool& pool, const ClientInfo& client) {
  return {charge_word(pool, client), pool.memory->header().client_quota_bytes};
}

std::vector<ClientHolding> holdings(const Pool& pool) {
  std::vector<ClientHolding> result;
  std::unordered_map<std::uint32_t, std::size_t> place;
  result.reserve(pool.clients.size());
  for (const ClientInfo& client : pool.clients) {
    place[client.id] = result.size();
    ClientHolding holding;
    holding.id = client.id;
    holding.charged_bytes = charge_of(pool, client).bytes();
    result.push_back(holding);
  }
  const PoolMemory& memory = *pool.memory;
  for (std::uint32_t r = 0; r < memory.ring_count(); ++r) {
    const std::uint64_t bytes = memory.plan().rings[r].class_bytes;
    const lib::SharedRingView ring = memory.ring(r);
    const std::uint32_t cells = ring.cell_bound();
    for (std::uint32_t cell = 0; cell < cells; ++cell) {
      const lib::OwnerWord owner{ring.cells[cell].owner.load(kRelaxed)};
      if (owner.in_ring()) continue;
      const auto found = place.find(owner.client());
      if (found == place.end()) continue;
      const std::uint32_t count =
          std::min(ring.cells[cell].count.load(kRelaxed), ring.magazine_slots);
      result[found->second].cached_bytes += count * bytes;
    }
    const std::uint32_t slots = ring.slot_bound();
    for (std::uint32_t slot = 0; slot < slots; ++slot) {
      const lib::Mark mark{ring.slots[slot].mark.load(kRelaxed)};
      const bool held = mark.state() == lib::SlotState::kHeld;
      if (!held && mark.state() != lib::SlotState::kInTransit) continue;
      const auto found = place.find(mark.client());
      if (found == place.end()) continue;
      ClientHolding& holding = result[found->second];
      (held ? holding.held_bytes : holding.in_transit_bytes) += bytes;
    }
  }
  each_share_holder(pool, [&](std::uint32_t client, std::uint32_t ring) {
    const auto found = place.find(client);
    if (found == place.end()) return;
    result[found->second].shared_bytes += memory.plan().rings[ring].class_bytes;
  });
  return result;
}

void publish_holders(const Pool& pool, const std::vector<ClientHolding>& holdings) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < holdings.size() && i < pool.clients.size(); ++i) {
    if (total(holdings[i]) > 0) order.push_back(i);
  }
  const std::size_t shown = std::min<std::size_t>(order.size(), lib::kTopHolders);
  std::partial_sort(
      order.begin(), order.begin() + static_cast<std::ptrdiff_t>(shown), order.end(),
      [&](std::size_t a, std::size_t b) { return total(holdings[a]) > total(holdings[b]); });
  lib::ControlHeader& header = pool.memory->header();
  // Odd while it is written; whatever a client wrote there, it is odd now and even afterwards.
  const std::uint32_t version = header.holders_version.load(kRelaxed) | 1U;
  header.holders_version.store(version, kRelaxed);
  std::atomic_thread_fence(std::memory_order_release);
  for (std::size_t i = 0; i < shown; ++i) {
    const ClientInfo& client = pool.clients[order[i]];
    lib::TopHolder<std::atomic>& holder = header.holders[i];
    holder.bytes.store(total(holdings[order[i]]), kRelaxed);
    holder.pid.store(static_cast<std::uint32_t>(client.pid), kRelaxed);
    char text[lib::kClientNameBytes] = {};
    const std::string name = printable(client.name, lib::kClientNameBytes - 1);
    std::memcpy(text, name.data(), name.size());
    for (std::size_t word = 0; word < std::size(holder.name); ++word) {
      std::uint64_t value = 0;
      std::memcpy(&value, text + word * sizeof(value), sizeof(value));
      holder.name[word].store(value, kRelaxed);
    }
  }
  header.holder_count.store(static_cast<std::uint32_t>(shown), kRelaxed);
  header.holders_version.store(version + 1, std::memory_order_release);
}

}  // namespace zeropool::daemon
