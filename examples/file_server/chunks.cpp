#include "file_server/chunks.hpp"

#include <algorithm>
#include <chrono>

#include <boost/asio/use_awaitable.hpp>

namespace file_server {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMostRegistered = 1024;
constexpr auto kPatience = 60s;  // of a client that waits for a buffer

}  // namespace

Chunks::Chunks(std::size_t bytes, boost::asio::io_context& context, zeropool::Pool pool, Ring& ring)
    : bytes_(bytes), pool_(std::in_place, context, pool) {
  // Whatever the pool will ever hand out, as far as it can be had now.
  std::vector<zeropool::Buffer> held;
  while (held.size() < kMostRegistered) {
    zeropool::Buffer buffer = pool.get(bytes, 100ms);
    if (!buffer) break;
    held.push_back(std::move(buffer));
  }
  std::sort(held.begin(), held.end(),
            [](const auto& left, const auto& right) { return left.data() < right.data(); });
  std::vector<iovec> buffers;
  for (const zeropool::Buffer& buffer : held) {
    zeropool::Pin pin = pool.pin(buffer);
    if (!pin) break;
    pins_.push_back(std::move(pin));
    buffers.push_back({buffer.data(), bytes});
    addresses_.push_back(buffer.data());
  }
  if (buffers.empty() || !ring.register_buffers(buffers)) {
    addresses_.clear();
    pins_.clear();
  }
}

int Chunks::number_of(const void* data) const {
  const auto found = std::lower_bound(addresses_.begin(), addresses_.end(), data);
  return found != addresses_.end() && *found == data ? static_cast<int>(found - addresses_.begin())
                                                     : Chunk::kNotRegistered;
}

boost::asio::awaitable<Chunk> Chunks::get() {
  if (!pool_) co_return Chunk(bytes_);
  zeropool::Buffer buffer =
      co_await pool_->async_get(bytes_, kPatience, boost::asio::use_awaitable);
  const int number = number_of(buffer.data());
  co_return Chunk(std::move(buffer), number);
}

}  // namespace file_server
