#pragma once
// Server: takes clients at a port of the loopback, each a coroutine on the one thread of the io_context.

#include <set>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/signal_set.hpp>

#include "file_server/session.hpp"

namespace file_server {

class Server {
 public:
  // Port 0: one that the kernel chooses. Throws boost::system::system_error.
  Server(boost::asio::io_context& context, unsigned short port, Folder& folder, Chunks& chunks);

  unsigned short port() const { return acceptor_.local_endpoint().port(); }
  // Until SIGTERM or SIGINT, and every session has ended: then no request of theirs is with the kernel.
  void run();
  const Served& served() const { return served_; }

 private:
  using Socket = boost::asio::ip::tcp::socket;

  boost::asio::awaitable<void> accept();
  boost::asio::awaitable<void> session(Socket socket);

  boost::asio::io_context& context_;
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::signal_set signals_;
  Folder& folder_;
  Chunks& chunks_;
  std::set<Socket*> sockets_;
  Served served_;
};

}  // namespace file_server
