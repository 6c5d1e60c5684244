#pragma once
// Where the control socket is, for daemon, clients and zeropoolctl alike.

#include <string>

namespace zeropool::inline v1::lib {

// `given` if not empty, else $ZEROPOOL_SOCKET, else $XDG_RUNTIME_DIR/zeropool/zeropoold.sock if that exists,
// else /run/zeropool/zeropoold.sock. Source: the environment of this process.
std::string find_socket_path(const std::string& given);

// Where a daemon without configuration listens: /run/zeropool for root, else under $XDG_RUNTIME_DIR, else
// /tmp/zeropool-UID. Ignores $ZEROPOOL_SOCKET no more than the above: it is used when set.
std::string default_listen_path();

}  // namespace zeropool::v1::lib
