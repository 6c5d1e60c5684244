#pragma once
// A T that is costly to make: tables of 64 KiB that a constructor fills, and text that grows with use.
//
// Thread safety: one thread's.

#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

namespace zeropool_objects {

class HeavyParser {
 public:
  using allocator_type = std::pmr::polymorphic_allocator<std::byte>;
  static constexpr std::size_t kTable = 16'384;  // of 4 bytes

  HeavyParser() : HeavyParser(allocator_type()) {}
  explicit HeavyParser(const allocator_type& allocator)
      : table_(kTable, allocator), text_(allocator) {
    std::iota(table_.begin(), table_.end(), 1U);
  }

  // Much less work than making one.
  std::uint32_t parse(std::string_view text) {
    text_ = text;
    std::uint32_t sum = 0;
    for (const char c : text_)
      sum += table_[std::size_t{static_cast<unsigned char>(c)} * 61 % kTable];
    return sum;
  }
  void clear() noexcept { text_.clear(); }

 private:
  std::pmr::vector<std::uint32_t> table_;
  std::pmr::string text_;
};

}  // namespace zeropool_objects
