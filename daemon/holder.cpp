#include "daemon/holder.hpp"

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include "zeropool/lib/wire.hpp"

namespace zeropool::daemon {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kPatience = 60s;  // without daemon and without a living client
constexpr int kOrphanLookMs = 1000;

class Holder {
 public:
  Holder(std::string path, lib::UniqueFd listener, ino_t inode)
      : path_(std::move(path)), listener_(std::move(listener)), inode_(inode) {}

  void run() {
    while (!ended_) {
      // Whoever connects while a daemon is there waits until it has gone.
      pollfd wait{daemon_ ? daemon_.get() : listener_.get(), POLLIN, 0};
      if (::poll(&wait, 1, daemon_ ? -1 : kOrphanLookMs) < 0 && errno != EINTR) break;
      if (daemon_) {
        if (wait.revents != 0) read_daemon();
      } else if (wait.revents != 0) {
        accept_daemon();
      } else if (orphan_is_over()) {
        break;
      }
    }
    struct stat named {};
    if (::stat(path_.c_str(), &named) == 0 && named.st_ino == inode_) ::unlink(path_.c_str());
  }

 private:
  void accept_daemon() {
    lib::UniqueFd next(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ucred peer{};
    socklen_t bytes = sizeof(peer);
    if (!next || ::getsockopt(next.get(), SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0) return;
    if (peer.uid != ::geteuid() && peer.uid != 0) return;
    const timeval limit{10, 0};
    ::setsockopt(next.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    daemon_ = std::move(next);
  }

  // One message, or its end: what it has said before it died comes first.
  void read_daemon() {
    lib::Received received = lib::receive_message(daemon_.get(), 0);
    if (received.outcome == lib::ReceiveOutcome::kTimedOut) return;
    HolderMessage message;
    const bool whole = received.outcome == lib::ReceiveOutcome::kMessage &&
                       received.bytes.size() == sizeof(message);
    if (whole) std::memcpy(&message, received.bytes.data(), sizeof(message));
    if (!whole || message.magic != kHolderMagic || message.version != kHolderVersion) {
      daemon_.reset();
      alone_since_ = Clock::now();
      return;
    }
    obey(message, received);
  }

  void obey(const HolderMessage& message, lib::Received& received) {
    const std::string name(lib::text_of(message.name));
    switch (message.op) {
      case HolderOp::kKeep:
        if (received.fds.size() == 1) kept_[name] = std::move(received.fds.front());
        return;
      case HolderOp::kForget: kept_.erase(name); return;
      case HolderOp::kEnd: ended_ = true; return;
      case HolderOp::kTake:
        for (const auto& [item, fd] : kept_) answer(HolderOp::kItem, item, fd.get());
        answer(HolderOp::kDone, "", -1);
        return;
      case HolderOp::kItem:
      case HolderOp::kDone: return;
    }
  }

  void answer(HolderOp op, const std::string& name, int fd) {
    HolderMessage message;
    message.op = op;
    lib::set_text(message.name, name);
    lib::send_message(daemon_.get(), &message, sizeof(message), &fd, fd >= 0 ? 1 : 0);
  }

  bool orphan_is_over() {
    struct stat named {};
    if (::stat(path_.c_str(), &named) != 0 || named.st_ino != inode_) return true;
    if (some_client_lives()) alone_since_ = Clock::now();
    return Clock::now() - alone_since_ >= kPatience;
  }

  bool some_client_lives() const {
    for (const auto& [name, fd] : kept_) {
      if (name.rfind("pidfd-", 0) != 0) continue;
      pollfd process{fd.get(), POLLIN, 0};
      if (::poll(&process, 1, 0) == 0) return true;
    }
    return false;
  }

  std::string path_;
  lib::UniqueFd listener_;
  ino_t inode_;
  lib::UniqueFd daemon_;
  std::map<std::string, lib::UniqueFd> kept_;
  Clock::time_point alone_since_ = Clock::now();
  bool ended_ = false;
};

// Nothing of the daemon's but the listening socket: not its lock, not its terminal.
// It listens itself, so that SO_PEERCRED names it, and says so by a byte to `ready`.
[[noreturn]] void be_the_holder(const std::string& path, lib::UniqueFd listener, ino_t inode,
                                int ready) {
  ::setsid();
  ::prctl(PR_SET_NAME, "zeropool-holder");
  ::prctl(PR_SET_PDEATHSIG, 0);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    ::signal(signal, signal == SIGHUP ? SIG_IGN : SIG_DFL);
  }
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (::listen(listener.get(), 4) != 0 || ::write(ready, "", 1) != 1) ::_exit(1);
  const int kept = ::fcntl(listener.get(), F_DUPFD_CLOEXEC, 3);
  for (int fd = 0; fd <= 2; ++fd) ::close(fd);
  if (::open("/dev/null", O_RDWR) != 0 || ::dup(0) != 1 || ::dup(0) != 2 || kept < 0) ::_exit(1);
  listener.release();
  if (kept > 3) ::close_range(3, static_cast<unsigned>(kept) - 1, 0);
  ::close_range(static_cast<unsigned>(kept) + 1, ~0U, 0);
  if (::chdir("/") != 0) ::_exit(1);
  Holder(path, lib::UniqueFd(kept), inode).run();
  ::_exit(0);
}

}  // namespace

std::string start_holder(const std::string& path) {
  const auto failed = [&](const char* what) {
    return std::string(what) + " for the holder of descriptors at " + path + ": " +
           std::strerror(errno);
  };
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    errno = ENAMETOOLONG;
    return failed("no socket");
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  lib::UniqueFd listener(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!listener) return failed("no socket");
  ::unlink(path.c_str());  // of one that is gone: its lock is ours
  struct stat bound {};
  if (::fchmod(listener.get(), 0600) != 0 ||
      ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::chmod(path.c_str(), 0600) != 0 || ::stat(path.c_str(), &bound) != 0) {
    return failed("cannot bind the socket");
  }
  int ready[2] = {-1, -1};
  if (::pipe2(ready, O_CLOEXEC) != 0) return failed("pipe");
  const lib::UniqueFd reader(ready[0]);
  lib::UniqueFd writer(ready[1]);
  // Twice, so that it is nobody's child: neither a zombie of ours nor ended with us.
  const pid_t between = ::fork();
  if (between < 0) return failed("fork");
  if (between == 0) {
    if (::fork() == 0) be_the_holder(path, std::move(listener), bound.st_ino, writer.get());
    ::_exit(0);
  }
  writer.reset();
  // (Where SIGCHLD is ignored this waits, too, and says ECHILD.)
  while (::waitpid(between, nullptr, 0) < 0 && errno == EINTR) {
  }
  char byte = 0;
  ssize_t got = 0;
  do {
    got = ::read(reader.get(), &byte, 1);
  } while (got < 0 && errno == EINTR);
  if (got == 1) return {};
  errno = EAGAIN;
  return failed("no process");
}

}  // namespace zeropool::daemon
