#include "daemon/http_listen.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <netdb.h>
#include <netinet/in.h>
#include <string_view>
#include <sys/socket.h>
#include <utility>

#include "daemon/config_listen.hpp"

namespace zeropool::daemon {
namespace {

constexpr int kBacklog = 64;

struct HostPort {
  std::string host;
  std::string port;
};

HostPort split(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  return {std::move(host), address.substr(colon + 1)};
}

std::string numeric_address(int fd) {
  sockaddr_storage storage{};
  socklen_t bytes = sizeof storage;
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  if (::getsockname(fd, address, &bytes) != 0) return "unknown";
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  if (::getnameinfo(address, bytes, host.data(), host.size(), port.data(), port.size(),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "unknown";
  }
  const std::string text = host.data();
  return (storage.ss_family == AF_INET6 ? "[" + text + "]" : text) + ":" + port.data();
}

// 0, or errno.
int bind_and_listen(const addrinfo& info, bool ipv6_only, ListenSocket& socket) {
  socket.fd.reset(::socket(info.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.fd) return errno;
  const int on = 1;
  const int only = ipv6_only ? 1 : 0;
  ::setsockopt(socket.fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (info.ai_family == AF_INET6) {
    ::setsockopt(socket.fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
  }
  if (::bind(socket.fd.get(), info.ai_addr, info.ai_addrlen) != 0) return errno;
  if (::listen(socket.fd.get(), kBacklog) != 0) return errno;
  socket.address = numeric_address(socket.fd.get());
  return 0;
}

const char* remedy(int error) {
  switch (error) {
    case EADDRINUSE: return "; stop what listens there, or give metrics.listen another port";
    case EADDRNOTAVAIL: return "; this machine has no such address: correct metrics.listen";
    case EACCES: return "; ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one";
    case EAFNOSUPPORT:
      return "; this kernel has no such address family: drop it from metrics.listen";
    default: return "";
  }
}

}  // namespace

ListenOutcome listen_on(const std::string& address, bool ipv6_only) {
  ListenOutcome outcome;
  if (const std::string fault = listen_address_fault(address); !fault.empty()) {
    outcome.error = "metrics.listen: \"" + address + "\" " + fault;
    return outcome;
  }
  const HostPort parts = split(address);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int looked_up = ::getaddrinfo(parts.host.c_str(), parts.port.c_str(), &hints, &found);
  if (looked_up != 0) {
    outcome.error = "metrics.listen: cannot look up " + address + ": " + ::gai_strerror(looked_up);
    return outcome;
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> list(found, &::freeaddrinfo);
  int last_error = 0;
  for (const addrinfo* info = list.get(); info != nullptr; info = info->ai_next) {
    ListenSocket socket;
    const int error = bind_and_listen(*info, ipv6_only, socket);
    if (error == 0) {
      outcome.sockets.push_back(std::move(socket));
    } else {
      last_error = error;
    }
  }
  if (outcome.sockets.empty()) {
    outcome.error = "metrics.listen: cannot listen on " + address + ": " +
                    std::strerror(last_error) + remedy(last_error);
  }
  return outcome;
}

}  // namespace zeropool::daemon
