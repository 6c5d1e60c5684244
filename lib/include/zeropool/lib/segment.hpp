#pragma once
// Segments: memfds that are sized once, sealed, private to their owner, and mapped once.
//
// Thread safety: functions are; a Mapping is a value with one owner.
// Errors: an empty result and a sentence in `why` that names the call, the limit and the remedy.

#include <cstddef>
#include <cstdint>
#include <string>

#include <zeropool/lib/unique_fd.hpp>

namespace zeropool::inline v1::lib {

enum class SegmentPages { kSmall, kHuge2MiB, kGiant1GiB };

// Creates, sizes (sparse), chmods to 0600 and seals (shrink, grow, seal) a memfd. `name` shows in /proc.
UniqueFd create_segment(const std::string& name, std::uint64_t bytes, SegmentPages pages,
                        std::string& why);

// A mapping that unmaps itself.
class Mapping {
 public:
  Mapping() = default;
  Mapping(void* address, std::size_t bytes) noexcept : address_(address), bytes_(bytes) {}
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();

  std::byte* data() const noexcept { return static_cast<std::byte*>(address_); }
  std::size_t size() const noexcept { return bytes_; }
  explicit operator bool() const noexcept { return address_ != nullptr; }

 private:
  void* address_ = nullptr;
  std::size_t bytes_ = 0;
};

// Maps a segment shared, without reserving, at an address that is a multiple of `alignment` (a power of two,
// at least a page), not inherited by fork, not dumped. Both sides use the same flags: then hugetlb mappings
// share their page tables, and a client's first touch faults nothing.
Mapping map_segment(int fd, std::uint64_t bytes, std::uint64_t alignment, std::string& why);

// Anonymous memory that a forked child finds zeroed.
Mapping map_wiped_on_fork(std::size_t bytes, std::string& why);

// Bytes that a segment really occupies (st_blocks); 0 if it cannot be told.
std::uint64_t segment_occupied_bytes(int fd);

}  // namespace zeropool::v1::lib
