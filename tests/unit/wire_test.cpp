#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/lib/wire.hpp>

using namespace zeropool::lib;

namespace {

struct Pair {
  Pair() {
    int fds[2] = {-1, -1};
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
    here.reset(fds[0]);
    there.reset(fds[1]);
  }
  UniqueFd here;
  UniqueFd there;
};

int lowest_free_fd() {
  const UniqueFd probe(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  return probe.get();
}

}  // namespace

TEST_CASE("a message arrives whole, with its descriptors, close-on-exec") {
  Pair pair;
  auto request = make_message<AttachRequest>(MessageType::kAttach);
  set_text(request.pool_name, "default");
  const std::vector<int> fds(kMaxMessageFds, pair.here.get());
  REQUIRE(send_message(pair.here.get(), &request, sizeof(request), fds.data(), fds.size()));
  const Received received = receive_message(pair.there.get(), 1000);
  REQUIRE(received.outcome == ReceiveOutcome::kMessage);
  REQUIRE(received.fds.size() == kMaxMessageFds);
  for (const UniqueFd& fd : received.fds) CHECK((::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC) != 0);
  const auto* message = decode<AttachRequest>(received, MessageType::kAttach);
  REQUIRE(message != nullptr);
  CHECK(text_of(message->pool_name) == "default");
  CHECK(decode<AttachReply>(received, MessageType::kAttachReply) == nullptr);
  CHECK(decode<AttachRequest>(received, MessageType::kDetach) == nullptr);
}

TEST_CASE("rubbish, short and long messages decode to nothing") {
  auto good = make_message<DetachMessage>(MessageType::kDetach);
  std::vector<std::vector<std::byte>> bad;
  const auto bytes_of = [](const auto& message, std::size_t bytes) {
    std::vector<std::byte> out(bytes);
    std::memcpy(out.data(), &message, std::min(bytes, sizeof(message)));
    return out;
  };
  bad.push_back(bytes_of(good, 1));
  bad.push_back(bytes_of(good, sizeof(good) - 1));
  bad.push_back(bytes_of(good, sizeof(good) + 1));
  for (int field = 0; field < 4; ++field) {
    auto wrong = good;
    if (field == 0) wrong.header.magic ^= 1;
    if (field == 1) wrong.header.version += 1;
    if (field == 2) wrong.header.type = MessageType::kAdmin;
    if (field == 3) wrong.header.bytes += 1;
    bad.push_back(bytes_of(wrong, sizeof(wrong)));
  }
  Pair pair;
  for (const auto& bytes : bad) {
    REQUIRE(send_message(pair.here.get(), bytes.data(), bytes.size()));
    const Received received = receive_message(pair.there.get(), 1000);
    REQUIRE(received.outcome == ReceiveOutcome::kMessage);
    CHECK(decode<DetachMessage>(received, MessageType::kDetach) == nullptr);
  }
  REQUIRE(send_message(pair.here.get(), &good, sizeof(good)));
  CHECK(decode<DetachMessage>(receive_message(pair.there.get(), 1000), MessageType::kDetach) !=
        nullptr);
}

TEST_CASE("a message too long, or with too many descriptors, is broken and leaks none") {
  Pair pair;
  const int before = lowest_free_fd();
  const std::vector<std::byte> longest(kMaxMessageBytes + 1);
  REQUIRE(send_message(pair.here.get(), longest.data(), longest.size()));
  {
    const Received received = receive_message(pair.there.get(), 1000);
    CHECK(received.outcome == ReceiveOutcome::kBroken);
    CHECK(received.error == 0);
  }
  // More than a receiver takes: by hand, for send_message refuses.
  std::vector<int> fds(kMaxMessageFds + 20, pair.here.get());
  CHECK_FALSE(send_message(pair.here.get(), "x", 1, fds.data(), fds.size()));
  CHECK(errno == EINVAL);
  std::vector<char> control(CMSG_SPACE(sizeof(int) * fds.size()));
  char byte = 'x';
  iovec part{&byte, 1};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  cmsghdr* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
  std::memcpy(CMSG_DATA(rights), fds.data(), sizeof(int) * fds.size());
  REQUIRE(::sendmsg(pair.here.get(), &header, 0) == 1);
  CHECK(receive_message(pair.there.get(), 1000).outcome == ReceiveOutcome::kBroken);
  CHECK(lowest_free_fd() == before);
}

TEST_CASE("an absent, closed or silent peer is told apart, without a signal") {
  Pair pair;
  CHECK(receive_message(pair.there.get(), 0).outcome == ReceiveOutcome::kTimedOut);
  REQUIRE(::fcntl(pair.there.get(), F_SETFL, O_NONBLOCK) == 0);
  CHECK(receive_message(pair.there.get()).outcome == ReceiveOutcome::kNothingYet);
  pair.here.reset();
  CHECK(receive_message(pair.there.get(), 1000).outcome == ReceiveOutcome::kClosed);
  CHECK_FALSE(send_message(pair.there.get(), "x", 1));
  CHECK(errno == EPIPE);
  const Received received = receive_message(-1);
  CHECK(received.outcome == ReceiveOutcome::kBroken);
  CHECK(received.error == EBADF);
}

TEST_CASE("a text field may lack its end, and a long text is cut with one") {
  char field[4] = {'a', 'b', 'c', 'd'};
  CHECK(text_of(field) == "abcd");
  set_text(field, "12345");
  CHECK(text_of(field) == "123");
  set_text(field, "");
  CHECK(text_of(field).empty());
}
