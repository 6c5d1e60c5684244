#pragma once
// Who may attach to a pool, and who may administer: decided by what the kernel says about the peer.
//
// Thread safety: functions and values; resolve_access reads the user database and may be slow.

#include <string>
#include <sys/types.h>
#include <vector>

#include "daemon/config.hpp"

namespace zeropool::daemon {

// The process at the other end of a socket, as it was when it connected. Source: SO_PEERCRED, SO_PEERGROUPS.
struct Peer {
  pid_t pid = 0;  // 0: not visible in our pid namespace
  uid_t uid = static_cast<uid_t>(-1);
  gid_t gid = static_cast<gid_t>(-1);
  std::vector<gid_t> groups;

  bool in_group(gid_t group) const;
};

// False: `why` names the call.
bool read_peer(int socket, Peer& peer, std::string& why);

// A pool's access list with its names looked up.
struct AccessRule {
  bool everybody = false;  // whoever could open the socket
  std::vector<uid_t> users;
  std::vector<gid_t> groups;

  bool allows(const Peer& peer) const;
};

// Names that do not exist are left out, and named in `unknown` ("user 'x'"). Without an access section: the
// daemon's user, root, members of the socket's group, and everybody where the socket's mode lets everybody in.
AccessRule resolve_access(const PoolConfig& pool, const SocketConfig& socket,
                          std::vector<std::string>& unknown);

// Root, or the user that the daemon runs as.
bool may_administer(const Peer& peer);

// A group's number from its name or digits. False: there is no such group.
bool find_group(const std::string& name, gid_t& group);
bool find_user(const std::string& name, uid_t& user);

}  // namespace zeropool::daemon
