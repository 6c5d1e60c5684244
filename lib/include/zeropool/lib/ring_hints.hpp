#pragma once
// Where the hint structures of one ring lie: hot queue heads, hot entries, then three bitmaps.

#include <atomic>
#include <cstdint>

#include <zeropool/lib/hint_bitmap.hpp>
#include <zeropool/lib/hint_queue.hpp>

namespace zeropool::inline v1::lib {

struct RingHintsLayout {
  std::uint64_t hot_entries_offset = 0;
  std::uint64_t bitmap_offset[3] = {};  // cold, partial, empty: each head, summary, words
  std::uint64_t bytes = 0;

  static constexpr std::uint64_t line(std::uint64_t bytes) noexcept {
    return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
  }
  static constexpr std::uint64_t summary_bytes(std::uint32_t bitmap_words) noexcept {
    return line(std::uint64_t{(bitmap_words + 63) / 64} * 8);
  }
  static constexpr RingHintsLayout make(std::uint32_t domains, std::uint32_t hot_size,
                                        std::uint32_t bitmap_words) noexcept {
    RingHintsLayout layout;
    layout.hot_entries_offset = std::uint64_t{domains} * sizeof(HotQueueHead<std::atomic>);
    std::uint64_t at = layout.hot_entries_offset + line(std::uint64_t{domains} * hot_size * 4);
    for (std::uint64_t& offset : layout.bitmap_offset) {
      offset = at;
      at += sizeof(HintBitmapHead<std::atomic>) + summary_bytes(bitmap_words) +
            line(std::uint64_t{bitmap_words} * 8);
    }
    layout.bytes = at;
    return layout;
  }
};

}  // namespace zeropool::v1::lib
