#include "connection.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <zeropool/lib/control_plan.hpp>
#include <zeropool/lib/control_view.hpp>
#include <zeropool/lib/socket_path.hpp>
#include <zeropool/lib/wire.hpp>

#include "daemon_link.hpp"
#include "order.hpp"

namespace zeropool::client {
namespace {

using lib::ErrorCode;

constexpr std::int64_t kDefaultTimeoutNs = 5'000'000'000;
constexpr int kMostAgain = 3;
constexpr long kRetryNs = 5'000'000;

Attached failed(ErrorCode code, std::string sentence) {
  Attached attached;
  attached.code = code;
  attached.sentence = std::move(sentence);
  return attached;
}

lib::UniqueFd own_pidfd() {
  return lib::UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
}

lib::AttachRequest make_request(const AttachWish& wish) {
  auto request = lib::make_message<lib::AttachRequest>(lib::MessageType::kAttach);
  request.layout_hash = lib::layout_hash();
  if (wish.fd >= 0) request.flags |= lib::kAttachOwnPidfd;
  if (wish.direct_io) request.flags |= lib::kAttachDirectIo;
  lib::set_text(request.pool_name, wish.pool_name);
  lib::set_text(request.client_name, wish.client_name.empty()
                                         ? std::string_view(program_invocation_short_name)
                                         : std::string_view(wish.client_name));
  return request;
}

// Maps what came with a good reply.
Attached map_reply(const lib::AttachReply& reply, lib::Received& received) {
  if (reply.arena_count == 0 || reply.arena_count > lib::kMaxArenas ||
      received.fds.size() != std::size_t{reply.arena_count} + 3) {
    return failed(ErrorCode::protocol, "zeropoold answered the attach without the segments");
  }
  Attached attached;
  attached.client_id = reply.client_id;
  attached.epoch = reply.epoch;
  attached.client_number = reply.client_number;
  attached.doorbell = std::move(received.fds[1]);
  attached.wake = std::move(received.fds[2]);
  std::string why;
  attached.control =
      lib::map_segment(received.fds[0].get(), reply.control_bytes, lib::kHugePage, why);
  if (!attached.control) return failed(ErrorCode::system, why);
  why = lib::check_control_segment(attached.control.data(), attached.control.size());
  if (!why.empty()) return failed(ErrorCode::version_mismatch, why);
  const auto& header = *reinterpret_cast<const lib::ControlHeader*>(attached.control.data());
  if (header.arena_count != reply.arena_count) {
    return failed(ErrorCode::protocol, "zeropoold's answer and its control segment disagree");
  }
  const auto* arenas =
      reinterpret_cast<const lib::ArenaEntry*>(attached.control.data() + header.arenas_offset);
  for (std::uint32_t a = 0; a < reply.arena_count; ++a) {
    if (arenas[a].segment_bytes > reply.arena_bytes[a]) {
      return failed(ErrorCode::protocol, "zeropoold sent a data segment that is too short");
    }
    attached.data.push_back(
        lib::map_segment(received.fds[3 + a].get(), reply.arena_bytes[a], lib::kGiantPage, why));
    if (!attached.data.back()) return failed(ErrorCode::system, why);
  }
  return attached;
}

// After all is mapped. False: a daemon has taken this process for one that never would (it was stopped meanwhile, and
// the daemon that answered had gone).
bool say_here(const Attached& attached) {
  const lib::ControlView view(attached.control.data());
  if (attached.client_number >= view.header().client_capacity) return false;
  std::uint64_t coming =
      lib::presence(attached.client_id, attached.epoch, lib::PresenceState::kComing);
  return view.client(attached.client_number)
      .presence.compare_exchange_strong(
          coming, lib::presence(attached.client_id, attached.epoch, lib::PresenceState::kHere),
          std::memory_order_acq_rel);  // COMMIT
}

}  // namespace

std::string no_daemon_sentence(const std::string& path, int error) {
  return "no zeropoold answers at " + path + " (" + std::strerror(error) +
         "): start it (systemctl start zeropoold, or zeropoold as yourself), or name its socket in "
         "ZEROPOOL_SOCKET or OpenOptions.socket";
}

lib::UniqueFd connect_socket(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    errno = ENAMETOOLONG;
    return {};
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  lib::UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket) return {};
  int outcome = 0;
  do {
    outcome = ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  } while (outcome != 0 && errno == EINTR);
  if (outcome != 0) {
    const int error = errno;
    socket.reset();
    errno = error;
  }
  return socket;
}

namespace {

// A socket that refuses is a killed daemon's, or one's that is about to listen; none, where a daemon's lock lies, is one
// that is being made: it may be there in a moment. A daemon that stopped in order leaves neither.
bool may_come(const std::string& path) {
  return errno == ECONNREFUSED ||
         (errno == ENOENT && ::access((path + ".lock").c_str(), F_OK) == 0);
}

lib::UniqueFd connect_within(const std::string& path, std::int64_t patience_ns) {
  const std::int64_t begun = monotonic_ns();
  for (;;) {
    lib::UniqueFd socket = connect_socket(path);
    if (socket || !may_come(path)) return socket;
    if (monotonic_ns() - begun >= patience_ns) {
      errno = ECONNREFUSED;
      return socket;
    }
    const timespec pause{0, kRetryNs};
    ::nanosleep(&pause, nullptr);
  }
}

// One try. `cut`: the daemon ended before it answered.
Attached attach_once(const AttachWish& wish, const std::string& path, bool& cut) {
  cut = false;
  const std::int64_t timeout_ns = wish.timeout_ns > 0 ? wish.timeout_ns : kDefaultTimeoutNs;
  lib::UniqueFd socket(wish.fd >= 0 ? ::fcntl(wish.fd, F_DUPFD_CLOEXEC, 0) : -1);
  if (!socket && wish.fd < 0) {
    socket = connect_within(path, std::min(timeout_ns, kDaemonGraceNs));
  }
  if (!socket) {
    const int error = errno;
    if (error == EACCES) {
      return failed(ErrorCode::access_denied,
                    "no permission to connect to " + path +
                        ": join the group that owns it and log in again, or ask its operator");
    }
    return failed(ErrorCode::no_daemon, no_daemon_sentence(path, error));
  }
  const lib::AttachRequest request = make_request(wish);
  const lib::UniqueFd pidfd = own_pidfd();
  const int fd = pidfd.get();
  const bool sent = lib::send_message(socket.get(), &request, sizeof(request), &fd, pidfd ? 1 : 0);
  const int send_error = sent ? 0 : errno;
  // A daemon that turns a connection away says why and ends it, before it is asked: that is there to be read.
  const bool turned_away = !sent && (send_error == EPIPE || send_error == ECONNRESET);
  if (!sent && !turned_away) {
    cut = true;
    return failed(ErrorCode::no_daemon, no_daemon_sentence(path, send_error));
  }
  lib::Received received = lib::receive_message(
      socket.get(), sent ? static_cast<int>((timeout_ns + 999'999) / 1'000'000) : 0);
  if (turned_away && received.outcome != lib::ReceiveOutcome::kMessage) {
    cut = true;
    return failed(ErrorCode::no_daemon, no_daemon_sentence(path, send_error));
  }
  if (received.outcome == lib::ReceiveOutcome::kTimedOut) {
    return failed(ErrorCode::timed_out, "zeropoold at " + path + " did not answer the attach in " +
                                            std::to_string(timeout_ns / 1'000'000) +
                                            " ms: is it busy or stopped?");
  }
  if (received.outcome != lib::ReceiveOutcome::kMessage) {
    cut = true;
    return failed(ErrorCode::no_daemon,
                  no_daemon_sentence(path, received.error != 0 ? received.error : ECONNRESET));
  }
  const auto* reply = lib::decode<lib::AttachReply>(received, lib::MessageType::kAttachReply);
  if (reply == nullptr) {
    return failed(ErrorCode::version_mismatch,
                  "what answers at " + path + " does not speak this library's protocol (version " +
                      std::to_string(lib::kWireVersion) +
                      "): install zeropoold of the same version");
  }
  if (reply->code != ErrorCode::ok)
    return failed(reply->code, std::string(lib::text_of(reply->sentence)));
  Attached attached = map_reply(*reply, received);
  if (attached.code == ErrorCode::ok && !say_here(attached)) {
    cut = true;
    return failed(ErrorCode::no_daemon,
                  "zeropoold at " + path +
                      " was replaced while this program attached, and the new one has not waited "
                      "for it (was it stopped?): open the pool again");
  }
  if (attached.code == ErrorCode::ok) {
    const lib::ControlView view(attached.control.data());
    attached.users =
        lib::user_stamp(view.client(attached.client_number).uid.load(std::memory_order_relaxed));
  }
  attached.socket = std::move(socket);
  attached.socket_path = path;
  return attached;
}

}  // namespace

Attached attach(const AttachWish& wish) {
  if (wish.pool_name.size() >= lib::kPoolNameBytes) {
    return failed(
        ErrorCode::invalid_argument,
        "a pool's name has at most " + std::to_string(lib::kPoolNameBytes - 1) + " bytes");
  }
  const std::string path = lib::find_socket_path(wish.socket);
  bool cut = false;
  Attached attached = attach_once(wish, path, cut);
  // A daemon that makes room for another ends the connections that it has; the next one is there already.
  for (int again = 0; cut && wish.fd < 0 && again < kMostAgain; ++again) {
    attached = attach_once(wish, path, cut);
  }
  return attached;
}

}  // namespace zeropool::client
