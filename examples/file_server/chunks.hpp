#pragma once
// Chunks: where the server gets room for one read from: a pool, or the heap.
//
// From the pool there is so much room as its limit says; who comes when all is in use waits, suspended. From the heap there is
// always room, as long as the system has memory. All else of the server is the same.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <zeropool/asio.hpp>
#include <zeropool/zeropool.hpp>

#include "file_server/ring.hpp"

namespace file_server {

// Files are read at multiples of this, into memory at multiples of this: what O_DIRECT asks for.
constexpr std::size_t kAlignment = 4096;

// kBytes of aligned room. Goes back when it is destroyed.
class Chunk {
 public:
  static constexpr int kNotRegistered = -1;

  Chunk(zeropool::Buffer buffer, int number)
      : data_(buffer.data()), number_(number), buffer_(std::move(buffer)) {}
  explicit Chunk(std::size_t bytes) : vector_(bytes + kAlignment) {
    void* data = vector_.data();
    std::size_t space = vector_.size();
    data_ = static_cast<std::byte*>(std::align(kAlignment, bytes, data, space));
  }
  std::byte* data() const { return data_; }
  int number() const { return number_; }  // among the ring's registered buffers

 private:
  std::byte* data_ = nullptr;
  int number_ = kNotRegistered;
  zeropool::Buffer buffer_;
  std::vector<std::byte> vector_;
};

class Chunks {
 public:
  // From the heap.
  explicit Chunks(std::size_t bytes) : bytes_(bytes) {}
  // From a pool; as many of its buffers as can be had at once are pinned and registered with the ring.
  Chunks(std::size_t bytes, boost::asio::io_context& context, zeropool::Pool pool, Ring& ring);

  std::size_t bytes() const { return bytes_; }
  std::size_t registered() const { return addresses_.size(); }
  // Throws boost::system::system_error or std::bad_alloc when there is none.
  boost::asio::awaitable<Chunk> get();

 private:
  int number_of(const void* data) const;

  std::size_t bytes_;
  std::optional<zeropool::AsioPool> pool_;
  std::vector<zeropool::Pin> pins_;
  std::vector<const void*> addresses_;  // registered, in ascending order
};

}  // namespace file_server
