#pragma once
// The control socket where systemd has made it (zeropoold.socket): clients that connect while no daemon runs wait in its
// queue.
//
// Thread safety: the loop thread's, once. Source: $LISTEN_FDS, $LISTEN_FDNAMES; what systemd's descriptor store keeps
// comes the same way and is left to descriptor_store.hpp.

#include <string>

#include "zeropool/lib/unique_fd.hpp"

namespace zeropool::daemon {

struct ActivatedSocket {
  lib::UniqueFd fd;  // empty: none was passed
  std::string path;
};

// False: what was passed cannot be served; `why` says what is to be changed.
bool take_activated_socket(ActivatedSocket& socket, std::string& why);

}  // namespace zeropool::daemon
