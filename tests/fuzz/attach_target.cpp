// Any bytes on the control socket, from several connections, with descriptors: a whole daemon in this process answers.
//
// An input is a sequence of {action, connection, length, bytes}. Each answer is whole, and has a sentence when it says no;
// afterwards the daemon has no client left and every slot is free.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <signal.h>
#include <string>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
#include <vector>

#include <spdlog/spdlog.h>

#include "daemon/config_units.hpp"
#include "daemon/daemon.hpp"
#include "tests/fuzz/support/small_machine.hpp"
#include "zeropool/lib/audit.hpp"
#include "zeropool/lib/control_plan.hpp"
#include "zeropool/lib/wire.hpp"

namespace {

using namespace zeropool;
using daemon::Daemon;
using zeropool::fuzz::require;

constexpr std::size_t kConnections = 4;
constexpr std::size_t kMostMessages = 64;
constexpr std::uint32_t kClients = 48;

daemon::Config small_config(const std::string& folder) {
  daemon::Config config;
  config.budget = daemon::Amount::bytes(std::uint64_t{32} << 20);
  config.socket.path = folder + "/zeropoold.sock";
  config.pages.size = {daemon::PageSize::kSmall4KiB};
  config.metrics.listen.clear();
  config.limits.clients = kClients;
  config.limits.threads = 16;
  config.limits.pending_attaches = 3;
  config.log.level = "off";
  config.pools.assign(2, daemon::PoolConfig{});
  config.pools[0].name = "default";
  config.pools[1].name = "other";
  for (daemon::PoolConfig& pool : config.pools) {
    pool.classes = {4096, 65536};
    pool.limit_bytes = std::uint64_t{12} << 20;
    pool.wait.orders = 64;
  }
  return config;
}

class Server {
 public:
  Server() {
    char pattern[] = "/tmp/zeropool-fuzz-XXXXXX";
    require(::mkdtemp(pattern) != nullptr, "mkdtemp");
    folder_ = pattern;
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGHUP, SIGTERM}) sigaddset(&set, signal);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    start();
  }
  ~Server() {
    daemon_.reset();
    ::rmdir(folder_.c_str());
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Connections that were closed while attached leave a client that lives: this process has the memory mapped. When
  // they become many, another daemon begins.
  void renew_if_crowded() {
    std::size_t clients = 0;
    for (const auto& pool : daemon_->pools()) clients += pool->clients.size();
    if (clients + kConnections < kClients) return;
    daemon_.reset();
    start();
  }
  void turn() {
    for (int round = 0; round < 3; ++round) daemon_->loop().run_once(0);
  }
  Daemon& daemon() { return *daemon_; }
  std::string socket() const { return folder_ + "/zeropoold.sock"; }

 private:
  void start() {
    spdlog::set_level(spdlog::level::off);
    std::string why;
    daemon_ = Daemon::start({}, small_config(folder_), why);
    require(daemon_ != nullptr, why.c_str());
  }

  std::string folder_;
  std::unique_ptr<Daemon> daemon_;
};

class Stranger {
 public:
  explicit Stranger(Server& server) : server_(server) {}

  void connect() {
    attached_ = false;
    socket_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = server_.socket();
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) !=
        0) {
      socket_.reset();
    }
    server_.turn();
  }
  void close() {
    socket_.reset();
    attached_ = false;
  }
  void send(const void* bytes, std::size_t count, int fds) {
    if (!socket_) connect();
    std::vector<lib::UniqueFd> own;
    std::vector<int> numbers;
    for (int i = 0; i < fds; ++i) {
      own.emplace_back(i % 2 == 0 ? static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0))
                                  : ::eventfd(0, EFD_CLOEXEC));
      if (own.back()) numbers.push_back(own.back().get());
    }
    lib::send_message(socket_.get(), bytes, count, numbers.data(), numbers.size());
    server_.turn();
    listen();
  }
  void leave() {
    if (!attached_) return close();
    const auto message = lib::make_message<lib::DetachMessage>(lib::MessageType::kDetach);
    send(&message, sizeof(message), 0);
    close();
  }

 private:
  // Every answer: whole, and with a sentence when it says no.
  void listen() {
    while (socket_) {
      lib::Received received = lib::receive_message(socket_.get());
      if (received.outcome == lib::ReceiveOutcome::kNothingYet) return;
      if (received.outcome != lib::ReceiveOutcome::kMessage) return close();
      if (const auto* attach =
              lib::decode<lib::AttachReply>(received, lib::MessageType::kAttachReply)) {
        check(attach->code, lib::text_of(attach->sentence));
        if (attach->code != lib::ErrorCode::ok) continue;
        require(received.fds.size() == attach->arena_count + 3U, "an attach without its segments");
        attached_ = true;
      } else if (const auto* admin =
                     lib::decode<lib::AdminReply>(received, lib::MessageType::kAdminReply)) {
        check(admin->code, lib::text_of(admin->sentence));
        require((admin->code == lib::ErrorCode::ok) == (received.fds.size() == 1),
                "an answer to an administrator without its document");
      } else {
        require(
            lib::decode<lib::DetachMessage>(received, lib::MessageType::kDetachReply) != nullptr,
            "an answer that is none");
        attached_ = false;
      }
    }
  }
  static void check(lib::ErrorCode code, std::string_view sentence) {
    require(code == lib::ErrorCode::ok || !sentence.empty(), "a refusal without a sentence");
  }

  Server& server_;
  lib::UniqueFd socket_;
  bool attached_ = false;
};

// A good request, of which the input overwrites bytes: pairs of {place, value}.
template <typename Message>
Message patched(Message message, const std::uint8_t* bytes, std::size_t count) {
  auto* raw = reinterpret_cast<std::uint8_t*>(&message);
  for (std::size_t i = 0; i + 1 < count; i += 2) raw[bytes[i] % sizeof(Message)] = bytes[i + 1];
  return message;
}

void act(Server& server, Stranger& stranger, std::uint8_t action, const std::uint8_t* bytes,
         std::size_t count) {
  const int fds = action >> 4;
  switch (action % 8) {
    case 0: stranger.connect(); break;
    case 1: stranger.send(bytes, count, fds % 4); break;
    case 2: {
      auto request = lib::make_message<lib::AttachRequest>(lib::MessageType::kAttach);
      request.layout_hash = lib::layout_hash();
      request = patched(request, bytes, count);
      stranger.send(&request, sizeof(request), fds % 4);
      break;
    }
    case 3: {
      constexpr std::array<const char*, 8> kCommands = {"status", "pools",  "clients", "trim",
                                                        "audit",  "reload", "",        "?"};
      auto request = lib::make_message<lib::AdminRequest>(lib::MessageType::kAdmin);
      lib::set_text(request.command, kCommands[static_cast<std::size_t>(fds) % kCommands.size()]);
      lib::set_text(request.argument,
                    std::string_view(reinterpret_cast<const char*>(bytes), count));
      stranger.send(&request, sizeof(request), 0);
      break;
    }
    case 4: {
      auto request = lib::make_message<lib::AdminRequest>(lib::MessageType::kAdmin);
      request = patched(request, bytes, count);
      stranger.send(&request, sizeof(request), fds % 2);
      break;
    }
    case 5: stranger.leave(); break;
    case 6: stranger.close(); break;
    default: server.turn(); break;
  }
}

void check_pools(Daemon& daemon) {
  for (const auto& pool : daemon.pools()) {
    for (std::uint32_t r = 0; r < pool->memory->ring_count(); ++r) {
      const lib::AuditReport report = lib::audit_ring(pool->memory->ring(r));
      require(report.clean(), "a ring is damaged");
      require(report.free == pool->memory->published_slots(r), "a slot is not free");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t count) {
  static Server server;
  server.renew_if_crowded();
  {
    std::array<Stranger, kConnections> strangers = {Stranger(server), Stranger(server),
                                                    Stranger(server), Stranger(server)};
    std::size_t at = 0;
    for (std::size_t message = 0; message < kMostMessages && at + 4 <= count; ++message) {
      const std::uint8_t action = bytes[at];
      Stranger& stranger = strangers[bytes[at + 1] % kConnections];
      const std::size_t wanted = bytes[at + 2] | std::size_t{bytes[at + 3]} << 8;
      at += 4;
      const std::size_t length = std::min(wanted, count - at);
      act(server, stranger, action, bytes + at, length);
      at += length;
    }
    for (Stranger& stranger : strangers) stranger.leave();
  }
  server.turn();
  check_pools(server.daemon());
  return 0;
}
