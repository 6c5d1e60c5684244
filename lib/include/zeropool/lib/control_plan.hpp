#pragma once
// Where everything lies in a control segment, computed from a pool's shape. The daemon's; clients read the
// result from the header.

#include <cstdint>
#include <string>
#include <vector>

#include <zeropool/lib/control_header.hpp>

namespace zeropool::inline v1::lib {

// What the plan is made from.
struct PoolShape {
  std::string name;
  std::vector<std::uint64_t> class_bytes;  // ascending, multiples of 64
  struct Arena {
    std::uint32_t node = 0;
    PageKind page_kind = PageKind::kSmall4KiB;
  };
  std::vector<Arena> arenas;
  std::uint64_t region_bytes = 0;  // of each (arena, class): what that class alone may grow to
  std::uint64_t thread_cache_bytes = 0;  // per thread and class
  std::uint64_t hot_set_bytes = 0;       // per class and cache domain
  std::uint32_t domain_count = 1;
  std::uint32_t cpu_count = 1;
  std::uint32_t client_capacity = 1;
  std::uint32_t thread_capacity = 1;
  std::uint32_t order_capacity = 1;
  std::uint32_t share_capacity = 65536;
  std::uint32_t pin_capacity = 4096;
};

struct RingPlan {
  std::uint32_t arena = 0;
  std::uint32_t cls = 0;
  std::uint64_t class_bytes = 0;
  std::uint64_t extent_bytes = 0;  // committed and released at a time
  std::uint32_t extent_count = 0;
  std::uint64_t region_offset = 0;
  std::uint64_t region_bytes = 0;
  std::uint64_t first_slot = 0;
  std::uint32_t slot_capacity = 0;
  std::uint32_t first_cell = 0;
  std::uint32_t cell_capacity = 0;
  std::uint32_t magazine_slots = 0;
  std::uint32_t spare_limit = 0;
  std::uint32_t hot_entries = 0;
  std::uint32_t bitmap_words = 0;
  std::uint64_t hints_offset = 0;
  std::uint64_t hints_bytes = 0;
};

struct ControlPlan {
  ControlHeader* describe(void* segment,
                          std::uint32_t pool_tag) const;  // writes header and constant tables

  PoolShape shape;
  std::vector<RingPlan> rings;             // arena * class_count + class
  std::vector<std::uint64_t> arena_bytes;  // of each data segment
  std::uint64_t page_bytes_of(std::uint32_t arena) const;

  std::uint32_t thread_record_bytes = 0;
  std::uint64_t class_bytes_offset = 0;
  std::uint64_t arenas_offset = 0;
  std::uint64_t rings_offset = 0;
  std::uint64_t cpus_offset = 0;
  std::uint64_t hints_offset = 0;
  std::uint64_t clients_offset = 0;
  std::uint64_t fixed_bytes =
      0;  // [0, fixed_bytes) is committed at start: header, tables, hints, clients
  std::uint64_t threads_offset = 0;
  std::uint64_t orders_offset = 0;
  std::uint64_t order_hints_offset = 0;
  std::uint64_t shares_offset = 0;
  std::uint64_t pins_offset = 0;
  std::uint64_t magazines_offset = 0;
  std::uint64_t slots_offset = 0;
  std::uint64_t samples_offset = 0;
  std::uint64_t segment_bytes = 0;

  // Magazines that a ring needs when so many slots and thread records are published: full ones, what threads
  // may own (two, the spares, one in passing), and the daemon's.
  static std::uint32_t cells_needed(const RingPlan& ring, std::uint64_t slots,
                                    std::uint64_t threads);
};

std::uint64_t page_bytes(PageKind kind);

// Empty string: planned. Else why not, as a sentence.
std::string plan_control_segment(const PoolShape& shape, ControlPlan& plan);

// A hash over every size and offset of layout version 1: two builds that disagree on it must not share memory.
std::uint64_t layout_hash();

}  // namespace zeropool::v1::lib
