#include "daemon/take_over.hpp"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>

#include "zeropool/lib/wire.hpp"

namespace zeropool::daemon {
namespace {

using namespace std::chrono_literals;

constexpr int kAnswerMs = 5000;
constexpr auto kLeaveTime = 10s;

// Whether no daemon has the lock (without taking it).
bool lock_is_free(const std::string& path) {
  const lib::UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  return !fd || ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0;
}

}  // namespace

std::string ask_to_make_room(const std::string& socket_path) {
  const std::string lock = socket_path + ".lock";
  if (lock_is_free(lock)) return {};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof(address.sun_path)) return "the socket path is too long";
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size() + 1);
  const lib::UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const auto failed = [&](const std::string& what) {
    return "the zeropoold at " + socket_path + " does not make room: " + what;
  };
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return failed(std::strerror(errno));
  }
  auto request = lib::make_message<lib::AdminRequest>(lib::MessageType::kAdmin);
  lib::set_text(request.command, "hand-over");
  if (!lib::send_message(socket.get(), &request, sizeof(request))) {
    return failed(std::strerror(errno));
  }
  const lib::Received received = lib::receive_message(socket.get(), kAnswerMs);
  const auto* reply = lib::decode<lib::AdminReply>(received, lib::MessageType::kAdminReply);
  if (reply == nullptr) return failed("it did not answer");
  if (reply->code != lib::ErrorCode::ok) return failed(std::string(lib::text_of(reply->sentence)));
  const auto deadline = std::chrono::steady_clock::now() + kLeaveTime;
  while (!lock_is_free(lock)) {
    if (std::chrono::steady_clock::now() >= deadline) return failed("it has not gone after 10 s");
    std::this_thread::sleep_for(1ms);
  }
  return {};
}

}  // namespace zeropool::daemon
