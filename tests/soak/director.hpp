#pragma once
// Director: starts the daemon and the clients, kills, stops and replaces them by a schedule that a seed makes, and
// at the end counts what came back.
//
// Errors: throws Interrupted when interrupt() was called, std::runtime_error when the daemon or a client ended by
// itself. The destructors end every process and remove the folder.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "board.hpp"
#include "mailboxes.hpp"
#include "tests/integration/support/child_process.hpp"
#include "tests/integration/support/daemon_process.hpp"
#include "tests/integration/support/pattern.hpp"

namespace zeropool::soak {

// What is broken on purpose, to show that it is noticed.
enum class Breakage {
  kNone,
  kPut,   // a client writes into slots that it has put
  kKeep,  // a buffer is still held at the audit
};

struct SoakPlan {
  std::uint64_t seconds = 60;
  std::uint64_t seed = 1;
  bool daemon_kills = true;
  Breakage breakage = Breakage::kNone;
};

struct SoakResult {
  std::uint64_t kills = 0;
  std::uint64_t daemon_kills = 0;
  std::uint64_t lost = 0;     // slots that are not back at the end, and clients that were forgotten
  std::uint64_t doubled = 0;  // slots that two had at once
};

struct Interrupted {};
// Async-signal-safe: the soak ends as soon as it looks.
void interrupt() noexcept;

class Director {
 public:
  explicit Director(const SoakPlan& plan);
  ~Director();
  Director(const Director&) = delete;
  Director& operator=(const Director&) = delete;

  SoakResult run();
  const Board& board() const { return *board_; }

 private:
  struct Place {
    std::unique_ptr<testing::ChildProcess> client;
    std::int64_t resume_ns = 0;  // 0: it is not stopped
  };

  void start_client(std::size_t place);
  void kill_client(std::size_t place);
  void stop_client(std::size_t place);
  void resume_client(std::size_t place);
  void kill_daemon();
  void count_forgotten();
  std::string logged_about(std::uint32_t id) const;
  void load();
  void end_clients();
  SoakResult count();
  void look_around();
  [[noreturn]] void fail(const std::string& what);

  SoakPlan plan_;
  testing::Random random_;
  SharedBoard board_;
  Mailboxes mailboxes_;
  testing::DaemonProcess daemon_;
  std::array<Place, kClients> places_;
  std::uint64_t clients_started_ = 0;
  std::uint64_t kills_ = 0;
  std::uint64_t daemon_kills_ = 0;
  std::uint64_t forgotten_ = 0;  // clients that a daemon did not find again
};

}  // namespace zeropool::soak
