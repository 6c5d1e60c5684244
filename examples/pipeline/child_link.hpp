#pragma once
// ChildLink: a child's line to the coordinator, and its attachment to the pool. Throws when the coordinator is gone.

#include <vector>

#include <zeropool/zeropool.hpp>

#include "pipeline/messages.hpp"
#include "pipeline/options.hpp"
#include "pipeline/packet_socket.hpp"

namespace pipeline {

class ChildLink {
 public:
  explicit ChildLink(const Options& options);

  // Opens the pool, where there is one, and says hello.
  void start();
  int fd() const { return socket_.fd(); }
  void send(const Message& message);
  // Waits for the next message; it stays valid until the next call.
  MessageView receive(UniqueFd* passed_fd = nullptr);
  void send_final();
  void send_failure(const char* why);

  Mode mode() const { return options_.mode; }
  const zeropool::Pool& pool() const { return pool_; }

 private:
  const Options& options_;
  PacketSocket socket_;
  zeropool::Pool pool_;
  std::vector<std::byte> received_;
};

}  // namespace pipeline
