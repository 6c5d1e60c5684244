#pragma once
// ChildProcess: this program once more, in another role, with a socket to the coordinator.
//
// It dies with the coordinator, whatever happens to that (PR_SET_PDEATHSIG), and leaves the terminal's SIGINT to it.

#include <chrono>
#include <cstdint>
#include <string>
#include <sys/types.h>

#include "pipeline/messages.hpp"
#include "pipeline/options.hpp"
#include "pipeline/packet_socket.hpp"

namespace pipeline {

using Clock = std::chrono::steady_clock;

class ChildProcess {
 public:
  ChildProcess(const Options& options, Role role, std::uint32_t index, std::uint32_t incarnation);
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ~ChildProcess();  // kills what still runs

  Role role() const { return role_; }
  std::uint32_t index() const { return index_; }
  std::uint32_t incarnation() const { return incarnation_; }
  pid_t pid() const { return pid_; }
  PacketSocket& socket() { return socket_; }
  std::string name() const;  // "hasher 1", "hasher 1 (replacement)"

  void kill();
  // When its socket has ended: waits for the process itself.
  void reap();
  bool running() const { return !reaped_; }
  bool killed() const { return killed_; }  // by kill()
  bool exited_well() const;
  std::string end_text() const;  // "exited with status 1", "was killed by signal 9"
  double cpu_seconds() const { return cpu_seconds_; }
  double life_seconds() const { return std::chrono::duration<double>(ended_ - ready_at).count(); }

  // What the coordinator knows of it.
  bool ready = false;  // has said hello
  bool final = false;  // has said what it had to say
  bool replaced = false;
  Clock::time_point ready_at{};
  std::uint32_t client_id = 0;
  std::uint32_t batches = 0;  // of jobs that a reader has
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  FinalBody stats{};

 private:
  Role role_;
  std::uint32_t index_;
  std::uint32_t incarnation_;
  pid_t pid_ = -1;
  PacketSocket socket_;
  bool reaped_ = false;
  bool killed_ = false;
  int status_ = 0;
  double cpu_seconds_ = 0;
  Clock::time_point ended_{};
};

}  // namespace pipeline
