#include "file_server/session.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <new>
#include <optional>
#include <string>
#include <system_error>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

namespace file_server {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr std::size_t kLongestName = 1024;

// The next line; empty: the client has hung up, or sends too long a one.
asio::awaitable<std::string> next_name(tcp::socket& socket, std::string& received) {
  const auto [error, length] =
      co_await asio::async_read_until(socket, asio::dynamic_buffer(received, kLongestName), '\n',
                                      asio::as_tuple(asio::use_awaitable));
  if (error) co_return std::string();
  std::string name = received.substr(0, length - 1);
  received.erase(0, length);
  co_return name;
}

asio::awaitable<void> send(tcp::socket& socket, const std::string& line) {
  co_await asio::async_write(socket, asio::buffer(line), asio::use_awaitable);
}

asio::awaitable<void> send(tcp::socket& socket, const File& file, Folder& folder, Chunks& chunks,
                           Served& served) {
  for (std::uint64_t sent = 0; sent < file.bytes();) {
    co_await socket.async_wait(tcp::socket::wait_write, asio::use_awaitable);
    const Chunk chunk = co_await chunks.get();
    const std::uint64_t at = sent - sent % kAlignment;
    const std::size_t got = co_await folder.read(file, at, chunk, chunks.bytes());
    if (got <= sent - at) throw std::system_error(EIO, std::generic_category(), "the file shrank");
    // A file that has grown is sent as long as it was said to be.
    const std::size_t wanted =
        static_cast<std::size_t>(std::min<std::uint64_t>(got - (sent - at), file.bytes() - sent));
    boost::system::error_code error;
    const std::size_t taken =
        socket.write_some(asio::buffer(chunk.data() + (sent - at), wanted), error);
    if (error && error != asio::error::would_block) throw boost::system::system_error(error);
    sent += taken;
    served.bytes += taken;
    served.again += wanted - taken;
  }
}

}  // namespace

asio::awaitable<void> serve(tcp::socket& socket, Folder& folder, Chunks& chunks, Served& served) {
  try {
    socket.non_blocking(true);
    socket.set_option(tcp::no_delay(true));
    // What the kernel keeps for a client that does not read is bounded, too.
    socket.set_option(asio::socket_base::send_buffer_size(static_cast<int>(2 * chunks.bytes())));
    std::string received;
    for (;;) {
      const std::string name = co_await next_name(socket, received);
      if (name.empty()) co_return;
      std::optional<File> file;
      std::string refused;
      try {
        file.emplace(co_await folder.open(name));
      } catch (const std::system_error& error) {
        refused = "NO " + error.code().message() + "\n";
      }
      if (!file) {
        co_await send(socket, refused);
        continue;
      }
      co_await send(socket, "OK " + std::to_string(file->bytes()) + "\n");
      co_await send(socket, *file, folder, chunks, served);
      ++served.files;
    }
  } catch (const boost::system::system_error& error) {
    // The client is gone, most likely; a pool that had no buffer in a minute is worth a line.
    if (error.code().category() == zeropool::error_category()) {
      ++served.failed;
      std::fprintf(stderr, "file_server: no buffer: %s\n", error.what());
    }
  } catch (const std::bad_alloc&) {
    ++served.failed;
  } catch (const std::system_error& error) {
    ++served.failed;
    std::fprintf(stderr, "file_server: %s\n", error.what());
  }
}

}  // namespace file_server
