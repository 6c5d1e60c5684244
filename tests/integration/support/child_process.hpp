#pragma once
// ChildProcess: a function in a forked child of this process, and a link for plain values.
//
// A child ends by _exit: no destructor of the parent's objects runs in it. An exception of the
// function is reported (failure()), a crash is its signal (wait().signal). It dies with its parent.

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <sys/types.h>
#include <type_traits>

#include "program.hpp"

namespace zeropool::testing {

// One end of a socket pair; each value is one packet.
class Link {
 public:
  explicit Link(int fd) : fd_(fd) {}
  int fd() const { return fd_; }

  template <typename T>
  void send(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    send_bytes(&value, sizeof(value));
  }
  // Throws when the other side has ended, sent something else, or `limit` has passed.
  template <typename T>
  T receive(std::chrono::milliseconds limit = std::chrono::seconds(60)) {
    static_assert(std::is_trivially_copyable_v<T>);
    T value{};
    receive_bytes(&value, sizeof(value), limit);
    return value;
  }
  // "I am so far" and "wait until the other is".
  void signal() { send('.'); }
  void await(std::chrono::milliseconds limit = std::chrono::seconds(60)) { receive<char>(limit); }

 private:
  void send_bytes(const void* bytes, std::size_t count);
  void receive_bytes(void* bytes, std::size_t count, std::chrono::milliseconds limit);

  int fd_;
};

class ChildProcess {
 public:
  using Body = std::function<void(Link& parent)>;

  explicit ChildProcess(const Body& body);
  ~ChildProcess();  // kills what still runs
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  Link& link() { return link_; }
  void send_signal(int signal);
  // Its end, after `limit` by SIGKILL.
  End wait(std::chrono::milliseconds limit = std::chrono::seconds(60));
  End kill();
  // What the function threw, or an empty text; after wait().
  const std::string& failure() const { return failure_; }

 private:
  pid_t pid_ = -1;
  Link link_{-1};
  int failure_fd_ = -1;
  std::string failure_;
  std::optional<End> end_;
};

// Inside a child, in place of CHECK.
void expect(bool condition, const std::string& what);

template <typename Outcome>
struct ChildOutcome {
  End end;
  std::string failure;
  Outcome value{};
};

// Runs it to its end and returns what it returned.
template <typename Outcome>
ChildOutcome<Outcome> run_in_child(const std::function<Outcome()>& body,
                                   std::chrono::milliseconds limit = std::chrono::seconds(60)) {
  static_assert(std::is_trivially_copyable_v<Outcome>);
  ChildProcess child([&](Link& parent) { parent.send(body()); });
  ChildOutcome<Outcome> outcome;
  try {
    outcome.value = child.link().template receive<Outcome>(limit);
  } catch (const std::exception&) {
    // Its end tells.
  }
  outcome.end = child.wait(limit);
  outcome.failure = child.failure();
  return outcome;
}

}  // namespace zeropool::testing
