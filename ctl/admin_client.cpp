#include "ctl/admin_client.hpp"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>

#include <zeropool/lib/socket_path.hpp>
#include <zeropool/lib/unique_fd.hpp>
#include <zeropool/lib/wire.hpp>

namespace zeropool::ctl {
namespace {

constexpr std::uint64_t kMaxDocumentBytes = std::uint64_t{64} << 20;

AdminAnswer failed(int exit_code, std::string error) {
  AdminAnswer answer;
  answer.exit_code = exit_code;
  answer.error = std::move(error);
  return answer;
}

AdminAnswer unreachable(const std::string& path, int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return failed(kExitNoDaemon,
                    "no daemon: there is no socket " + path +
                        "; start zeropoold (systemctl start zeropoold), or name its socket with "
                        "--socket or ZEROPOOL_SOCKET");
    case ECONNREFUSED:
      return failed(kExitNoDaemon, "no daemon: nobody listens on " + path +
                                       "; start zeropoold (systemctl start zeropoold)");
    case EPROTOTYPE:
      return failed(kExitNoDaemon, path + " is not a socket of zeropoold; name it with --socket");
    case EACCES:
    case EPERM:
      return failed(kExitFailed, "access denied to " + path +
                                     "; join the group that owns it and log in again, or run "
                                     "this as root");
    default:
      return failed(kExitNoDaemon, "cannot connect to " + path + ": " + std::strerror(error));
  }
}

// An empty fd: `error` is errno.
lib::UniqueFd connect_to(const std::string& path, int& error) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    error = ENAMETOOLONG;
    return {};
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  lib::UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    error = errno;
    return {};
  }
  return socket;
}

bool read_whole(int fd, std::uint64_t bytes, std::string& text) {
  struct stat status {};
  if (::fstat(fd, &status) != 0 || static_cast<std::uint64_t>(status.st_size) < bytes) return false;
  text.resize(bytes);
  std::uint64_t done = 0;
  while (done < bytes) {
    const ssize_t got = ::pread(fd, text.data() + done, bytes - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    done += static_cast<std::uint64_t>(got);
  }
  return true;
}

AdminAnswer read_answer(const lib::Received& received, const std::string& path) {
  switch (received.outcome) {
    case lib::ReceiveOutcome::kMessage: break;
    case lib::ReceiveOutcome::kTimedOut:
      return failed(kExitNoDaemon,
                    "the daemon at " + path + " did not answer in time; see its log");
    case lib::ReceiveOutcome::kClosed:
      return failed(kExitFailed, "the daemon at " + path +
                                     " hung up: it is stopping, or it does not "
                                     "let this user administer it");
    default:
      return failed(kExitFailed,
                    "the answer from " + path + " could not be read: " +
                        (received.error != 0 ? std::strerror(received.error) : "bad message"));
  }
  const auto* reply = lib::decode<lib::AdminReply>(received, lib::MessageType::kAdminReply);
  if (reply == nullptr) {
    return failed(
        kExitFailed,
        "the daemon at " + path + " speaks another version; use the zeropoolctl that came with it");
  }
  if (reply->code != lib::ErrorCode::ok) {
    const std::string sentence(lib::text_of(reply->sentence));
    AdminAnswer answer =
        failed(kExitFailed, sentence.empty() ? lib::error_name(reply->code) : sentence);
    answer.refused = reply->code == lib::ErrorCode::access_denied;
    return answer;
  }
  AdminAnswer answer;
  if (received.fds.size() != 1 || reply->document_bytes > kMaxDocumentBytes ||
      !read_whole(received.fds.front().get(), reply->document_bytes, answer.text)) {
    return failed(kExitFailed, "the daemon at " + path + " sent no readable document; see its log");
  }
  answer.document = nlohmann::json::parse(answer.text, nullptr, false);
  if (answer.document.is_discarded()) {
    return failed(kExitFailed, "the daemon at " + path + " sent a document that is no JSON");
  }
  return answer;
}

}  // namespace

AdminAnswer ask_daemon(const std::string& socket, const std::string& command,
                       const std::string& argument, int timeout_ms) {
  const std::string path = lib::find_socket_path(socket);
  if (argument.size() >= lib::kAdminTextBytes) {
    return failed(kExitUsage, "the argument is too long: no pool has such a name");
  }
  int error = 0;
  const lib::UniqueFd connection = connect_to(path, error);
  if (!connection) return unreachable(path, error);
  auto request = lib::make_message<lib::AdminRequest>(lib::MessageType::kAdmin);
  lib::set_text(request.command, command);
  lib::set_text(request.argument, argument);
  if (!lib::send_message(connection.get(), &request, sizeof request)) {
    return unreachable(path, errno);
  }
  return read_answer(lib::receive_message(connection.get(), timeout_ms), path);
}

}  // namespace zeropool::ctl
