#include "pipeline/child_link.hpp"

#include <fcntl.h>
#include <stdexcept>

namespace pipeline {

ChildLink::ChildLink(const Options& options)
    : options_(options), socket_(UniqueFd(options.control_fd)) {
  if (::fcntl(options.control_fd, F_SETFD, FD_CLOEXEC) != 0) {
    throw std::runtime_error("--control-fd is no descriptor");
  }
}

void ChildLink::start() {
  HelloBody hello;
  if (options_.mode == Mode::kPool) {
    zeropool::OpenOptions open_options;
    open_options.socket = options_.socket;
    open_options.client_name =
        std::string(role_name(options_.role)) + " " + std::to_string(options_.index);
    auto opened = zeropool::Pool::open(options_.pool, open_options);
    if (!opened) {
      const zeropool::Error error = opened.error();
      throw std::runtime_error(std::string(error.name()) + ": " + error.sentence);
    }
    pool_ = *opened;
    hello.client_id = pool_.client_id();
  }
  Message message(MessageType::kHello);
  message.add(hello);
  send(message);
}

void ChildLink::send(const Message& message) {
  if (socket_.send(message.bytes()) != SendOutcome::kSent) {
    throw std::runtime_error("the coordinator is gone");
  }
}

MessageView ChildLink::receive(UniqueFd* passed_fd) {
  if (socket_.receive(received_, true, passed_fd) != ReceiveOutcome::kMessage) {
    throw std::runtime_error("the coordinator is gone");
  }
  return MessageView(received_);
}

void ChildLink::send_final() {
  FinalBody final_body;
  if (pool_) {
    const zeropool::PoolStats stats = pool_.stats();
    final_body = {stats.gets,        stats.tls_hits, stats.shared_hits,
                  stats.allocations, stats.released, stats.adopted};
  }
  Message message(MessageType::kFinal);
  message.add(final_body);
  send(message);
}

void ChildLink::send_failure(const char* why) {
  Message message(MessageType::kFailure);
  message.add_text(why);
  // Whether it arrives or not, this child ends.
  socket_.send(message.bytes(), false);
}

}  // namespace pipeline
