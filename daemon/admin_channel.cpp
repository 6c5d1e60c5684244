#include "daemon/admin_channel.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <spdlog/spdlog.h>

#include "daemon/admin_documents.hpp"
#include "daemon/daemon.hpp"
#include "daemon/logging.hpp"

namespace zeropool::daemon {
namespace {

using lib::ErrorCode;

// What anybody who may attach to some pool may ask.
constexpr std::array<std::string_view, 3> kOpenCommands = {"status", "pools", "clients"};

bool allowed(const Daemon& daemon, const Peer& peer, std::string_view command) {
  if (may_administer(peer)) return true;
  return std::find(kOpenCommands.begin(), kOpenCommands.end(), command) != kOpenCommands.end() &&
         daemon.may_attach_somewhere(peer);
}

// A read-only file for the other side: sealed, so that it can be mapped without a second thought.
lib::UniqueFd sealed_document(const std::string& text) {
  lib::UniqueFd fd(::memfd_create("zeropool-document", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return {};
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t wrote =
        ::pwrite(fd.get(), text.data() + at, text.size() - at, static_cast<off_t>(at));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return {};
    at += static_cast<std::size_t>(wrote);
  }
  const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
  if (::fchmod(fd.get(), 0600) != 0 || ::fcntl(fd.get(), F_ADD_SEALS, seals) != 0) return {};
  return fd;
}

}  // namespace

bool answer_admin_request(Daemon& daemon, int socket, const Peer& peer,
                          const lib::AdminRequest& request) {
  auto reply = lib::make_message<lib::AdminReply>(lib::MessageType::kAdminReply);
  const std::string command(lib::text_of(request.command));
  std::string sentence;
  lib::UniqueFd document;
  if (!allowed(daemon, peer, command)) {
    reply.code = ErrorCode::access_denied;
    sentence = "user " + std::to_string(peer.uid) + " may not ask for '" + printable(command) +
               "': ask as root or as the user that zeropoold runs as";
  } else {
    spdlog::debug("admin: {} from uid {}", printable(command), peer.uid);
    const std::string text = admin_reply_document(
        daemon, command, std::string(lib::text_of(request.argument)), reply.code, sentence);
    if (reply.code == ErrorCode::ok) {
      document = sealed_document(text);
      reply.document_bytes = text.size();
      if (!document) {
        reply.code = ErrorCode::system;
        sentence = std::string("memfd_create: ") + std::strerror(errno);
      }
    }
  }
  lib::set_text(reply.sentence, sentence);
  const int fd = document.get();
  return lib::send_message(socket, &reply, sizeof(reply), &fd, document ? 1 : 0);
}

}  // namespace zeropool::daemon
