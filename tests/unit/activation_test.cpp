// The socket that systemd passes: taken, or refused with what is to be changed. Each try in a child process, whose
// descriptors from 3 on are what systemd would pass.

#include "daemon/activation.hpp"

#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <functional>
#include <string>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <doctest/doctest.h>

#include "daemon/listener.hpp"

using zeropool::daemon::ActivatedSocket;
using zeropool::daemon::Listener;
using zeropool::daemon::take_activated_socket;

namespace {

class Folder {
 public:
  Folder() {
    char name[] = "/tmp/zeropool-activation-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string path;
};

int listening(const std::string& path, int type) {
  const int fd = ::socket(AF_UNIX, type, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) return -1;
  return ::listen(fd, 8) == 0 ? fd : -1;
}

struct Passed {
  int fd;
  std::string name;
};

// In a child: passes them as systemd does, then `look` decides on its status.
int in_a_child(const std::function<std::vector<Passed>()>& make, const std::function<int()>& look) {
  const pid_t child = ::fork();
  if (child == 0) {
    const std::vector<Passed> passed = make();
    std::string names;
    std::vector<int> high;
    for (const Passed& one : passed) {
      names += (names.empty() ? "" : ":") + one.name;
      high.push_back(::fcntl(one.fd, F_DUPFD, 100));
    }
    for (std::size_t i = 0; i < high.size(); ++i) {
      if (::dup2(high[i], 3 + static_cast<int>(i)) < 0) ::_exit(99);
    }
    if (passed.empty()) ::_exit(look());
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    ::setenv("LISTEN_FDS", std::to_string(passed.size()).c_str(), 1);
    ::setenv("LISTEN_FDNAMES", names.c_str(), 1);
    ::_exit(look());
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

// 0: refused, and the reason has `word`.
int refused(const std::string& word) {
  ActivatedSocket socket;
  std::string why;
  if (take_activated_socket(socket, why)) return 1;
  return why.find(word) != std::string::npos ? 0 : 2;
}

}  // namespace

TEST_CASE(
    "the socket that systemd passes is served at its path, never blocks, and its file is left "
    "alone") {
  const Folder folder;
  const std::string path = folder.path + "/zeropoold.sock";
  const int status = in_a_child(
      [&] {
        // A kept descriptor beside it is the descriptor store's, even if it is a socket.
        return std::vector<Passed>{
            {listening(folder.path + "/kept", SOCK_SEQPACKET), "zeropool-listener"},
            {listening(path, SOCK_SEQPACKET), "zeropoold.socket"},
            {::memfd_create("other", 0), "other"}};
      },
      [&] {
        ActivatedSocket socket;
        std::string why;
        if (!take_activated_socket(socket, why)) return 1;
        if (socket.path != path) return 2;
        if ((::fcntl(socket.fd.get(), F_GETFD) & FD_CLOEXEC) == 0) return 3;
        const auto listener = Listener::activated(std::move(socket.fd));
        return listener->accept() ? 4 : 0;  // nobody waits: an answer at once
      });
  CHECK(status == 0);
  CHECK(std::filesystem::exists(path));
}

TEST_CASE("what clients could not use is refused, and the reason says what to change") {
  const Folder folder;
  CHECK(in_a_child(
            [&] {
              return std::vector<Passed>{{listening(folder.path + "/stream", SOCK_STREAM), "a"}};
            },
            [] { return refused("ListenSequentialPacket="); }) == 0);
  CHECK(in_a_child(
            [&] {
              return std::vector<Passed>{{listening(folder.path + "/one", SOCK_SEQPACKET), "a"},
                                         {listening(folder.path + "/two", SOCK_SEQPACKET), "b"}};
            },
            [] { return refused("after another one"); }) == 0);
  CHECK(in_a_child(
            [] {
              return std::vector<Passed>{{::socket(AF_UNIX, SOCK_SEQPACKET, 0), "a"}};
            },
            [] { return refused("absolute path"); }) == 0);
}

TEST_CASE("where nothing is passed, nothing is taken; and what cannot be read is said") {
  CHECK(in_a_child([] { return std::vector<Passed>{}; },
                   [] {
                     ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
                     ::setenv("LISTEN_FDS", "many", 1);
                     return refused("LISTEN_FDS");
                   }) == 0);
  CHECK(in_a_child([] { return std::vector<Passed>{}; },
                   [] {
                     ActivatedSocket socket;
                     std::string why;
                     if (!take_activated_socket(socket, why)) return 1;
                     return !socket.fd && socket.path.empty() ? 0 : 2;
                   }) == 0);
}
