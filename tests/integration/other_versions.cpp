// A library and a daemon of different layouts: neither reads what the other wrote. The daemon's side is in bad_messages.cpp
// ("libraries of other versions are told so") and, for what an earlier daemon left, in tests/unit/ledger_test.cpp.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/lib/control_header.hpp>
#include <zeropool/lib/control_plan.hpp>
#include <zeropool/lib/unique_fd.hpp>
#include <zeropool/lib/wire.hpp>
#include <zeropool/zeropool.hpp>

#include "support/program.hpp"

using namespace zeropool::testing;
namespace lib = zeropool::lib;
using lib::ErrorCode;

namespace {

constexpr std::uint64_t kSegmentBytes = std::uint64_t{2} << 20;

lib::UniqueFd segment_of(const std::string& bytes) {
  lib::UniqueFd fd(::memfd_create("other-version", MFD_CLOEXEC));
  REQUIRE(::ftruncate(fd.get(), kSegmentBytes) == 0);
  REQUIRE(::pwrite(fd.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  return fd;
}

std::string all_of(int fd) {
  std::string bytes(kSegmentBytes, '\1');
  REQUIRE(::pread(fd, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  return bytes;
}

// Answers each attach with the same message, as a daemon of another version would.
class OtherDaemon {
 public:
  OtherDaemon(const lib::AttachReply& reply, std::vector<int> fds) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, socket().c_str(), socket().size() + 1);
    listener_ = lib::UniqueFd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    REQUIRE(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
    REQUIRE(::listen(listener_.get(), 4) == 0);
    thread_ = std::thread([this, reply, fds = std::move(fds)] {
      for (;;) {
        const lib::UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!client) return;
        lib::receive_message(client.get(), 10000);
        lib::send_message(client.get(), &reply, sizeof(reply), fds.data(), fds.size());
      }
    });
  }
  OtherDaemon(const OtherDaemon&) = delete;
  OtherDaemon& operator=(const OtherDaemon&) = delete;
  ~OtherDaemon() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }

  std::string socket() const { return folder_.path() + "/s"; }
  zeropool::Error open() const {
    return zeropool::Pool::open("frames", {.socket = socket()}).error();
  }

 private:
  TemporaryFolder folder_;
  lib::UniqueFd listener_;
  std::thread thread_;
};

// What a good answer would be, but for the segment.
lib::AttachReply attached() {
  auto reply = lib::make_message<lib::AttachReply>(lib::MessageType::kAttachReply);
  reply.client_id = 1;
  reply.epoch = 1;
  reply.arena_count = 1;
  reply.control_bytes = kSegmentBytes;
  reply.arena_bytes[0] = kSegmentBytes;
  return reply;
}

}  // namespace

TEST_CASE("a library touches nothing of a segment of a newer or older layout, and says so") {
  for (const int step : {1, -1, 0}) {
    CAPTURE(step);
    // Every byte else is other than 0: no count or offset in it is one that this library could bear.
    std::string bytes(kSegmentBytes, '\x5a');
    const auto put = [&](std::size_t offset, auto value) {
      std::memcpy(bytes.data() + offset, &value, sizeof(value));
    };
    put(offsetof(lib::ControlHeader, magic), lib::kControlMagic);
    put(offsetof(lib::ControlHeader, layout_version),
        static_cast<decltype(lib::ControlHeader::layout_version)>(lib::kLayoutVersion + step));
    // The same number, another build: only the hash tells.
    put(offsetof(lib::ControlHeader, layout_hash), lib::layout_hash() ^ (step == 0 ? 1 : 0));
    const lib::UniqueFd control = segment_of(bytes);
    const lib::UniqueFd other(::memfd_create("other", MFD_CLOEXEC));
    const OtherDaemon daemon(attached(), {control.get(), other.get(), other.get(), other.get()});
    const zeropool::Error error = daemon.open();
    CHECK(error.code == ErrorCode::version_mismatch);
    CHECK(error.sentence.find("layout version " + std::to_string(lib::kLayoutVersion + step)) !=
          std::string::npos);
    CHECK(error.sentence.find("same version") != std::string::npos);
    CHECK(all_of(control.get()) == bytes);
  }
}

TEST_CASE("a library that a daemon of another version refuses has the daemon's sentence") {
  auto reply = lib::make_message<lib::AttachReply>(lib::MessageType::kAttachReply);
  reply.code = ErrorCode::version_mismatch;
  lib::set_text(reply.sentence, "this zeropoold has layout version 7");
  const OtherDaemon daemon(reply, {});
  const zeropool::Error error = daemon.open();
  CHECK(error.code == ErrorCode::version_mismatch);
  CHECK(error.sentence.find("layout version 7") != std::string::npos);
}

TEST_CASE("a library that is answered in another wire version says so") {
  lib::AttachReply reply = attached();
  reply.header.version = lib::kWireVersion + 1;
  const OtherDaemon daemon(reply, {});
  const zeropool::Error error = daemon.open();
  CHECK(error.code == ErrorCode::version_mismatch);
  CHECK(error.sentence.find("same version") != std::string::npos);
}
