#include "daemon/access.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <grp.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace zeropool::daemon {
namespace {

bool number_of(const std::string& text, std::uint32_t& number) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  return error == std::errc{} && stop == end && number != 0xffffffffU;
}

}  // namespace

bool Peer::in_group(gid_t group) const {
  return gid == group || std::find(groups.begin(), groups.end(), group) != groups.end();
}

bool read_peer(int socket, Peer& peer, std::string& why) {
  ucred credentials{};
  socklen_t bytes = sizeof(credentials);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &bytes) != 0 ||
      credentials.uid == static_cast<uid_t>(-1)) {
    why = std::string("SO_PEERCRED: ") + std::strerror(errno);
    return false;
  }
  peer.pid = credentials.pid;
  peer.uid = credentials.uid;
  peer.gid = credentials.gid;
  // Without the supplementary groups (kernels before 4.13) the main one decides.
  for (std::size_t room = 64; room <= 65536; room *= 4) {
    peer.groups.resize(room);
    bytes = static_cast<socklen_t>(room * sizeof(gid_t));
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, peer.groups.data(), &bytes) == 0) {
      peer.groups.resize(bytes / sizeof(gid_t));
      return true;
    }
    if (errno != ERANGE) break;
  }
  peer.groups.clear();
  return true;
}

bool AccessRule::allows(const Peer& peer) const {
  if (everybody || std::find(users.begin(), users.end(), peer.uid) != users.end()) return true;
  return std::any_of(groups.begin(), groups.end(),
                     [&](gid_t group) { return peer.in_group(group); });
}

AccessRule resolve_access(const PoolConfig& pool, const SocketConfig& socket,
                          std::vector<std::string>& unknown) {
  AccessRule rule;
  if (!pool.access) {
    rule.everybody = (socket.mode & S_IWOTH) != 0;
    rule.users = {::geteuid(), 0};
    gid_t group = ::getegid();
    if (socket.group.empty() || find_group(socket.group, group)) rule.groups.push_back(group);
    return rule;
  }
  for (const std::string& name : pool.access->users) {
    uid_t user = 0;
    if (find_user(name, user)) {
      rule.users.push_back(user);
    } else {
      unknown.push_back("user '" + name + "'");
    }
  }
  for (const std::string& name : pool.access->groups) {
    gid_t group = 0;
    if (find_group(name, group)) {
      rule.groups.push_back(group);
    } else {
      unknown.push_back("group '" + name + "'");
    }
  }
  return rule;
}

bool may_administer(const Peer& peer) { return peer.uid == 0 || peer.uid == ::geteuid(); }

bool find_group(const std::string& name, gid_t& group) {
  if (const ::group* entry = ::getgrnam(name.c_str()); entry != nullptr) {
    group = entry->gr_gid;
    return true;
  }
  return number_of(name, group);
}

bool find_user(const std::string& name, uid_t& user) {
  if (const passwd* entry = ::getpwnam(name.c_str()); entry != nullptr) {
    user = entry->pw_uid;
    return true;
  }
  return number_of(name, user);
}

}  // namespace zeropool::daemon
