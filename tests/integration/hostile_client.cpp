// A client of one pool that means harm, with all that an attach gives it: what it can do to its own pool, and what it
// cannot do to the daemon and to others. docs/security.md names these tests.

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <grp.h>
#include <netinet/in.h>
#include <string>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/lib/control_plan.hpp>
#include <zeropool/lib/unique_fd.hpp>
#include <zeropool/lib/wire.hpp>
#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
namespace lib = zeropool::lib;
using zeropool::Buffer;
using zeropool::Handle;
using zeropool::Pool;

namespace {

constexpr unsigned kNobody = 65534;
constexpr const char* kConfig = R"(budget: 96MiB
limits: {clients: 16, threads: 32}
pages: {size: [4KiB]}
pools:
  theirs: {classes: [4KiB, 64KiB], limit: 32MiB}
  ours: {classes: [4KiB, 64KiB], limit: 32MiB}
)";

// What an attach gives: the connection, then control segment, doorbell, wake socket, data segments.
struct Attached {
  lib::UniqueFd connection;
  std::vector<lib::UniqueFd> fds;
};

lib::UniqueFd connect_to(const DaemonProcess& daemon) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = daemon.socket();
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  lib::UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  expect(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0,
         "not connected");
  return fd;
}

Attached attach(const DaemonProcess& daemon, const char* pool) {
  Attached attached;
  attached.connection = connect_to(daemon);
  auto request = lib::make_message<lib::AttachRequest>(lib::MessageType::kAttach);
  request.layout_hash = lib::layout_hash();
  lib::set_text(request.pool_name, pool);
  lib::set_text(request.client_name, "hostile");
  expect(lib::send_message(attached.connection.get(), &request, sizeof(request)), "not sent");
  lib::Received received = lib::receive_message(attached.connection.get(), 10000);
  const auto* reply = lib::decode<lib::AttachReply>(received, lib::MessageType::kAttachReply);
  expect(reply != nullptr && reply->code == lib::ErrorCode::ok, "not attached");
  attached.fds = std::move(received.fds);
  expect(attached.fds.size() >= 4, "descriptors are missing");
  return attached;
}

// The daemon answers, and a client of the other pool gets what it asks for, with the daemon's help too.
bool others_are_served(const DaemonProcess& daemon) {
  const auto outcome = run_in_child<bool>([&] {
    auto pool = daemon.open("ours");
    expect(static_cast<bool>(pool), pool.error().sentence);
    std::vector<Buffer> held;
    for (int i = 0; i < 200; ++i) {
      held.push_back(pool->get(64 * 1024, 20s));
      expect(static_cast<bool>(held.back()), held.back().error().sentence);
      held.back().data()[0] = std::byte{1};
    }
    return true;
  });
  if (!outcome.value) MESSAGE(outcome.failure);
  return outcome.value && daemon.ctl({"status"}).exit_code == 0 &&
         daemon.ctl({"audit", "ours"}).exit_code == 0;
}

void make_blocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags >= 0) ::fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}

// TCP connections to itself whose last close lingers: what was written is not read, as long as this lives.
class Lingering {
 public:
  static constexpr int kSeconds = 600;

  Lingering() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int small = 4096;  // inherited by what is accepted
    ::setsockopt(listener_.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof(address_);
    expect(::bind(listener_.get(), name(), bytes) == 0 && ::listen(listener_.get(), 16) == 0 &&
               ::getsockname(listener_.get(), name(), &bytes) == 0,
           "no listener");
  }
  lib::UniqueFd make() {
    lib::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int small = 4096;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    expect(::connect(fd.get(), name(), sizeof(address_)) == 0, "not connected by TCP");
    unread_.emplace_back(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    expect(static_cast<bool>(unread_.back()), "not accepted");
    const std::vector<char> bytes(4096);
    while (::send(fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
    }
    const linger wait{1, kSeconds};
    expect(::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &wait, sizeof(wait)) == 0, "no linger");
    return fd;
  }

 private:
  sockaddr* name() { return reinterpret_cast<sockaddr*>(&address_); }
  lib::UniqueFd listener_;
  sockaddr_in address_{};
  std::vector<lib::UniqueFd> unread_;
};

// Nobody but the message has the descriptor then. A kernel that refuses to send it is as good.
void send_lingering(int socket, const void* message, std::size_t bytes, Lingering& source) {
  lib::UniqueFd fd = source.make();
  const int number = fd.get();
  if (lib::send_message(socket, message, bytes, &number, 1)) {
    // The daemon may have closed its own already: then this close is the last, and it is this thread that lingers.
    std::thread([last = fd.release()] { ::close(last); }).detach();
    return;
  }
  expect(errno == EPERM || errno == EPIPE || errno == ECONNRESET, "not sent");
  const linger none{0, 0};
  ::setsockopt(number, SOL_SOCKET, SO_LINGER, &none, sizeof(none));  // else it is us who wait
}

bool is_eventfd(int fd) {
  std::error_code gone;
  const auto target =
      std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), gone).string();
  return target == "anon_inode:[eventfd]";
}

}  // namespace

TEST_CASE("a doorbell that a client has made blocking, and empties itself, stops nobody") {
  DaemonProcess daemon(kConfig);
  ChildProcess hostile([&](Link& parent) {
    const Attached attached = attach(daemon, "theirs");
    const int doorbell = attached.fds[1].get();
    make_blocking(doorbell);
    for (;;) {
      for (int round = 0; round < 20000; ++round) {
        std::uint64_t rings = 1;
        expect(::write(doorbell, &rings, sizeof(rings)) == sizeof(rings), "not written");
        // Emptied at all times between the daemon's waking and its read, sooner or later in between.
        const auto until =
            std::chrono::steady_clock::now() + std::chrono::nanoseconds(round % 10000);
        while (std::chrono::steady_clock::now() < until) {
        }
        iovec into{&rings, sizeof(rings)};
        ::preadv2(doorbell, &into, 1, -1, RWF_NOWAIT);
      }
      parent.signal();
      parent.await();
    }
  });
  for (int i = 0; i < 10; ++i) {
    hostile.link().await();
    REQUIRE(others_are_served(daemon));
    hostile.link().signal();
  }
  hostile.kill();
  CHECK(others_are_served(daemon));
}

TEST_CASE("descriptors that a client has made blocking, and filled, do not stop the daemon") {
  DaemonProcess daemon(R"(budget: 96MiB
limits: {clients: 16, threads: 32}
pages: {size: [4KiB]}
pools:
  theirs: {classes: [64KiB], limit: 4MiB}
  ours: {classes: [4KiB, 64KiB], limit: 32MiB}
)");
  ChildProcess hostile([&](Link& parent) {
    auto pool = daemon.open("theirs");
    expect(static_cast<bool>(pool), pool.error().sentence);
    expect(pool->event_fd() >= 0, "no event descriptor");
    std::vector<Buffer> all;
    for (Buffer buffer = pool->get(65536, 200ms); buffer; buffer = pool->get(65536, 200ms)) {
      all.push_back(std::move(buffer));
    }
    expect(all.size() > 10, "no memory to hold");
    // Suspended: to be answered by the daemon, which then wakes this client.
    zp_async_get operation{};
    zp_buffer granted{};
    operation.done = [](void*, int, zp_buffer*) {};
    const int code = zp_get_async(pool->c_pool(), 65536, 60'000'000'000, &operation, &granted);
    expect(code == ZP_PENDING, "not suspended");
    for (int fd = 3; fd < 256; ++fd) {
      make_blocking(fd);
      if (!is_eventfd(fd)) continue;
      const std::uint64_t full = UINT64_MAX - 1;
      ::fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
      [[maybe_unused]] const ssize_t wrote = ::write(fd, &full, sizeof(full));
      make_blocking(fd);
    }
    all.clear();  // now it can be granted
    parent.signal();
    parent.await();
  });
  hostile.link().await();
  CHECK(others_are_served(daemon));
  std::this_thread::sleep_for(500ms);  // whatever the daemon still has to tell it
  CHECK(others_are_served(daemon));
  hostile.kill();
  CHECK(eventually([&] { return daemon.clients() == 0; }));
  CHECK(daemon.alive());
}

TEST_CASE("a client's wake socket carries nothing to the daemon") {
  DaemonProcess daemon(kConfig);
  const Attached attached = attach(daemon, "theirs");
  const char byte = 1;
  CHECK(::send(attached.fds[2].get(), &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == -1);
  CHECK(errno == EPIPE);
}

TEST_CASE(
    "segments can be neither cut, grown nor sealed, and punched ones harm their own pool only") {
  DaemonProcess daemon(kConfig);
  ChildProcess hostile([&](Link& parent) {
    const Attached attached = attach(daemon, "theirs");
    for (std::size_t i = 0; i < attached.fds.size(); ++i) {
      if (i == 1 || i == 2) continue;
      const int fd = attached.fds[i].get();
      struct stat info {};
      expect(::fstat(fd, &info) == 0, "fstat");
      expect(::ftruncate(fd, 4096) != 0 && errno == EPERM, "a segment was cut");
      expect(::ftruncate(fd, info.st_size + 4096) != 0 && errno == EPERM, "a segment has grown");
      expect(::fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) != 0, "a segment was sealed");
      expect((info.st_mode & 07777) == 0600, "a segment has another mode");
      expect(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, info.st_size) == 0,
             "not punched");
    }
    parent.signal();
    parent.await();
  });
  hostile.link().await();
  CHECK(others_are_served(daemon));
  daemon.ctl({"audit", "theirs"});
  daemon.ctl({"trim", "theirs"});
  CHECK(daemon.scrape().find("zeropool_build_info") != std::string::npos);
  hostile.kill();
  CHECK(eventually([&] { return daemon.clients() == 0; }));
  CHECK(others_are_served(daemon));
  const End end = daemon.stop();
  CHECK_MESSAGE(end.well(), describe(end));
}

TEST_CASE("descriptors whose close lingers, in whatever message, read or unread, stop nobody") {
  DaemonProcess daemon(kConfig);
  ChildProcess hostile([&](Link& parent) {
    Lingering source;
    std::vector<Attached> attached;
    auto request = lib::make_message<lib::AttachRequest>(lib::MessageType::kAttach);
    request.layout_hash = lib::layout_hash();
    lib::set_text(request.pool_name, "theirs");
    auto question = lib::make_message<lib::AdminRequest>(lib::MessageType::kAdmin);
    lib::set_text(question.command, "status");
    for (int i = 0; i < 200; ++i) {
      if (i < 5) {
        attached.push_back(attach(daemon, "theirs"));
        send_lingering(attached.back().connection.get(), "rubbish", 7, source);
        continue;
      }
      const lib::UniqueFd fd = connect_to(daemon);
      switch (i % 5) {
        case 0:  // refused, and heard to the end
          send_lingering(fd.get(), "rubbish", 7, source);
          lib::receive_message(fd.get(), 10000);
          break;
        case 1:  // in place of a pidfd
          send_lingering(fd.get(), &request, sizeof(request), source);
          break;
        case 2:  // behind one that is refused, so never read
          expect(lib::send_message(fd.get(), "rubbish", 7), "not sent");
          send_lingering(fd.get(), "rubbish", 7, source);
          break;
        case 3:  // with, and behind, what is answered
          send_lingering(fd.get(), &question, sizeof(question), source);
          send_lingering(fd.get(), &question, sizeof(question), source);
          break;
        case 4:  // behind an empty one, which reads like an end
          expect(::send(fd.get(), nullptr, 0, MSG_NOSIGNAL) == 0, "not sent");
          send_lingering(fd.get(), "rubbish", 7, source);
          break;
      }
    }
    parent.signal();
    parent.await(std::chrono::seconds(Lingering::kSeconds));
  });
  hostile.link().await(120s);
  const auto begun = std::chrono::steady_clock::now();
  CHECK(others_are_served(daemon));
  CHECK(daemon.scrape().find("zeropool_build_info") != std::string::npos);
  const End end = daemon.stop();
  CHECK_MESSAGE(end.well(), describe(end));
  CHECK(std::chrono::steady_clock::now() - begun < std::chrono::seconds(Lingering::kSeconds / 4));
}

TEST_CASE("more lingering descriptors than may wait keep new ones out, and nobody who is in") {
  DaemonProcess daemon(kConfig);
  auto ours = daemon.open("ours");
  REQUIRE_MESSAGE(ours, ours.error().sentence);
  ChildProcess hostile([&](Link& parent) {
    Lingering source;
    for (int i = 0; i < 320; ++i) {
      const lib::UniqueFd fd = connect_to(daemon);
      send_lingering(fd.get(), "rubbish", 7, source);
    }
    parent.signal();
    parent.await(std::chrono::seconds(Lingering::kSeconds));
  });
  hostile.link().await(120s);
  CHECK(eventually(
      [&] { return daemon.metric("zeropool_rejections_total", {"reason=\"system\""}) > 0; }, 60s));
  CHECK(eventually([&] {
    return daemon.log().find("cannot accept a client: descriptors") != std::string::npos;
  }));
  std::vector<Buffer> held;
  for (int i = 0; i < 200; ++i) {
    held.push_back(ours->get(64 * 1024, 60s));
    REQUIRE_MESSAGE(held.back(), held.back().error().sentence);
  }
  hostile.kill();  // nobody lingers for a peer that is gone
  CHECK(eventually([&] { return daemon.ctl({"status"}).exit_code == 0; }, 60s));
  CHECK(others_are_served(daemon));
  held.clear();
  const End end = daemon.stop();
  CHECK_MESSAGE(end.well(), describe(end));
}

TEST_CASE("a handle of one pool is nothing in another") {
  const DaemonProcess daemon(kConfig);
  auto theirs = daemon.open("theirs");
  auto ours = daemon.open("ours");
  REQUIRE(theirs);
  REQUIRE(ours);
  Buffer buffer = theirs->get(4096);
  REQUIRE(buffer);
  const Handle handle = std::move(buffer).release();
  const Buffer stolen = ours->adopt(handle);
  CHECK_FALSE(stolen);
  CHECK(stolen.error_code() == zeropool::ErrorCode::stale_handle);
  CHECK(theirs->adopt(handle));
}

TEST_CASE("who is handed a segment's descriptor has its memory, access list or not") {
  if (::geteuid() != 0) {
    MESSAGE("not run: it takes root to become another user");
    return;
  }
  const DaemonProcess daemon(
      "budget: 64MiB\npools: {ours: {classes: [4KiB], access: {users: [root]}}}\n");
  const Attached attached = attach(daemon, "ours");
  int pair[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
  const lib::UniqueFd ends[2] = {lib::UniqueFd(pair[0]), lib::UniqueFd(pair[1])};
  const int control = attached.fds[0].get();
  ChildProcess other([&](Link& parent) {
    expect(::setgroups(0, nullptr) == 0 && ::setgid(kNobody) == 0 && ::setuid(kNobody) == 0,
           "cannot become another user");
    expect(!daemon.open("ours"), "the access list let it in");
    // Not by itself, through /proc ...
    const std::string found = "/proc/" + std::to_string(daemon.pid()) + "/fd/" + std::to_string(3);
    expect(::open(found.c_str(), O_RDWR | O_CLOEXEC) < 0, "/proc let it in");
    // ... but by a client's gift.
    lib::Received received = lib::receive_message(ends[1].get(), 10000);
    expect(received.fds.size() == 1, "nothing came");
    void* seen =
        ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, received.fds[0].get(), 0);
    expect(seen != MAP_FAILED, "it cannot be mapped");
    parent.signal();
  });
  auto word = lib::make_message<lib::DetachMessage>(lib::MessageType::kDetach);
  REQUIRE(lib::send_message(ends[0].get(), &word, sizeof(word), &control, 1));
  other.link().await();
  CHECK(other.wait().well());
  CHECK(other.failure() == "");
}

TEST_CASE("an attached client learns of no other pool's memory") {
  const DaemonProcess daemon(kConfig);
  auto keeps_ours = daemon.open("ours");  // there is one, with clients
  REQUIRE(keeps_ours);
  const auto outcome = run_in_child<bool>([&] {
    const Attached attached = attach(daemon, "theirs");
    for (const lib::UniqueFd& fd : attached.fds) {
      std::error_code gone;
      const std::string target =
          std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd.get()), gone).string();
      expect(target.find("zeropool-ours") == std::string::npos, "another pool's segment came");
      expect(target.find("ledger") == std::string::npos, "the ledger came");
    }
    return true;
  });
  CHECK(outcome.value);
  CHECK(outcome.failure == "");
}

TEST_CASE("a scrape names no client unless asked; the page's document names them with their pids") {
  const DaemonProcess quiet("budget: 64MiB\npools: {ours: {classes: [4KiB]}}\n");
  const DaemonProcess asked(
      "budget: 64MiB\nmetrics: {listen: [\"127.0.0.1:0\"], top_clients: 5}\n"
      "pools: {ours: {classes: [4KiB]}}\n");
  for (const DaemonProcess* daemon : {&quiet, &asked}) {
    ChildProcess client([&](Link& parent) {
      auto options = daemon->options();
      options.client_name = "payroll-batch";
      auto pool = Pool::open("ours", options);
      expect(static_cast<bool>(pool), pool.error().sentence);
      Buffer buffer = pool->get(4096);
      std::strcpy(buffer.as<char>(), "salaries-of-all");
      parent.signal();
      parent.await();
    });
    client.link().await();
    const std::string scrape = daemon->scrape();
    CHECK((scrape.find("payroll-batch") != std::string::npos) == (daemon == &asked));
    CHECK(scrape.find("salaries-of-all") == std::string::npos);
    std::string document;
    CHECK(eventually([&] {
      document = daemon->http("GET", "/status.json").body;
      return document.find("payroll-batch") != std::string::npos;
    }));
    CHECK(document.find(std::to_string(client.pid())) != std::string::npos);
    CHECK(document.find("salaries-of-all") == std::string::npos);
    for (const char* method : {"POST", "PUT", "DELETE"}) {
      CHECK(daemon->http_once(method, "/metrics").status == 405);
    }
  }
}
