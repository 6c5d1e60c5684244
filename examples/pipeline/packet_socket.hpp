#pragma once
// PacketSocket: one end of a SOCK_SEQPACKET pair: whole messages, descriptors along with them, and a peer's
// death seen at once.
//
// Errors: a peer that is gone is an outcome; everything else throws std::system_error.

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "pipeline/unique_fd.hpp"

namespace pipeline {

enum class SendOutcome { kSent, kFull, kPeerGone };
enum class ReceiveOutcome { kMessage, kNothingYet, kPeerGone };

class PacketSocket {
 public:
  PacketSocket() noexcept = default;
  explicit PacketSocket(UniqueFd fd) noexcept : fd_(std::move(fd)) {}
  static std::pair<PacketSocket, PacketSocket> pair();

  int fd() const noexcept { return fd_.get(); }
  explicit operator bool() const noexcept { return static_cast<bool>(fd_); }
  void close() noexcept { fd_.reset(); }
  UniqueFd take_fd() && noexcept { return std::move(fd_); }

  // Waits for room, or with `wait` false says kFull. `passed_fd` >= 0 travels along; the caller keeps its own.
  SendOutcome send(std::span<const std::byte> message, bool wait = true, int passed_fd = -1);
  // kPeerGone only after everything that the peer had sent.
  ReceiveOutcome receive(std::vector<std::byte>& message, bool wait = true,
                         UniqueFd* passed_fd = nullptr);
  ReceiveOutcome receive_into(std::span<std::byte> room, std::size_t& bytes, bool wait = true,
                              UniqueFd* passed_fd = nullptr);

 private:
  UniqueFd fd_;
};

}  // namespace pipeline
