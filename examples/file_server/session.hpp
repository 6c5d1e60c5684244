#pragma once
// One client: lines with a file's name, each answered by "OK <bytes>\n" and the file, or "NO <why>\n".
//
// No chunk is held while a client is waited for: it is got when the socket takes bytes, filled, sent as far as the socket
// takes it, and given back. What the socket did not take is read again. So a client that does not read keeps nobody waiting.

#include <cstdint>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "file_server/chunks.hpp"
#include "file_server/folder.hpp"

namespace file_server {

struct Served {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t again = 0;  // bytes read that the socket did not take
  std::uint64_t failed =
      0;  // clients that were hung up on: no memory, or a file that could not be read
};

// Until the client hangs up, or the socket is closed. Throws nothing.
boost::asio::awaitable<void> serve(boost::asio::ip::tcp::socket& socket, Folder& folder,
                                   Chunks& chunks, Served& served);

}  // namespace file_server
