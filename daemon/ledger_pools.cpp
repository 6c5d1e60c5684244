// The ledger's pools: their shapes, accounts, and the states of their extents.

#include <algorithm>
#include <cstring>

#include "daemon/ledger.hpp"
#include "zeropool/lib/wire.hpp"

namespace zeropool::daemon {
namespace {

constexpr auto kPlain = std::memory_order_relaxed;  // one writer, no reader but a later daemon

std::uint64_t pages(std::uint64_t bytes) {
  return (bytes + lib::kSmallPage - 1) / lib::kSmallPage * lib::kSmallPage;
}

void program_order() { std::atomic_signal_fence(std::memory_order_seq_cst); }

std::uint64_t prefix_bytes(std::uint64_t rings) {
  return (kFixedPrefixes + 2 * rings) * sizeof(std::uint64_t);
}
std::uint64_t counter_bytes(std::uint64_t rings) {
  return (1 + kPoolCounterWords + kRingCounterWords * rings) * sizeof(std::uint64_t);
}

void describe(LedgerPool& pool, const lib::PoolShape& shape) {
  lib::set_text(pool.name, shape.name);
  pool.region_bytes = shape.region_bytes;
  pool.thread_cache_bytes = shape.thread_cache_bytes;
  pool.hot_set_bytes = shape.hot_set_bytes;
  pool.class_count = static_cast<std::uint32_t>(shape.class_bytes.size());
  pool.arena_count = static_cast<std::uint32_t>(shape.arenas.size());
  pool.domain_count = shape.domain_count;
  pool.cpu_count = shape.cpu_count;
  pool.client_capacity = shape.client_capacity;
  pool.thread_capacity = shape.thread_capacity;
  pool.order_capacity = shape.order_capacity;
  pool.share_capacity = shape.share_capacity;
  pool.pin_capacity = shape.pin_capacity;
  std::copy(shape.class_bytes.begin(), shape.class_bytes.end(), pool.class_bytes);
  for (std::size_t a = 0; a < shape.arenas.size(); ++a) {
    pool.arenas[a] = {shape.arenas[a].node, static_cast<std::uint32_t>(shape.arenas[a].page_kind)};
  }
}

}  // namespace

std::uint32_t Ledger::open_pool(const lib::ControlPlan& plan, std::uint32_t pool_tag,
                                std::string& why) {
  const auto ring_count = static_cast<std::uint32_t>(plan.rings.size());
  const std::uint64_t prefixes_at = (first_extent(plan, ring_count) + 7) / 8 * 8;
  const std::uint64_t state_bytes =
      pages(prefixes_at + prefix_bytes(ring_count) + counter_bytes(ring_count));
  // The first free entry whose states have room, or a new one with new room.
  for (std::uint32_t index = 0; index < kLedgerPools; ++index) {
    LedgerPool& pool = pools_[index];
    if (pool.used.load(kPlain) != 0) continue;
    if (pool.state_bytes != 0 && pool.state_bytes < state_bytes) continue;
    if (pool.state_bytes == 0) {
      const std::uint64_t end = header_->states_end.load(kPlain);
      const std::uint64_t offset = header_->states_offset + end;
      if (state_bytes > header_->segment_bytes - offset) {
        why = "the ledger has no room for another " + std::to_string(state_bytes) +
              " extents: lower limit_max of the pools";
        return lib::kNone;
      }
      if (!commit(offset, state_bytes, why)) return lib::kNone;
      header_->states_end.store(end + state_bytes, kPlain);
      pool.states_offset = offset;
      pool.state_bytes = state_bytes;
    }
    std::memset(mapping_.data() + pool.states_offset, 0, pool.state_bytes);
    pool.prefixes_offset = pool.states_offset + prefixes_at;
    describe(pool, plan.shape);
    pool.pool_tag = pool_tag;
    pool.committed_bytes.store(0, kPlain);
    pool.metadata_bytes.store(0, kPlain);
    pool.threads_published.store(0, kPlain);
    pool.orders_published.store(0, kPlain);
    pool.draining.store(0, kPlain);
    program_order();
    pool.used.store(1, kPlain);  // COMMIT
    program_order();
    header_->pool_count.store(header_->pool_count.load(kPlain) + 1, kPlain);
    return index;
  }
  why = "the ledger has room for " + std::to_string(kLedgerPools) + " pools";
  return lib::kNone;
}

void Ledger::close_pool(std::uint32_t pool) {
  if (keep_pools_ || pool >= kLedgerPools || pools_[pool].used.load(kPlain) == 0) return;
  pools_[pool].used.store(0, kPlain);  // COMMIT
  program_order();
  header_->pool_count.store(header_->pool_count.load(kPlain) - 1, kPlain);
}

std::uint32_t Ledger::find_pool(const std::string& name) const {
  for (std::uint32_t index = 0; index < kLedgerPools; ++index) {
    if (pools_[index].used.load(kPlain) != 0 && lib::text_of(pools_[index].name) == name)
      return index;
  }
  return lib::kNone;
}

lib::PoolShape Ledger::shape(std::uint32_t index) const {
  const LedgerPool& pool = pools_[index];
  lib::PoolShape shape;
  shape.name = std::string(lib::text_of(pool.name));
  const std::uint32_t classes = std::min(pool.class_count, lib::kMaxClasses);
  shape.class_bytes.assign(pool.class_bytes, pool.class_bytes + classes);
  const std::uint32_t arenas = std::min(pool.arena_count, lib::kMaxArenas);
  for (std::uint32_t a = 0; a < arenas; ++a) {
    shape.arenas.push_back(
        {pool.arenas[a].node, static_cast<lib::PageKind>(pool.arenas[a].page_kind)});
  }
  shape.region_bytes = pool.region_bytes;
  shape.thread_cache_bytes = pool.thread_cache_bytes;
  shape.hot_set_bytes = pool.hot_set_bytes;
  shape.domain_count = pool.domain_count;
  shape.cpu_count = pool.cpu_count;
  shape.client_capacity = pool.client_capacity;
  shape.thread_capacity = pool.thread_capacity;
  shape.order_capacity = pool.order_capacity;
  shape.share_capacity = pool.share_capacity;
  shape.pin_capacity = pool.pin_capacity;
  return shape;
}

std::uint64_t Ledger::first_extent(const lib::ControlPlan& plan, std::uint32_t ring) noexcept {
  std::uint64_t number = 0;
  for (std::uint32_t r = 0; r < ring; ++r) number += plan.rings[r].extent_count;
  return number;
}

std::atomic<ExtentState>& Ledger::state(std::uint32_t pool, std::uint64_t number) const noexcept {
  auto* states =
      reinterpret_cast<std::atomic<ExtentState>*>(mapping_.data() + pools_[pool].states_offset);
  return states[number];
}

ExtentState Ledger::extent(std::uint32_t pool, std::uint64_t number) const noexcept {
  return state(pool, number).load(kPlain);
}

void Ledger::set_extent(std::uint32_t pool, std::uint64_t number, ExtentState to) noexcept {
  program_order();
  state(pool, number).store(to, kPlain);  // L2
  program_order();
}

std::uint64_t Ledger::prefix(std::uint32_t pool, std::uint32_t number) const noexcept {
  const auto* prefixes = reinterpret_cast<const std::atomic<std::uint64_t>*>(
      mapping_.data() + pools_[pool].prefixes_offset);
  return prefixes[number].load(kPlain);
}

void Ledger::set_prefix(std::uint32_t pool, std::uint32_t number, std::uint64_t bytes) noexcept {
  auto* prefixes =
      reinterpret_cast<std::atomic<std::uint64_t>*>(mapping_.data() + pools_[pool].prefixes_offset);
  program_order();
  prefixes[number].store(bytes, kPlain);
  program_order();
}

std::span<std::atomic<std::uint64_t>> Ledger::counter_block(std::uint64_t offset,
                                                            std::uint64_t words) noexcept {
  auto* block = reinterpret_cast<std::atomic<std::uint64_t>*>(mapping_.data() + offset);
  if (block->load(kPlain) != kCountersMagic) {  // new, or of an older build
    for (std::uint64_t word = 1; word <= words; ++word) block[word].store(0, kPlain);
    program_order();
    block->store(kCountersMagic, kPlain);  // COMMIT
  }
  return {block + 1, words};
}

std::span<std::atomic<std::uint64_t>> Ledger::counters() noexcept {
  return counter_block(sizeof(LedgerHeader), kDaemonCounterWords);
}

std::span<std::atomic<std::uint64_t>> Ledger::counters(std::uint32_t index) noexcept {
  const LedgerPool& pool = pools_[index];
  const std::uint64_t rings = std::uint64_t{std::min(pool.class_count, lib::kMaxClasses)} *
                              std::min(pool.arena_count, lib::kMaxArenas);
  const std::uint64_t offset = pool.prefixes_offset + prefix_bytes(rings);
  if (offset + counter_bytes(rings) > pool.states_offset + pool.state_bytes) return {};
  return counter_block(offset, kPoolCounterWords + kRingCounterWords * rings);
}

void Ledger::record_account(std::uint32_t pool, const PoolAccount& account,
                            std::uint64_t metadata_bytes) {
  pools_[pool].reserved_bytes.store(account.reserved_bytes, kPlain);
  pools_[pool].limit_bytes.store(account.limit_bytes, kPlain);
  pools_[pool].committed_bytes.store(account.committed_bytes, kPlain);
  pools_[pool].metadata_bytes.store(metadata_bytes, kPlain);
  header_->budget_bytes.store(budget_.budget(), kPlain);
  header_->committed_bytes.store(budget_.committed(), kPlain);
}

void Ledger::set_draining(std::uint32_t pool, bool draining) {
  pools_[pool].draining.store(draining ? 1 : 0, kPlain);  // COMMIT
}

void Ledger::record_published(std::uint32_t pool, std::uint32_t threads, std::uint32_t orders) {
  pools_[pool].threads_published.store(threads, kPlain);
  pools_[pool].orders_published.store(orders, kPlain);
}

}  // namespace zeropool::daemon
