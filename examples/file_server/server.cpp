#include "file_server/server.hpp"

#include <chrono>
#include <csignal>
#include <exception>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/address_v4.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace file_server {

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

constexpr auto kPause = std::chrono::milliseconds(10);

void rethrow(const std::exception_ptr& error) {
  if (error) std::rethrow_exception(error);
}

}  // namespace

Server::Server(asio::io_context& context, unsigned short port, Folder& folder, Chunks& chunks)
    : context_(context),
      acceptor_(context, tcp::endpoint(asio::ip::address_v4::loopback(), port)),
      signals_(context, SIGTERM, SIGINT),
      folder_(folder),
      chunks_(chunks) {}

void Server::run() {
  signals_.async_wait([this](const boost::system::error_code& error, int) {
    if (error) return;
    acceptor_.close();
    for (Socket* socket : sockets_) socket->close();
  });
  asio::co_spawn(context_, accept(), rethrow);
  context_.run();
}

asio::awaitable<void> Server::accept() {
  asio::steady_timer pause(context_);
  while (acceptor_.is_open()) {
    auto [error, socket] = co_await acceptor_.async_accept(asio::as_tuple(asio::use_awaitable));
    if (!error) {
      asio::co_spawn(context_, session(std::move(socket)), rethrow);
    } else if (acceptor_.is_open()) {
      // No descriptor is left, say: those who are here go on, and some will leave.
      pause.expires_after(kPause);
      co_await pause.async_wait(asio::use_awaitable);
    }
  }
}

asio::awaitable<void> Server::session(Socket socket) {
  sockets_.insert(&socket);
  co_await serve(socket, folder_, chunks_, served_);
  sockets_.erase(&socket);
}

}  // namespace file_server
