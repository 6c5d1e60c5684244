// What the service manager is told, as it comes to its socket.

#include "daemon/notify.hpp"

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "zeropool/lib/unique_fd.hpp"

namespace notify = zeropool::daemon::notify;

namespace {

class Manager {
 public:
  Manager() : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string name = "zeropool-notify-" + std::to_string(::getpid());
    name.copy(address.sun_path + 1, name.size());  // abstract: no file
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    REQUIRE(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0);
    ::setenv("NOTIFY_SOCKET", ("@" + name).c_str(), 1);
  }
  ~Manager() { ::unsetenv("NOTIFY_SOCKET"); }
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  // The next message, with a line end before and after; empty: there is none.
  std::string heard() {
    char text[512] = {};
    const ssize_t bytes = ::recv(socket_.get(), text, sizeof(text), 0);
    if (bytes <= 0) return {};
    return "\n" + std::string(text, static_cast<std::size_t>(bytes)) + "\n";
  }

 private:
  zeropool::lib::UniqueFd socket_;
};

}  // namespace

TEST_CASE("each long step of the start is named, and asks for two minutes more") {
  Manager manager;
  notify::starting("making pool 'frames'");
  const std::string heard = manager.heard();
  CHECK(heard.find("\nSTATUS=starting: making pool 'frames'\n") != std::string::npos);
  CHECK(heard.find("\nEXTEND_TIMEOUT_USEC=120000000\n") != std::string::npos);
  CHECK(heard.find("READY") == std::string::npos);
}

TEST_CASE(
    "the watchdog is fed twice in the time that it allows, and not where nobody asks for it") {
  Manager manager;
  ::unsetenv("WATCHDOG_USEC");
  CHECK(notify::watchdog_interval() == std::chrono::nanoseconds(0));
  ::setenv("WATCHDOG_USEC", "5000000", 1);
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  CHECK(notify::watchdog_interval() == std::chrono::milliseconds(2500));
  ::setenv("WATCHDOG_PID", std::to_string(::getppid()).c_str(), 1);  // somebody else's
  CHECK(notify::watchdog_interval() == std::chrono::nanoseconds(0));
  ::unsetenv("WATCHDOG_USEC");
  ::unsetenv("WATCHDOG_PID");
  notify::alive();
  CHECK(manager.heard() == "\nWATCHDOG=1\n");
}

TEST_CASE("where no service manager listens nothing is said and nothing fails") {
  ::unsetenv("NOTIFY_SOCKET");
  notify::starting("nothing");
  notify::ready("nothing");
  notify::stopping();
}
