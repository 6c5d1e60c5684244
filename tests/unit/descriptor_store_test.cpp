// systemd's descriptor store, spoken to by its protocol: what would be kept comes to a socket as systemd's does, and is
// given back as systemd gives it to the next daemon. (The holder is tested by tests/integration.)

#include "daemon/descriptor_store.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <memory>
#include <string>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include <doctest/doctest.h>

using zeropool::daemon::DescriptorStore;
using zeropool::daemon::KeptDescriptors;
using zeropool::lib::UniqueFd;

namespace {

// $NOTIFY_SOCKET and $FDSTORE, and what systemd would do with what comes there.
class ServiceManager {
 public:
  ServiceManager() : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string name = "zeropool-store-" + std::to_string(::getpid());
    std::copy(name.begin(), name.end(), address.sun_path + 1);  // abstract: no file
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    REQUIRE(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0);
    ::setenv("NOTIFY_SOCKET", ("@" + name).c_str(), 1);
    ::setenv("FDSTORE", "16", 1);
  }
  ~ServiceManager() {
    ::unsetenv("NOTIFY_SOCKET");
    ::unsetenv("FDSTORE");
  }
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

  // Takes what has been sent. Says whether each descriptor came with FDPOLL=0.
  bool work() {
    bool no_poll = true;
    for (;;) {
      char text[512] = {};
      alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 4)] = {};
      iovec part{text, sizeof(text) - 1};
      msghdr message{};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = control;
      message.msg_controllen = sizeof(control);
      if (::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0) return no_poll;
      UniqueFd fd;
      const cmsghdr* header = CMSG_FIRSTHDR(&message);
      if (header != nullptr && header->cmsg_type == SCM_RIGHTS) {
        int number = -1;
        std::memcpy(&number, CMSG_DATA(header), sizeof(number));
        fd.reset(number);
      }
      const std::string said = std::string("\n") + text + "\n";
      const std::size_t at = said.find("\nFDNAME=");
      if (at == std::string::npos) continue;
      const std::string name = said.substr(at + 8, said.find('\n', at + 8) - at - 8);
      if (said.find("\nFDSTOREREMOVE=1\n") != std::string::npos) kept.erase(name);
      if (said.find("\nFDSTORE=1\n") != std::string::npos) {
        no_poll = no_poll && said.find("\nFDPOLL=0\n") != std::string::npos;
        kept[name] = std::move(fd);
      }
    }
  }

  std::map<std::string, UniqueFd> kept;

 private:
  UniqueFd socket_;
};

UniqueFd memory(const char* name, off_t bytes) {
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC));
  REQUIRE(::ftruncate(fd.get(), bytes) == 0);
  return fd;
}

off_t size_of(const UniqueFd& fd) {
  struct stat status {};
  return ::fstat(fd.get(), &status) == 0 ? status.st_size : -1;
}

// The next daemon: started with what is kept at 3 and above, and one of somebody else's before it.
int next_daemon(const ServiceManager& manager) {
  std::string names = "other";
  std::map<std::string, int> high;
  for (const auto& [name, fd] : manager.kept) high[name] = ::fcntl(fd.get(), F_DUPFD, 100);
  const int other = ::memfd_create("other", 0);
  if (::dup2(other, 3) != 3) return 2;
  int number = 4;
  for (const auto& [name, fd] : high) {
    if (::dup2(fd, number++) < 0) return 3;
    names += ":" + name;
  }
  ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
  ::setenv("LISTEN_FDS", std::to_string(number - 3).c_str(), 1);
  ::setenv("LISTEN_FDNAMES", names.c_str(), 1);
  std::string why;
  const auto store = zeropool::daemon::open_descriptor_store("/nowhere/zeropoold.sock", why);
  if (store == nullptr) return 4;
  const KeptDescriptors taken = store->take();
  if (taken.size() != 2) return 5;  // not the other's
  if (!taken.contains("ledger") || size_of(taken.at("ledger")) != 4096) return 6;
  if (!taken.contains("control-0") || size_of(taken.at("control-0")) != 12288) return 7;
  if ((::fcntl(taken.at("ledger").get(), F_GETFD) & FD_CLOEXEC) == 0) return 8;
  return 0;
}

}  // namespace

TEST_CASE(
    "systemd's store keeps what it is told, under its name, and the next daemon finds just that") {
  ServiceManager manager;
  std::string why;
  const auto store = zeropool::daemon::open_descriptor_store("/nowhere/zeropoold.sock", why);
  REQUIRE(store);
  CHECK(store->describe() == "systemd's descriptor store");
  const UniqueFd ledger = memory("ledger", 4096);
  const UniqueFd first = memory("first", 8192);
  const UniqueFd second = memory("second", 12288);
  store->keep("ledger", ledger.get());
  store->keep("control-0", first.get());
  store->keep("control-0", second.get());  // the new one in place of the old one
  store->keep("pidfd-7", first.get());
  store->forget("pidfd-7");
  CHECK(manager.work());
  CHECK(manager.kept.size() == 2);
  store->end();  // a stop: systemd drops them by itself, and keeps them through a restart
  manager.work();
  CHECK(manager.kept.size() == 2);
  const pid_t next = ::fork();
  if (next == 0) ::_exit(next_daemon(manager));
  int status = -1;
  REQUIRE(::waitpid(next, &status, 0) == next);
  CHECK(status == 0);
}
