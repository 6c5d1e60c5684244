#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>

#include <doctest/doctest.h>

#include "ctl/admin_client.hpp"
#include "zeropool/lib/wire.hpp"

// zeropoolctl is a program and no library: what is tested is compiled in here.
#include "ctl/admin_client.cpp"  // NOLINT(bugprone-suspicious-include)

namespace zeropool::ctl {
namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A socket that serves one connection with `serve`.
class FakeDaemon {
 public:
  explicit FakeDaemon(std::function<void(int)> serve) {
    char folder[] = "/tmp/zeropool-ctl-XXXXXX";
    REQUIRE(::mkdtemp(folder) != nullptr);
    folder_ = folder;
    path = folder_ + "/s";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    socket_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    REQUIRE(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    if (!serve) return;  // bound, and nobody listens
    REQUIRE(::listen(socket_.get(), 1) == 0);
    thread_ = std::thread([this, serve = std::move(serve)] {
      const lib::UniqueFd connection(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      serve(connection.get());
    });
  }
  ~FakeDaemon() {
    if (thread_.joinable()) thread_.join();
    ::unlink(path.c_str());
    ::rmdir(folder_.c_str());
  }
  FakeDaemon(const FakeDaemon&) = delete;
  FakeDaemon& operator=(const FakeDaemon&) = delete;

  std::string path;

 private:
  std::string folder_;
  lib::UniqueFd socket_;
  std::thread thread_;
};

// Answers with a document whose size is said to be `document_bytes`.
void answer(int connection, const std::string& text, std::uint64_t document_bytes) {
  const lib::UniqueFd document(::memfd_create("document", MFD_CLOEXEC));
  static_cast<void>(::write(document.get(), text.data(), text.size()));
  auto reply = lib::make_message<lib::AdminReply>(lib::MessageType::kAdminReply);
  reply.document_bytes = document_bytes;
  const int fd = document.get();
  lib::send_message(connection, &reply, sizeof reply, &fd, 1);
}

}  // namespace

TEST_CASE("a command and its argument arrive, the document comes back") {
  std::string heard;
  AdminAnswer got;
  {
    const FakeDaemon daemon([&heard](int connection) {
      const lib::Received received = lib::receive_message(connection, 5000);
      const auto* request = lib::decode<lib::AdminRequest>(received, lib::MessageType::kAdmin);
      if (request == nullptr) return;
      heard = std::string(lib::text_of(request->command)) + " " +
              std::string(lib::text_of(request->argument));
      answer(connection, "{\"bytes\": 7}", 12);
    });
    got = ask_daemon(daemon.path, "trim", "frames");
  }
  CHECK(heard == "trim frames");
  CHECK(got.exit_code == kExitOk);
  CHECK(got.text == "{\"bytes\": 7}");
  CHECK(got.document["bytes"] == 7);
}

TEST_CASE("a refusal is the daemon's sentence") {
  const FakeDaemon daemon([](int connection) {
    lib::receive_message(connection, 5000);
    auto reply = lib::make_message<lib::AdminReply>(lib::MessageType::kAdminReply);
    reply.code = lib::ErrorCode::no_such_pool;
    lib::set_text(reply.sentence, "there is no pool 'x'");
    lib::send_message(connection, &reply, sizeof reply);
  });
  const AdminAnswer got = ask_daemon(daemon.path, "trim", "x");
  CHECK(got.exit_code == kExitFailed);
  CHECK(got.error == "there is no pool 'x'");
}

TEST_CASE("without a daemon the sentence names the path, and the exit code is 3") {
  const AdminAnswer nowhere = ask_daemon("/tmp/zeropool-nowhere/s", "status", "");
  CHECK(nowhere.exit_code == kExitNoDaemon);
  CHECK(has(nowhere.error, "/tmp/zeropool-nowhere/s"));
  CHECK(has(nowhere.error, "start zeropoold"));
  const FakeDaemon silent(nullptr);
  const AdminAnswer refused = ask_daemon(silent.path, "status", "");
  CHECK(refused.exit_code == kExitNoDaemon);
  CHECK(has(refused.error, "nobody listens"));
  CHECK(ask_daemon(std::string(500, 'p'), "status", "").exit_code == kExitNoDaemon);
}

TEST_CASE("an answer that is none is a sentence, not a crash") {
  const std::function<void(int)> answers[] = {
      [](int) {},  // hangs up
      [](int connection) { lib::send_message(connection, "nonsense", 8); },
      [](int connection) { answer(connection, "{}", 1'000'000'000'000); },
      [](int connection) { answer(connection, "{}", 3); },
      [](int connection) { answer(connection, "{]", 2); },
      [](int connection) {
        const auto reply = lib::make_message<lib::AdminReply>(lib::MessageType::kAdminReply);
        lib::send_message(connection, &reply, sizeof reply);
      },
  };
  for (const auto& bad : answers) {
    const FakeDaemon daemon([&bad](int connection) {
      lib::receive_message(connection, 5000);
      bad(connection);
    });
    const AdminAnswer got = ask_daemon(daemon.path, "status", "");
    CHECK(got.exit_code == kExitFailed);
    CHECK_FALSE(got.error.empty());
  }
}

}  // namespace zeropool::ctl
