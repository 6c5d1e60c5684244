#include "daemon/session.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/epoll.h>
#include <utility>

#include <spdlog/spdlog.h>

#include "daemon/peer_message.hpp"

namespace zeropool::daemon {
namespace {

using namespace std::chrono_literals;
using lib::ErrorCode;
using lib::ReceiveOutcome;

constexpr std::chrono::nanoseconds kPatience = 5s;
constexpr int kAcceptsPerRound = 16;
constexpr int kMessagesPerRound = 8;

// The kernel had no memory for it just now: the connection is whole, and what came waits in its queue.
bool try_again_later(const lib::Received& message) {
  return message.outcome == ReceiveOutcome::kBroken &&
         (message.error == ENOMEM || message.error == ENOBUFS);
}

}  // namespace

Sessions::Sessions(EventLoop& loop, Closer& closer, SessionHooks hooks)
    : loop_(loop), closer_(closer), hooks_(std::move(hooks)) {}

Sessions::~Sessions() {
  stop_listening();
  loop_.cancel(silence_timer_);
  for (auto& [fd, session] : sessions_) {
    loop_.unwatch(fd);
    hang_up(std::move(session.fd), closer_);
  }
}

bool Sessions::listen(Listener& listener, std::uint32_t pending_limit, std::string& why) {
  pending_limit_ = pending_limit;
  listener_ = &listener;
  if (loop_.watch(listener.fd(), EPOLLIN, [this](std::uint32_t) { accept_some(); })) return true;
  why = std::string("epoll_ctl: ") + std::strerror(errno);
  return false;
}

void Sessions::stop_listening() {
  loop_.cancel(std::exchange(pause_timer_, 0));
  if (listener_ != nullptr) loop_.unwatch(listener_->fd());
  listener_ = nullptr;
}

void Sessions::accept_some() {
  for (int i = 0; i < kAcceptsPerRound; ++i) {
    if (closer_.full()) {  // whom one lets in one has to close
      pause_accepting("descriptors that came with refused messages take too long to close");
      return;
    }
    lib::UniqueFd fd = listener_->accept();
    if (fd) {
      admit(std::move(fd));
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) pause_accepting(std::strerror(errno));
    return;
  }
}

// Out of descriptors or memory, or the Closer is full: the connections wait in the socket's queue.
void Sessions::pause_accepting(const std::string& why) {
  ++rejections_[lib::error_name(ErrorCode::system)];
  if (gate_.open(monotonic_ns())) spdlog::error("cannot accept a client: {}", why);
  loop_.unwatch(listener_->fd());
  resume_accepting_soon();
}

void Sessions::resume_accepting_soon() {
  pause_timer_ = loop_.after(100ms, [this] {
    pause_timer_ = 0;
    if (!loop_.watch(listener_->fd(), EPOLLIN, [this](std::uint32_t) { accept_some(); })) {
      resume_accepting_soon();  // the kernel has no memory for that either
    }
  });
}

void Sessions::admit(lib::UniqueFd fd) {
  const int number = fd.get();
  Session session;
  session.fd = std::move(fd);
  session.connected_ns = session.heard_ns = monotonic_ns();
  std::string why;
  if (!read_peer(number, session.peer, why)) {
    reject(session, ErrorCode::system, why, true);
    hang_up(std::move(session.fd), closer_);
    return;
  }
  if (pending_.size() >= pending_limit_) read(pending_.front());  // it may have spoken just now
  while (!pending_.empty() && pending_.size() >= pending_limit_) {
    const int oldest = pending_.front();
    reject(sessions_.at(oldest), ErrorCode::too_many_clients,
           "too many connections have not attached yet (limits.pending_attaches); try again", true);
    close(oldest);
  }
  if (!loop_.watch(number, EPOLLIN | EPOLLRDHUP, [this, number](std::uint32_t) { read(number); })) {
    why = std::string("the daemon cannot watch the connection: ") + std::strerror(errno);
    reject(session, ErrorCode::system, why, true);
    hang_up(std::move(session.fd), closer_);
    return;
  }
  session.pending = pending_.insert(pending_.end(), number);
  sessions_.emplace(number, std::move(session));
  arm();
}

void Sessions::read(int fd) {
  for (int i = 0; i < kMessagesPerRound; ++i) {
    const auto found = sessions_.find(fd);
    if (found == sessions_.end()) return;
    Session& session = found->second;
    lib::Received message = receive_from_peer(fd, !session.spoke, closer_);
    if (message.outcome == ReceiveOutcome::kNothingYet || try_again_later(message)) return;
    if (!std::exchange(session.spoke, true)) refuse_descriptors(fd);
    if (!handle(session, message)) {
      close(fd);
      return;
    }
  }
}

bool Sessions::handle(Session& session, lib::Received& message) {
  if (message.outcome == ReceiveOutcome::kClosed) return false;
  if (message.outcome != ReceiveOutcome::kMessage) {
    if (message.error == 0) {
      reject(session, ErrorCode::protocol,
             "the message is too long, or brings descriptors that are not wanted: an attach "
             "that comes first may bring one pidfd, and no other message any",
             true);
    }
    return false;
  }
  lib::AttachReply other;
  if (other_wire_version(message, other)) {
    reject(session, other.code, std::string(lib::text_of(other.sentence)), true);
    return false;
  }
  if (const auto* request = lib::decode<lib::AdminRequest>(message, lib::MessageType::kAdmin)) {
    touch(session);
    return hooks_.administer(session.fd.get(), session.peer, *request);
  }
  if (lib::decode<lib::DetachMessage>(message, lib::MessageType::kDetach) != nullptr &&
      session.client != 0) {
    return handle_detach(session);
  }
  if (session.client == 0 &&
      lib::decode<lib::AttachRequest>(message, lib::MessageType::kAttach) != nullptr) {
    return handle_attach(session, message);
  }
  if (const auto* again = lib::decode<lib::ReattachRequest>(message, lib::MessageType::kReattach);
      again != nullptr && session.client == 0) {
    return handle_reattach(session, *again);
  }
  reject(session, ErrorCode::protocol,
         session.client == 0 ? "the first message must be a whole attach request"
                             : "an attached client may only detach, or administer",
         true);
  return false;
}

bool Sessions::handle_attach(Session& session, lib::Received& message) {
  const AttachOutcome outcome =
      hooks_.attach(session.fd.get(), session.peer, message, session.connected_ns);
  if (outcome.reply.code != ErrorCode::ok) {
    reject(session, outcome.reply.code, std::string(lib::text_of(outcome.reply.sentence)), true);
    return false;
  }
  if (!lib::send_message(session.fd.get(), &outcome.reply, sizeof(outcome.reply),
                         outcome.fds.data(), outcome.fds.size())) {
    const std::string why = std::strerror(errno);
    hooks_.detach(outcome.client_id);  // it has got nothing
    reject(session, ErrorCode::system, "the answer could not be sent: " + why, false);
    return false;
  }
  session.client = outcome.client_id;
  fd_of_client_[session.client] = session.fd.get();
  pending_.erase(session.pending);
  arm();
  return true;
}

bool Sessions::handle_reattach(Session& session, const lib::ReattachRequest& request) {
  if (!hooks_.reattach(session.peer, request)) {
    reject(session, ErrorCode::not_held,
           "this process is no client of that number here: open the pool again", true);
    return false;
  }
  // A connection of before that is still open is one too many.
  client_gone(request.client_id);
  session.client = request.client_id;
  fd_of_client_[session.client] = session.fd.get();
  pending_.erase(session.pending);
  arm();
  auto reply = lib::make_message<lib::AttachReply>(lib::MessageType::kAttachReply);
  reply.client_id = request.client_id;
  reply.epoch = request.epoch;
  return lib::send_message(session.fd.get(), &reply, sizeof(reply));
}

bool Sessions::handle_detach(Session& session) {
  const std::uint32_t client = std::exchange(session.client, 0);
  session.pending = pending_.insert(pending_.end(), session.fd.get());
  fd_of_client_.erase(client);
  hooks_.detach(client);
  const auto reply = lib::make_message<lib::DetachMessage>(lib::MessageType::kDetachReply);
  lib::send_message(session.fd.get(), &reply, sizeof(reply));
  return false;
}

void Sessions::reject(const Session& session, ErrorCode code, const std::string& sentence,
                      bool answer) {
  ++rejections_[lib::error_name(code)];
  if (gate_.open(monotonic_ns())) {
    const std::uint64_t held_back = gate_.take_suppressed();
    spdlog::warn("refused pid {} uid {}: {}{}", session.peer.pid, session.peer.uid, sentence,
                 held_back == 0 ? "" : " (and " + std::to_string(held_back) + " more, not logged)");
  }
  if (!answer) return;
  const lib::AttachReply reply = attach_refusal(code, sentence);
  lib::send_message(session.fd.get(), &reply, sizeof(reply));
}

void Sessions::close(int fd) {
  const auto found = sessions_.find(fd);
  if (found == sessions_.end()) return;
  const std::uint32_t client = found->second.client;
  if (client == 0) pending_.erase(found->second.pending);
  loop_.unwatch(fd);
  hang_up(std::move(found->second.fd), closer_);
  sessions_.erase(found);
  fd_of_client_.erase(client);
  arm();
  if (client != 0) hooks_.hung_up(client);
}

void Sessions::client_gone(std::uint32_t client) {
  const auto found = fd_of_client_.find(client);
  if (found == fd_of_client_.end()) return;
  const auto session = sessions_.find(found->second);
  loop_.unwatch(found->second);
  fd_of_client_.erase(found);
  hang_up(std::move(session->second.fd), closer_);
  sessions_.erase(session);
}

void Sessions::touch(Session& session) {
  session.heard_ns = monotonic_ns();
  if (session.client == 0) pending_.splice(pending_.end(), pending_, session.pending);
}

void Sessions::drop_silent() {
  const std::uint64_t now = monotonic_ns();
  while (!pending_.empty()) {
    const Session& oldest = sessions_.at(pending_.front());
    if (now - oldest.heard_ns < static_cast<std::uint64_t>(kPatience.count())) break;
    reject(oldest, ErrorCode::timed_out, "nothing was said for 5 s", true);
    close(pending_.front());
  }
  arm();
}

// A timer only while somebody has not attached.
void Sessions::arm() {
  if (pending_.empty()) {
    loop_.cancel(std::exchange(silence_timer_, 0));
    return;
  }
  if (silence_timer_ != 0) return;
  const std::uint64_t silent = monotonic_ns() - sessions_.at(pending_.front()).heard_ns;
  const auto patience = static_cast<std::uint64_t>(kPatience.count());
  silence_timer_ =
      loop_.after(std::chrono::nanoseconds(patience - std::min(silent, patience)), [this] {
        silence_timer_ = 0;
        drop_silent();
      });
}

}  // namespace zeropool::daemon
