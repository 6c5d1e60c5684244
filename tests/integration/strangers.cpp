// Whoever may open the socket, and no more: ten thousand connections, ten thousand refusals, names that want to be log
// lines. What a stranger can make the daemon keep is bounded. docs/security.md names these tests.

#include <array>
#include <cctype>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <regex>
#include <sstream>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
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
using lib::ErrorCode;
using zeropool::Buffer;

namespace {

constexpr int kCrowds = 20;
constexpr int kInACrowd = 500;  // 10,000 together; each crowd within the usual limit of open files
constexpr int kPending = 64;
constexpr const char* kConfig = R"(budget: 64MiB
limits: {clients: 64, threads: 64}
pools: {frames: {classes: [4KiB]}}
)";

lib::UniqueFd connect_to(const DaemonProcess& daemon) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = daemon.socket();
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  lib::UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const timeval limit{60, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  // Waits while the socket's queue is full.
  expect(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0,
         "not connected: " + std::string(std::strerror(errno)));
  return fd;
}

lib::AttachRequest request(std::string_view pool, std::string_view name) {
  auto message = lib::make_message<lib::AttachRequest>(lib::MessageType::kAttach);
  message.layout_hash = lib::layout_hash();
  lib::set_text(message.pool_name, pool);
  std::memset(message.client_name, 0, sizeof(message.client_name));
  name.copy(message.client_name, sizeof(message.client_name));  // perhaps without an end
  return message;
}

ErrorCode attach(int socket, const lib::AttachRequest& message) {
  expect(lib::send_message(socket, &message, sizeof(message)), "not sent");
  const lib::Received received = lib::receive_message(socket, 20000);
  const auto* reply = lib::decode<lib::AttachReply>(received, lib::MessageType::kAttachReply);
  expect(reply != nullptr, "no answer");
  return reply->code;
}

bool serves(const DaemonProcess& daemon) {
  const auto outcome = run_in_child<bool>([&] {
    auto pool = daemon.open("frames");
    expect(static_cast<bool>(pool), pool.error().sentence);
    const Buffer buffer = pool->get(4096, 20s);
    expect(static_cast<bool>(buffer), buffer.error().sentence);
    return true;
  });
  if (!outcome.value) MESSAGE(outcome.failure);
  return outcome.value;
}

std::size_t open_descriptors(const DaemonProcess& daemon) {
  std::size_t count = 0;
  const std::string folder = "/proc/" + std::to_string(daemon.pid()) + "/fd";
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++count;
  return count;
}

std::uint64_t resident_kib(const DaemonProcess& daemon) {
  std::istringstream status(read_file("/proc/" + std::to_string(daemon.pid()) + "/status"));
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmRSS:", 0) == 0) return std::stoull(line.substr(6));
  }
  return 0;
}

std::size_t lines_with(const std::string& log, const std::string& words) {
  std::istringstream text(log);
  std::size_t count = 0;
  for (std::string line; std::getline(text, line);) {
    if (line.find(words) != std::string::npos) ++count;
  }
  return count;
}

double rejections(const DaemonProcess& daemon) {
  return daemon.metric("zeropool_rejections_total");
}

bool keeps_little(const DaemonProcess& daemon, std::uint64_t resident_before) {
#ifdef __SANITIZE_ADDRESS__
  constexpr std::uint64_t kKeptThough = 512 << 10;  // what was freed, for a while
#else
  constexpr std::uint64_t kKeptThough = 0;
#endif
  return resident_kib(daemon) < resident_before + kKeptThough + (16 << 10);
}

}  // namespace

TEST_CASE(
    "ten thousand connections at once keep nobody out, and the daemon keeps no more than 64") {
  DaemonProcess daemon(kConfig);
  REQUIRE(serves(daemon));
  const auto begin = std::chrono::steady_clock::now();
  const std::size_t descriptors = open_descriptors(daemon);
  const std::uint64_t resident = resident_kib(daemon);
  std::vector<std::unique_ptr<ChildProcess>> crowds;
  for (int i = 0; i < kCrowds; ++i) {
    crowds.push_back(std::make_unique<ChildProcess>([&](Link& parent) {
      std::vector<lib::UniqueFd> connections;
      for (int c = 0; c < kInACrowd; ++c) connections.push_back(connect_to(daemon));
      parent.send(connections.size());
      parent.await();
    }));
  }
  std::size_t connected = 0;
  for (const auto& crowd : crowds) connected += crowd->link().receive<std::size_t>(240s);
  CHECK(connected == kCrowds * kInACrowd);
  // All of them are still open; all but the last few have been refused.
  CHECK(serves(daemon));
  CHECK(open_descriptors(daemon) <= descriptors + kPending + 8);
  CHECK(eventually([&] { return rejections(daemon) >= kCrowds * kInACrowd - kPending; }, 60s));
  CHECK(keeps_little(daemon, resident));
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - begin)
          .count();
  CHECK(lines_with(daemon.log(), "refused pid") <= static_cast<std::size_t>(seconds) + 2);
  for (const auto& crowd : crowds) crowd->kill();
  CHECK(eventually([&] { return open_descriptors(daemon) <= descriptors; }, 30s));
  CHECK(serves(daemon));
}

TEST_CASE("ten thousand refused attaches fill neither the log nor the daemon") {
  DaemonProcess daemon(kConfig);
  REQUIRE(serves(daemon));
  const auto begin = std::chrono::steady_clock::now();
  const std::uint64_t resident = resident_kib(daemon);
  const double before = rejections(daemon);
  const lib::AttachRequest message = request("no-such-pool", "stranger");
  for (int i = 0; i < 10000; ++i) {
    REQUIRE(attach(connect_to(daemon).get(), message) == ErrorCode::no_such_pool);
  }
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - begin)
          .count();
  CHECK(rejections(daemon) == before + 10000);
  CHECK(lines_with(daemon.log(), "no-such-pool") <= static_cast<std::size_t>(seconds) + 2);
  CHECK(keeps_little(daemon, resident));
  CHECK(serves(daemon));
}

TEST_CASE(
    "names with line breaks, escapes, quotes and broken UTF-8 stay one name in one log line") {
  DaemonProcess daemon(kConfig);
  const std::array<std::string, 9> names = {
      "a\n2026-01-01T00:00:00 error x",
      "a\r<2>critical: all is lost",
      "\x1b[2J\x1b[31mred",
      "x' (pid 1) has ended: '",
      "\xff\xfe\xc0\x80 no UTF-8",
      "\xe2\x80\xae"
      "backwards\xe2\x80\xa8line",
      std::string("nul\0behind", 10),
      std::string(lib::kClientNameBytes, 'n'),  // without an end
      "{} %s %n ${HOME}",
  };
  for (const std::string& name : names) {
    ChildProcess client([&](Link& parent) {
      const lib::UniqueFd connection = connect_to(daemon);
      expect(attach(connection.get(), request("frames", name)) == ErrorCode::ok, "not attached");
      parent.signal();
      parent.await();
    });
    client.link().await();
    const pid_t pid = client.pid();
    client.kill();
    // What the daemon says of it: its name in quotes, then the pid that the kernel tells.
    const std::regex line("client [0-9]+ '[^']*' \\(pid " + std::to_string(pid) + "\\) ");
    const bool told = eventually([&] {
      std::istringstream log(daemon.log());
      for (std::string text; std::getline(log, text);) {
        if (std::regex_search(text, line)) return true;
      }
      return false;
    });
    CHECK_MESSAGE(told, daemon.log());
  }
  // And no line of it is anybody else's.
  const std::regex whole(
      "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[-+][0-9:]+) "
      "(trace|debug|info|warning|error|critical) "
      "[^\\x00-\\x1f]*$");
  std::istringstream log(daemon.log());
  std::size_t lines = 0;
  for (std::string text; std::getline(log, text); ++lines) {
    CHECK_MESSAGE(std::regex_match(text, whole), text);
    for (const char* raw : {"\x1b", "\r", "\xe2\x80\xae", "\xff"}) {
      CHECK(text.find(raw) == std::string::npos);
    }
  }
  CHECK(lines > names.size());
}

TEST_CASE("a client's name is cut to 31 bytes, and whole characters, wherever it is shown") {
  DaemonProcess daemon(kConfig);
  ChildProcess client([&](Link& parent) {
    const lib::UniqueFd connection = connect_to(daemon);
    std::string name;
    for (int i = 0; i < 16; ++i) name += "\xc3\xbc";  // ü: 32 bytes
    expect(attach(connection.get(), request("frames", name)) == ErrorCode::ok, "not attached");
    parent.signal();
    parent.await();
  });
  client.link().await();
  const nlohmann::json clients = daemon.ctl_json({"clients"});
  REQUIRE(clients["clients"].size() == 1);
  CHECK(clients["clients"][0]["name"].get<std::string>().size() == 30);
  CHECK(daemon.ctl({"clients"}).exit_code == 0);
}
