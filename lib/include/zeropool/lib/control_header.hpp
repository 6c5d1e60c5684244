#pragma once
// The head of a control segment, and the tables that say where everything lies.
//
// Thread safety: the constants are written once, before the segment is sent to anybody; the atomic fields by
// the daemon, but for `doorbell` words, which clients write too.
// All positions are byte offsets from the start of the control segment (`*_offset`) or of an arena's data
// segment (`region_offset`): nothing here is a pointer.

#include <atomic>
#include <cstddef>
#include <cstdint>

#include <zeropool/lib/client_record.hpp>
#include <zeropool/lib/layout_constants.hpp>

namespace zeropool::inline v1::lib {

enum class DaemonState : std::uint32_t { kStarting = 0, kRunning = 1, kStopping = 2, kStopped = 3 };

enum class PageKind : std::uint32_t {
  kGiant1GiB = 0,
  kHuge2MiB = 1,
  kTransparent = 2,
  kSmall4KiB = 3
};

// Where a pool's buffers come from; docs/numa.md.
enum class Placement : std::uint32_t { kLocal = 0, kLocalOnly = 1, kInterleave = 2 };

// What a buffer shows of its earlier holders; client/src/scrub.hpp.
enum class Scrub : std::uint32_t { kNever = 0, kOnUserChange = 1, kAlways = 2 };

struct alignas(kSmallPage) ControlHeader {
  // Identity.
  std::uint64_t magic;
  std::uint32_t layout_version;
  std::uint32_t header_bytes;
  std::uint64_t layout_hash;
  std::uint64_t segment_bytes;
  char pool_name[kPoolNameBytes];
  std::uint32_t pool_tag;  // in every handle: one pool's handle is stale in another
  std::uint32_t flags;

  // Sizes of the tables.
  std::uint32_t class_count;
  std::uint32_t arena_count;
  std::uint32_t ring_count;  // arena_count * class_count; ring = arena * class_count + class
  std::uint32_t domain_count;
  std::uint32_t cpu_count;
  std::uint32_t client_capacity;
  std::uint32_t thread_capacity;
  std::uint32_t thread_record_bytes;
  std::uint32_t order_capacity;
  std::uint32_t share_capacity;
  std::uint32_t pin_capacity;
  std::atomic<Scrub> scrub;
  Placement placement;
  std::uint32_t reserved0;

  // Where the tables are.
  std::uint64_t class_bytes_offset;  // u64[class_count]
  std::uint64_t arenas_offset;       // ArenaEntry[arena_count]
  std::uint64_t rings_offset;        // RingDescriptor[ring_count]
  std::uint64_t cpus_offset;         // CpuEntry[cpu_count]
  std::uint64_t hints_offset;
  std::uint64_t clients_offset;      // ClientRecord[client_capacity]
  std::uint64_t threads_offset;      // thread_record_bytes each
  std::uint64_t orders_offset;       // OrderCell[order_capacity]
  std::uint64_t order_hints_offset;  // u64 bitmap: cells that were posted
  std::uint64_t shares_offset;
  std::uint64_t pins_offset;
  std::uint64_t magazines_offset;  // Magazine[...], of all rings
  std::uint64_t slots_offset;      // SlotWords[...], of all rings
  std::uint64_t samples_offset;    // HoldSampleBlock[thread_capacity]
  std::uint64_t reserved1[6];

  // Policy that can be reloaded.
  alignas(kCacheLine) std::atomic<std::uint64_t> wait_timeout_ns;
  std::atomic<std::uint64_t> lease_ns;
  std::atomic<std::uint64_t> client_quota_bytes;  // 0: none
  std::atomic<std::uint64_t> limit_bytes;
  std::atomic<std::uint64_t> budget_bytes;
  std::atomic<std::uint64_t> committed_bytes;

  // The daemon.
  alignas(kCacheLine) std::atomic<std::uint32_t> daemon_state;
  std::atomic<std::uint32_t> sleeping;  // 1: the daemon waits for the doorbell
  std::atomic<std::uint64_t> daemon_starts;
  std::atomic<std::uint32_t> orders_waiting;
  std::atomic<std::uint32_t> orphans;  // slots orphaned by threads that have no record

  // How much of each table is published (its pages are there). Only grows.
  alignas(kCacheLine) std::atomic<std::uint32_t> threads_published;
  std::atomic<std::uint32_t> orders_published;
  std::atomic<std::uint32_t> shares_published;
  std::atomic<std::uint32_t> pins_published;
  std::atomic<std::uint32_t> samples_published;  // 0 until a client wants some

  // Wishes of clients: what to look at when the doorbell rings.
  alignas(kCacheLine) std::atomic<std::uint32_t> threads_wanted;
  std::atomic<std::uint32_t> orders_wanted;
  std::atomic<std::uint32_t> rings_low;  // some ring's `low` is raised
  std::atomic<std::uint32_t> pins_wanted;
  std::atomic<std::uint32_t> shares_wanted;
  std::atomic<std::uint32_t> samples_wanted;

  // Who holds most.
  alignas(kCacheLine) std::atomic<std::uint32_t> holders_version;
  std::atomic<std::uint32_t> holder_count;
  std::atomic<std::uint64_t> reserved3[7];
  TopHolder<std::atomic> holders[kTopHolders];
};

struct ArenaEntry {
  std::uint32_t node;
  PageKind page_kind;
  std::uint64_t page_bytes;
  std::uint64_t segment_bytes;
  std::uint32_t flags;
  std::uint8_t order[kMaxArenas];  // arenas by distance, itself first
  std::uint8_t reserved[20];
};

// Of a CPU that was offline when the daemon started: the kernel tells its threads on which node they are.
inline constexpr std::uint16_t kUnknownArena = 0xffff;
struct CpuEntry {
  std::uint16_t arena;  // or kUnknownArena
  std::uint16_t domain;
};

// One batch ring: (arena, class).
struct alignas(kCacheLine) RingDescriptor {
  // Constants.
  std::uint32_t arena;
  std::uint32_t cls;
  std::uint64_t class_bytes;
  std::uint64_t region_offset;  // in the arena's data segment
  std::uint64_t first_slot;     // in the slot table
  std::uint32_t slot_capacity;
  std::uint32_t first_cell;  // in the magazine table
  std::uint32_t cell_capacity;
  std::uint32_t magazine_slots;  // slots that a magazine of this ring may hold
  std::uint32_t hot_entries;     // K: a power of two
  std::uint32_t bitmap_words;    // words of each hint bitmap
  std::uint64_t hints_offset;    // see RingHints

  // Published by the daemon.
  alignas(kCacheLine) std::atomic<std::uint32_t> cells_published;
  std::atomic<std::uint32_t>
      slots_published;  // high water: slots below it have words, not all are there
  std::atomic<std::uint32_t> drain_begin;  // slots [begin, end) are being withdrawn
  std::atomic<std::uint32_t> drain_end;
  std::atomic<std::uint32_t> put_limit;    // a new thread's RingRecord::limit
  std::atomic<std::uint32_t> spare_limit;  // a new thread's RingRecord::spare_limit
  // CLOCK_MONOTONIC; until then gets that must claim order instead, behind those that wait. 0: nobody waits.
  std::atomic<std::uint64_t> queue_until_ns;
  // Claims that empty a word of the cold bitmap raise `low` when no more words than these have anything.
  std::atomic<std::uint32_t> low_words;

  // Raised by clients.
  alignas(kCacheLine) std::atomic<std::uint32_t> low;  // kLow...
};

// RingDescriptor::low. Raised by clients, where it is 0, to kLowFillUp. The daemon answers with 0; with kLowUnderWay, so
// that nobody's get pays for a doorbell until the growth has ended, when the daemon looks again by itself; or with
// kLowNothingToDo: clients then do not ask again, and look on other nodes at once.
inline constexpr std::uint32_t kLowFillUp = 1;
inline constexpr std::uint32_t kLowNothingToDo = 2;
inline constexpr std::uint32_t kLowUnderWay = 3;

// RingDescriptor::queue_until_ns is never further ahead than this; the daemon renews it while somebody waits. One that
// is further ahead is damage, one that has passed is of a daemon that is gone: nobody waits by either.
inline constexpr std::uint64_t kQueueAheadNs = 400'000'000;

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);
static_assert(sizeof(ControlHeader) == kSmallPage);
static_assert(sizeof(ArenaEntry) == 112);
static_assert(sizeof(CpuEntry) == 4);
static_assert(sizeof(RingDescriptor) == 192);

}  // namespace zeropool::v1::lib
