#pragma once
// Listening TCP sockets from addresses as the configuration writes them: 127.0.0.1:9977,
// [::1]:9977, host:0.
//
// Thread safety: functions of their arguments. A host name is looked up, which may block: at start
// and reload.

#include <string>
#include <vector>

#include "zeropool/lib/unique_fd.hpp"

namespace zeropool::daemon {

struct ListenSocket {
  lib::UniqueFd fd;
  std::string address;  // numeric, with the port that was got: [::1]:9977
};

// Sockets, one for each address that the host has; or an error.
struct ListenOutcome {
  std::vector<ListenSocket> sockets;
  std::string error;  // a sentence: which address, why not, what to do
};

// [::] serves IPv4 too, unless `ipv6_only`.
ListenOutcome listen_on(const std::string& address, bool ipv6_only);

}  // namespace zeropool::daemon
