#include "daemon_link.hpp"

#include <cerrno>
#include <poll.h>
#include <utility>

#include <zeropool/lib/wire.hpp>

#include "connection.hpp"

namespace zeropool::client {
namespace {

constexpr int kAnswerMs = 1000;

enum class Reached { kYes, kNobody, kLater };

bool hung_up(const Descriptors& descriptors) noexcept {
  pollfd end{descriptors.socket(), POLLIN, 0};
  return ::poll(&end, 1, 0) > 0 && (end.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}

Reached connect_again(Attachment& attachment) noexcept {
  lib::UniqueFd socket = connect_socket(attachment.socket_path);
  if (!socket) {
    // A process that was handed its connection may have no way of its own: the daemon's count of starts has to do.
    return errno == EACCES || errno == EAGAIN ? Reached::kLater : Reached::kNobody;
  }
  auto request = lib::make_message<lib::ReattachRequest>(lib::MessageType::kReattach);
  request.client_id = attachment.client_id;
  request.epoch = attachment.epoch;
  if (!lib::send_message(socket.get(), &request, sizeof(request))) return Reached::kNobody;
  const lib::Received received = lib::receive_message(socket.get(), kAnswerMs);
  if (received.outcome == lib::ReceiveOutcome::kTimedOut) return Reached::kLater;
  const auto* reply = lib::decode<lib::AttachReply>(received, lib::MessageType::kAttachReply);
  if (reply == nullptr || reply->code != lib::ErrorCode::ok) return Reached::kNobody;
  return attachment.descriptors.replace_socket(std::move(socket)) ? Reached::kYes : Reached::kLater;
}

}  // namespace

bool daemon_is_gone(Attachment& attachment, std::int64_t now_ns) noexcept {
  const bool ours = attachment.descriptors.ours();
  if (ours && !hung_up(attachment.descriptors)) {
    attachment.daemon_gone_ns.store(0, std::memory_order_relaxed);
    return false;
  }
  const std::uint64_t starts = attachment.header().daemon_starts.load(std::memory_order_acquire);
  if (ours && starts != attachment.daemon_starts.load(std::memory_order_relaxed)) {
    if (attachment.reconnecting.exchange(true, std::memory_order_acquire)) return false;
    const Reached reached = connect_again(attachment);
    if (reached == Reached::kYes) {
      attachment.daemon_starts.store(starts, std::memory_order_relaxed);
      attachment.daemon_gone_ns.store(0, std::memory_order_relaxed);
    }
    attachment.reconnecting.store(false, std::memory_order_release);
    if (reached != Reached::kNobody) return false;
  }
  // Of the daemon that was last there, not of one before it whose end was seen and whose successor was not.
  std::int64_t since = attachment.daemon_gone_ns.load(std::memory_order_relaxed);
  if (since == 0 ||
      attachment.gone_after_starts.exchange(starts, std::memory_order_relaxed) != starts) {
    since = now_ns;
    attachment.daemon_gone_ns.store(now_ns, std::memory_order_relaxed);
    attachment.gone_after_starts.store(starts, std::memory_order_relaxed);
  }
  return now_ns - since >= kDaemonGraceNs;
}

}  // namespace zeropool::client
