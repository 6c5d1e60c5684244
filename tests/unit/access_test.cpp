#include "daemon/access.hpp"

#include <string>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#include <doctest/doctest.h>

#include "daemon/death.hpp"
#include "daemon/logging.hpp"

using namespace zeropool;
using namespace zeropool::daemon;

namespace {

Peer peer_of(uid_t uid, std::vector<gid_t> groups = {}) {
  Peer peer;
  peer.pid = 1;
  peer.uid = uid;
  peer.gid = 54321;
  peer.groups = std::move(groups);
  return peer;
}

}  // namespace

TEST_CASE("a pool with an access list lets in whom it names, by name or number") {
  PoolConfig pool;
  pool.access = AccessConfig{{"root", "4711", "no-such-user"}, {"4712"}};
  std::vector<std::string> unknown;
  const AccessRule rule = resolve_access(pool, SocketConfig{}, unknown);
  CHECK(rule.allows(peer_of(0)));
  CHECK(rule.allows(peer_of(4711)));
  CHECK(rule.allows(peer_of(5000, {1, 4712})));
  CHECK_FALSE(rule.allows(peer_of(5000, {1, 4713})));
  REQUIRE(unknown.size() == 1);
  CHECK(unknown.front() == "user 'no-such-user'");
}

TEST_CASE("without an access list the socket's group and mode decide") {
  SocketConfig socket;
  socket.group = "4712";
  std::vector<std::string> unknown;
  const AccessRule rule = resolve_access(PoolConfig{}, socket, unknown);
  CHECK(rule.allows(peer_of(::geteuid())));
  CHECK(rule.allows(peer_of(0)));
  CHECK(rule.allows(peer_of(5000, {4712})));
  CHECK_FALSE(rule.allows(peer_of(5000, {4713})));
  socket.mode = 0666;
  CHECK(resolve_access(PoolConfig{}, socket, unknown).allows(peer_of(5000)));
}

TEST_CASE("an empty access list lets nobody in") {
  PoolConfig pool;
  pool.access = AccessConfig{};
  std::vector<std::string> unknown;
  CHECK_FALSE(resolve_access(pool, SocketConfig{}, unknown).allows(peer_of(0)));
}

TEST_CASE("the kernel tells who is at the other end, and gives a pidfd of it") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
  Peer peer;
  std::string why;
  REQUIRE_MESSAGE(read_peer(ends[0], peer, why), why);
  CHECK(peer.pid == ::getpid());
  CHECK(peer.uid == ::geteuid());
  std::vector<lib::UniqueFd> sent;
  const lib::UniqueFd pidfd = peer_pidfd(ends[0], peer, sent, ~std::uint64_t{0} >> 1, why);
  REQUIRE_MESSAGE(pidfd, why);
  CHECK_FALSE(has_ended(pidfd.get()));
  CHECK(process_of_pidfd(pidfd.get()) == ::getpid());
  CHECK(process_of_pidfd(ends[0]) == -1);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE("names from clients are fit for a log line") {
  CHECK(printable("camera 1") == "camera 1");
  CHECK(printable("a\x1b[2Jb\nc") == "a?[2Jb?c");
  CHECK(printable("gr\xc3\xbc\xc3\x9f") == "gr\xc3\xbc\xc3\x9f");
  CHECK(printable("\xff\xc0\x80\xc2\x9b\xe2\x80\xae") == std::string(8, '?'));
  CHECK(printable("abcdef", 3) == "abc");
  CHECK(printable("x' (pid 1)") == "x? (pid 1)");  // a name ends where its quotes end
}
