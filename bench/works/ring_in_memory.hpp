#pragma once
// A batch ring by itself, without pool and daemon, in memory that forked processes share: full magazines first, then empty
// ones. For benchmarks of the ring alone, on atomics of any kind.

#include <cstddef>
#include <cstdint>
#include <memory>

#include <zeropool/lib/batch_ring.hpp>
#include <zeropool/lib/ring_hints.hpp>
#include <zeropool/lib/slot_mark.hpp>

#include "processes.hpp"

namespace zeropool_bench {

namespace lib = zeropool::lib;

template <typename T>
T* make_shared_array(std::size_t count) {
  T* first = static_cast<T*>(map_shared(count * sizeof(T)));
  std::uninitialized_value_construct_n(first, count);
  return first;
}

struct RingShape {
  std::uint32_t magazine_slots = 32;
  std::uint32_t full = 64;
  std::uint32_t empty = 64;
  std::uint32_t domains = 1;
  std::uint32_t hot_size = 64;  // a power of two
};

// Where the bitmaps of a ring lie, in the order cold, partial, empty: heads, summaries, words.
struct BitmapPlaces {
  const void* head[3];
  const void* summary[3];
  const void* words[3];
};

template <template <typename> class Atom>
lib::RingView<Atom> make_ring(const RingShape& shape, BitmapPlaces* places = nullptr) {
  lib::RingView<Atom> view;
  view.cell_capacity = shape.full + shape.empty;
  view.slot_capacity = shape.full * shape.magazine_slots;
  view.magazine_slots = shape.magazine_slots;
  view.domain_count = shape.domains;
  view.hot_size = shape.hot_size;
  view.cells = make_shared_array<lib::Magazine<Atom>>(view.cell_capacity);
  view.slots = make_shared_array<lib::SlotWords<Atom>>(view.slot_capacity);
  view.hot_heads = make_shared_array<lib::HotQueueHead<Atom>>(shape.domains);
  view.hot_entries =
      make_shared_array<Atom<std::uint32_t>>(std::size_t{shape.domains} * shape.hot_size);
  auto* words = make_shared_array<Atom<std::uint32_t>>(4);
  words[0].store(view.cell_capacity, std::memory_order_relaxed);
  words[1].store(view.slot_capacity, std::memory_order_relaxed);
  view.cells_published = words;
  view.slots_published = words + 1;
  view.drain_begin = words + 2;
  view.drain_end = words + 3;
  const std::uint32_t bitmap_words = (view.cell_capacity + 63) / 64;
  int at = 0;
  for (lib::HintBitmap<Atom>* bitmap : {&view.cold, &view.partial, &view.empty}) {
    auto* head = make_shared_array<lib::HintBitmapHead<Atom>>(1);
    auto* summary = make_shared_array<Atom<std::uint64_t>>((bitmap_words + 63) / 64);
    auto* bits = make_shared_array<Atom<std::uint64_t>>(bitmap_words);
    *bitmap = lib::HintBitmap<Atom>(head, summary, bits, bitmap_words);
    if (places != nullptr) {
      places->head[at] = head;
      places->summary[at] = summary;
      places->words[at] = bits;
    }
    ++at;
  }
  lib::BatchRing<Atom> ring(view);
  std::uint32_t slot = 0;
  for (std::uint32_t cell = 0; cell < view.cell_capacity; ++cell) {
    const std::uint32_t count = cell < shape.full ? shape.magazine_slots : 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      view.cells[cell].slots[i].store(slot++, std::memory_order_relaxed);
    }
    view.cells[cell].count.store(count, std::memory_order_relaxed);
    ring.hint(cell, count, cell % shape.domains);
  }
  return view;
}

}  // namespace zeropool_bench
