#pragma once
// A pattern over a buffer that only its writer knows: a second holder of the same bytes breaks it.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include <zeropool/zeropool.hpp>

namespace zeropool::testing {

// `step`: bytes between the words that are written; large buffers need not be filled whole.
inline void write_pattern(std::byte* data, std::size_t bytes, std::uint64_t seed,
                          std::size_t step = 64) {
  for (std::size_t at = 0; at + sizeof(seed) <= bytes; at += step) {
    const std::uint64_t word = seed * 0x9e3779b97f4a7c15ULL + at;
    std::memcpy(data + at, &word, sizeof(word));
  }
}

// The offset of the first wrong word; `bytes` when all are right.
inline std::size_t broken_at(const std::byte* data, std::size_t bytes, std::uint64_t seed,
                             std::size_t step = 64) {
  for (std::size_t at = 0; at + sizeof(seed) <= bytes; at += step) {
    std::uint64_t word = 0;
    std::memcpy(&word, data + at, sizeof(word));
    if (word != seed * 0x9e3779b97f4a7c15ULL + at) return at;
  }
  return bytes;
}

inline void write_pattern(Buffer& buffer, std::uint64_t seed, std::size_t step = 64) {
  write_pattern(buffer.data(), buffer.size(), seed, step);
}
inline bool has_pattern(const Buffer& buffer, std::uint64_t seed, std::size_t step = 64) {
  return broken_at(buffer.data(), buffer.size(), seed, step) == buffer.size();
}

// splitmix64: the same everywhere, for a seed.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t operator()() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t bound) { return (*this)() % bound; }

 private:
  std::uint64_t state_;
};

}  // namespace zeropool::testing
