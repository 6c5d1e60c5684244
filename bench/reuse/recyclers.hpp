#pragma once
// Ways to recycle buffers between a producer and a consumer: by hand, at a chosen distance, and by a zeropool.

#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include <zeropool/zeropool.hpp>

#include "pipeline.hpp"

namespace zeropool_reuse {

// Memory that a forked child shares, touched.
class SharedMemory {
 public:
  explicit SharedMemory(std::size_t bytes);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  std::byte* data() const { return data_; }

 private:
  std::byte* data_;
  std::size_t bytes_;
};

enum class Order { kOldestFirst, kLastFirst };

// `count` buffers in one stretch of memory, given out in an order made by hand. Oldest first: the distance between a
// buffer's return and its next use is all the others.
class HandMade {
 public:
  HandMade(std::size_t bytes, std::size_t count, Order order, Pipe& pipe);
  Recycler recycler();

 private:
  std::size_t bytes_;
  Order order_;
  Pipe& pipe_;
  SharedMemory memory_;
  std::uint64_t seen_;              // of pipe_.returned, by the producer
  std::deque<std::uint32_t> free_;  // the producer's
  std::uint32_t given_ = 0;
  std::uint32_t taken_ = 0;  // the consumer's
};

// A pool, all of its memory committed and used once.
class Pooled {
 public:
  Pooled(const std::string& pool, std::size_t bytes);
  Recycler recycler();
  std::size_t count() const { return count_; }  // buffers that the pool has

 private:
  zeropool::Pool pool_;
  std::size_t bytes_;
  std::size_t count_ = 0;
  zeropool::Buffer mine_;
  zeropool::Buffer theirs_;  // the consumer's
};

}  // namespace zeropool_reuse
