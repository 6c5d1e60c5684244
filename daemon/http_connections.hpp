#pragma once
// The open connections of one HTTP listener, and which of them must make room.
//
// Thread safety: one thread's, the listener's.
// Invariants:
//   H1  A connection has `patience` from its start, or from its last answer, to the next answer; whoever comes later
//       drops those that took longer. A client that sends or reads a byte now and then is dropped like a silent one.
//   H2  Of more than `most` connections the oldest goes. So whoever is quick is served, however many are slow.
// A dropped connection is shut down, not closed: its descriptor stays its server's.

#include <chrono>
#include <cstddef>
#include <list>
#include <unordered_map>

namespace zeropool::daemon {

class HttpConnections {
 public:
  using Clock = std::chrono::steady_clock;

  HttpConnections(std::size_t most, Clock::duration patience) : most_(most), patience_(patience) {}

  void opened(int fd, Clock::time_point now);
  void answered(int fd, Clock::time_point now);
  void closed(int fd);
  std::size_t count() const { return by_age_.size(); }

 private:
  struct Connection {
    int fd;
    Clock::time_point since;
    bool dropped;
  };
  static void drop(Connection& connection);

  std::size_t most_;
  Clock::duration patience_;
  std::list<Connection> by_age_;  // the oldest first
  std::unordered_map<int, std::list<Connection>::iterator> places_;
};

}  // namespace zeropool::daemon
