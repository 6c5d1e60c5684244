#pragma once
// An attachment: this process's part in one pool. Shared by all who open the pool.
//
// Thread safety: `guard->lock` protects what its comment says; the rest is constant between attaches.
// Invariants:
//   A1  An Attachment object is never freed: an inherited or late Buffer may still point at it. It is used
//       again for the next pool opened, with the next incarnation.
//   A2  `guard` lies in memory that fork wipes: client_id 0 means "not attached", also in a forked child. The
//       child never touches the parent's mappings (they are not in its address space).
//   A3  The attachment ends (detach, unmap) when no zp_open is left, no slot is held, and no async get waits.
//   A4  Locks are taken in this order: the process's, guard->async_lock, guard->lock. Who is busy (thread_record.hpp, T3)
//       waits for none of them.
// Crash safety: the daemon learns of our death from the kernel; nothing here has to be done in order for that.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <zeropool/detail/pool_state.hpp>
#include <zeropool/lib/batch_ring.hpp>
#include <zeropool/lib/control_view.hpp>

#include "client_cache.hpp"
#include "connection.hpp"
#include "descriptors.hpp"
#include "hold_sampling.hpp"
#include "record_pause.hpp"
#include "slot_watch.hpp"
#include "thread_state.hpp"
#include "wiped_lock.hpp"

namespace zeropool::client {

// A ring as this process uses it.
struct RingSetup {
  lib::SharedRingView view;
  lib::RingDescriptor* descriptor = nullptr;
  std::byte* base = nullptr;  // of the region
  std::uint64_t class_bytes = 0;
  std::uint32_t first_cell = 0;
  std::uint32_t cell_capacity = 0;
  std::uint32_t arena = 0;
  std::uint32_t node = 0;
};

// Addresses that a process before this one had the pool at. Reserved, so that nothing of this process's own ever has an
// address that something inherited has: who deallocates by address could not tell one from the other.
struct FormerRange {
  std::uintptr_t base = 0;
  std::size_t bytes = 0;
  bool reserved = false;
};

// In memory that fork wipes (A2).
struct ForkGuard {
  WipedLock lock;                        // attach, caches, exited, overflow
  WipedLock async_lock;                  // the AsyncDesk and the ops at it; taken before `lock`
  std::atomic<std::uint32_t> client_id;  // 0: not attached
};

struct Attachment : zeropool::v1::detail::PoolState {
  // Constant while it is open.
  AttachWish wish;
  ForkGuard* guard = nullptr;
  std::uint32_t handles = 0;  // zp_open less zp_close; under the process lock
  bool in_use = false;        // under the process lock

  // Set by attach.
  std::atomic<bool> closing{false};
  std::uint64_t incarnation = 0;  // 8 bits
  std::uint32_t client_id = 0;
  std::uint32_t epoch = 0;
  std::uint32_t client_number = 0;  // of its ClientRecord
  std::string socket_path;
  Descriptors descriptors;
  SlotWatch watch;
  HoldSampling sampling;
  lib::Mapping control;
  std::vector<lib::Mapping> data;
  std::vector<FormerRange> former;  // by fork, and not mapped here
  lib::ControlView view;
  std::vector<RingSetup> rings;
  std::vector<lib::ArenaEntry> arenas;
  std::vector<lib::CpuEntry> cpus;
  lib::Placement placement = lib::Placement::kLocal;
  std::uint32_t users = 0;     // this process's stamp in magazines
  bool clears_always = false;  // the pool's scrub, as it was at the attach
  std::uint32_t class_count = 0;
  std::uint32_t pool_tag = 0;
  std::uint32_t order_capacity = 0;
  bool barriers = false;         // this process takes part in membarrier
  std::uint32_t most_rings = 0;  // ever: an inherited Buffer may carry an old ring number
  std::atomic<std::int64_t> daemon_gone_ns{0};  // when its hang-up was first seen; 0: not
  std::atomic<std::uint64_t> daemon_starts{
      0};  // the header's, of the daemon that we are connected to
  std::atomic<std::uint64_t> gone_after_starts{0};  // the header's when daemon_gone_ns was set
  std::atomic<bool> reconnecting{false};            // a thread is about it
  std::atomic<std::uint32_t> async_holds{0};  // async gets that wait, and polls under way (A3)

  // Under guard->async_lock.
  lib::Mapping async_memory;  // an AsyncDesk, wiped by fork

  std::atomic<std::int64_t> share_holds{0};  // of shared buffers, by this process
  std::atomic<std::uint32_t> next_share{0};  // where to look for a free cell first

  // Under guard->lock.
  std::vector<ClientCache*> caches;  // of all threads
  ClientCache* overflow = nullptr;   // for threads that have none; used under the lock
  CounterSums exited;                // what threads that are gone did
  RecordPause record_pause;          // until a thread asks for a record of its own again

  lib::ControlHeader& header() const noexcept { return view.header(); }
  bool attached() const noexcept { return guard->client_id.load(std::memory_order_acquire) != 0; }
};

inline Attachment& attachment_of(zp_pool* pool) noexcept {
  return *static_cast<Attachment*>(reinterpret_cast<zeropool::v1::detail::PoolState*>(pool));
}

// Opens or shares. 0 or an error code (see last_error.hpp).
int open_attachment(const AttachWish& wish, Attachment*& opened) noexcept;
void retain_attachment(Attachment& attachment) noexcept;
void close_attachment(Attachment& attachment) noexcept;

// Attaches if it is not (first use, or in a forked child). 0 or an error code.
int ensure_attached(Attachment& attachment) noexcept;

// Whether the pool's data is, or in the process that this one was forked from was, mapped at that address.
bool owns(Attachment& attachment, const void* data) noexcept;

// After a put on a closing attachment: ends it when that was the last held slot.
void end_if_unused(Attachment& attachment) noexcept;

}  // namespace zeropool::client
