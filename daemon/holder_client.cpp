#include "daemon/holder_client.hpp"

#include <cerrno>
#include <cstring>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <spdlog/spdlog.h>

#include "zeropool/lib/wire.hpp"

namespace zeropool::daemon {
namespace {

constexpr int kAnswerMs = 10000;

}  // namespace

std::unique_ptr<HolderClient> HolderClient::open(const std::string& path, std::string& why) {
  std::unique_ptr<HolderClient> client(new HolderClient(path));
  if (client->connect()) return client;
  why = start_holder(path);
  if (!why.empty()) return nullptr;
  if (client->connect()) return client;
  why = "cannot connect to the holder of descriptors at " + path + ": " + std::strerror(errno);
  return nullptr;
}

bool HolderClient::connect() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path_.size() >= sizeof(address.sun_path)) return false;
  std::memcpy(address.sun_path, path_.c_str(), path_.size() + 1);
  lib::UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return false;
  }
  const timeval limit{10, 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  socket_ = std::move(socket);
  return true;
}

KeptDescriptors HolderClient::take() {
  KeptDescriptors kept;
  if (!send(HolderOp::kTake, "", -1)) return kept;
  for (;;) {
    lib::Received received = lib::receive_message(socket_.get(), kAnswerMs);
    HolderMessage message;
    if (received.outcome != lib::ReceiveOutcome::kMessage ||
        received.bytes.size() != sizeof(message)) {
      spdlog::error("{} broke off in the middle of its answer", describe());
      break;
    }
    std::memcpy(&message, received.bytes.data(), sizeof(message));
    if (message.op != HolderOp::kItem || received.fds.size() != 1) break;
    const std::string name(lib::text_of(message.name));
    kept_[name] = received.fds.front().get();
    kept[name] = std::move(received.fds.front());
  }
  return kept;
}

bool HolderClient::send(HolderOp op, const std::string& name, int fd) {
  HolderMessage message;
  message.op = op;
  lib::set_text(message.name, name);
  return socket_ &&
         lib::send_message(socket_.get(), &message, sizeof(message), &fd, fd >= 0 ? 1 : 0);
}

void HolderClient::keep(const std::string& name, int fd) {
  kept_[name] = fd;
  if (!send(HolderOp::kKeep, name, fd)) renew();
}

void HolderClient::forget(const std::string& name) {
  if (kept_.erase(name) != 0 && !send(HolderOp::kForget, name, -1)) renew();
}

void HolderClient::end() {
  send(HolderOp::kEnd, "", -1);
  kept_.clear();
  socket_.reset();
}

void HolderClient::renew() {
  if (!socket_) return;
  const std::string why = start_holder(path_);
  if (!why.empty() || !connect()) {
    spdlog::error(
        "the holder of descriptors is gone, and there is no new one ({}): a killed daemon "
        "takes the pools with it",
        why.empty() ? std::strerror(errno) : why);
    socket_.reset();
    return;
  }
  for (const auto& [name, fd] : kept_) {
    if (!send(HolderOp::kKeep, name, fd)) return;
  }
  spdlog::warn("the holder of descriptors was gone: a new one has everything");
}

}  // namespace zeropool::daemon
