#include "client_cache.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <sys/mman.h>

#include <zeropool/lib/thread_tally.hpp>

#include "attachment.hpp"
#include "cache_ops.hpp"
#include "last_error.hpp"
#include "thread_records.hpp"

namespace zeropool::client {
namespace {

void set_up_rings(Attachment& attachment, ClientCache& cache) noexcept {
  lib::SharedRingRecord* records = lib::ControlView::rings_of(*cache.hot.record);
  auto* rings = reinterpret_cast<RingCache*>(&cache + 1);
  cache.hot.rings = rings;
  cache.sizes = reinterpret_cast<CacheSize*>(rings + attachment.most_rings);
  for (std::uint32_t r = 0; r < attachment.most_rings; ++r) {
    RingCache& ring = rings[r];
    ring.loaded = dummy_magazine();
    ring.record = records;  // a ring number of an earlier attachment reads zeros and is refused
    if (r >= attachment.rings.size()) continue;
    const RingSetup& setup = attachment.rings[r];
    ring.record = records + r;
    ring.slots = setup.view.slots;
    ring.base = setup.base;
    ring.class_bytes = setup.class_bytes;
    ring.tag = (std::uint64_t{r} << 8) | attachment.incarnation;
    ring.slot_bound = setup.view.slot_bound();
    ring.ring = r;
    lib::settle<std::atomic>(*ring.record, lib::own_tally<std::atomic>(*ring.record, nullptr), 0,
                             nullptr);
    ring.record->previous.store(0, std::memory_order_relaxed);
    ring.record->spare_count.store(0, std::memory_order_relaxed);
    set_put_limit(attachment, r, *ring.record);
    ring.record->spare_limit.store(0, std::memory_order_relaxed);  // slow start (cache_size.hpp)
  }
}

}  // namespace

void CounterSums::add(const CounterSums& other) noexcept {
  tls_hits += other.tls_hits;
  shared_hits += other.shared_hits;
  allocations += other.allocations;
  failures += other.failures;
  puts += other.puts;
  contention += other.contention;
  ring_claims += other.ring_claims;
  remote_gets += other.remote_gets;
  released += other.released;
  adopted += other.adopted;
  double_puts += other.double_puts;
  stale_handles += other.stale_handles;
}

void CounterSums::subtract(const CounterSums& other) noexcept {
  tls_hits -= other.tls_hits;
  shared_hits -= other.shared_hits;
  allocations -= other.allocations;
  failures -= other.failures;
  puts -= other.puts;
  contention -= other.contention;
  ring_claims -= other.ring_claims;
  remote_gets -= other.remote_gets;
  released -= other.released;
  adopted -= other.adopted;
  double_puts -= other.double_puts;
  stale_handles -= other.stale_handles;
}

CounterSums read_counters(const Attachment& attachment, lib::SharedThreadRecord& record) noexcept {
  CounterSums sums;
  const lib::SharedRingRecord* rings = lib::ControlView::rings_of(record);
  // Stale values are fine: counters of other threads are for reading only.
  const auto read = [](const std::atomic<std::uint64_t>& counter) {
    return counter.load(std::memory_order_relaxed);
  };
  for (std::uint32_t r = 0; r < attachment.rings.size(); ++r) {
    const RingSetup& setup = attachment.rings[r];
    const lib::Tally own = lib::read_tally(record, rings[r], [&](std::uint32_t number) {
      const std::uint32_t cell = number - 1 - setup.first_cell;
      return cell < setup.cell_capacity ? setup.view.cells + cell : nullptr;
    });
    sums.tls_hits += own.hits;
    sums.puts += own.puts;
    sums.shared_hits += read(rings[r].shared_hits);
    sums.allocations += read(rings[r].allocations);
    for (const auto& failure : rings[r].failures) sums.failures += read(failure);
    sums.contention += read(rings[r].contention);
    sums.ring_claims += read(rings[r].ring_claims);
    sums.remote_gets += read(rings[r].remote_gets);
    sums.released += read(rings[r].released);
    sums.adopted += read(rings[r].adopted);
  }
  sums.double_puts = read(record.double_puts);
  sums.stale_handles = read(record.stale_handles);
  return sums;
}

void set_put_limit(const Attachment& attachment, std::uint32_t ring,
                   lib::SharedRingRecord& record) noexcept {
  // While the attachment closes, each put takes the slow path (begin_closing; both under guard->lock).
  if (attachment.closing.load(std::memory_order_relaxed)) {
    record.limit.store(0, std::memory_order_relaxed);
    return;
  }
  const RingSetup& setup = attachment.rings[ring];
  const std::atomic<std::uint32_t>& wanted = setup.descriptor->put_limit;
  std::uint32_t limit = wanted.load(std::memory_order_relaxed);
  // Twice and no more: whoever can write the word could keep us here.
  for (int look = 0; look < 2; ++look) {
    record.limit.store(std::min(limit, setup.view.magazine_slots), std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const std::uint32_t again = wanted.load(std::memory_order_relaxed);
    if (again == limit) return;
    limit = again;
  }
}

ClientCache* make_cache(Attachment& attachment, OwnThread* thread, int& code) noexcept {
  const std::size_t bytes =
      (sizeof(ClientCache) + attachment.most_rings * (sizeof(RingCache) + sizeof(CacheSize)) +
       4095) /
      4096 * 4096;
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const bool mapped = memory != MAP_FAILED;
  if (!mapped || ::madvise(memory, bytes, MADV_WIPEONFORK) != 0) {
    code = fail(ErrorCode::system, std::string("no memory for a cache of pool ") +
                                       attachment.header().pool_name + ": " + std::strerror(errno));
    if (mapped) ::munmap(memory, bytes);
    return nullptr;
  }
  auto* cache = ::new (memory) ClientCache{};
  const std::uint32_t number = thread != nullptr ? take_thread_record(attachment, cache->me)
                                                 : take_shared_record(attachment, cache->me);
  if (number == lib::kNone) {
    ::munmap(memory, bytes);
    return nullptr;
  }
  cache->attachment = &attachment;
  cache->thread = thread;
  cache->record_number = number;
  cache->bytes = static_cast<std::uint32_t>(bytes);
  cache->hot.record = &attachment.view.thread(number);
  cache->hot.held_bits = lib::Mark::holder_bits(lib::SlotState::kHeld, attachment.client_id);
  cache->hot.record->busy.store(0, std::memory_order_relaxed);
  cache->hot.record->closing.store(attachment.closing.load(std::memory_order_relaxed) ? 1 : 0,
                                   std::memory_order_relaxed);
  cache->hot.record->home_arena.store(0, std::memory_order_relaxed);
  // Before `steal`: a daemon that asks looks at it behind that (cache_steal.hpp).
  cache->hot.record->barriers.store(attachment.barriers ? 1 : 0, std::memory_order_relaxed);
  cache->hot.record->steal.store(lib::kStealNone, std::memory_order_release);
  cache->taken_over = read_counters(attachment, *cache->hot.record);
  set_up_rings(attachment, *cache);
  attachment.sampling.begin(*cache);
  cache->hot.home = cache->hot.rings;
  cache->arena = 0;
  CacheOps(attachment, *cache).settle(number);
  attachment.caches.push_back(cache);
  if (thread != nullptr) {
    thread->set_cache(
        attachment.index, &cache->hot,
        !attachment.watch.on() && !attachment.clears_always && !attachment.sampling.on());
  }
  return cache;
}

void end_cache(ClientCache& cache) noexcept {
  Attachment& attachment = *cache.attachment;
  CacheOps ops(attachment, cache);
  ops.begin();
  ops.flush_all();
  ops.end();
  CounterSums done = read_counters(attachment, *cache.hot.record);
  done.subtract(cache.taken_over);
  attachment.exited.add(done);
  if (cache.thread != nullptr) cache.thread->forget_cache(attachment.index);
  std::erase(attachment.caches, &cache);
  std::uint64_t me = cache.me.word;
  cache.hot.record->owner.compare_exchange_strong(me, 0, std::memory_order_release);  // COMMIT
  attachment.record_pause.end();
  ::munmap(&cache, cache.bytes);
}

}  // namespace zeropool::client
