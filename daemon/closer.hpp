#pragma once
// Closes what came from a peer, on threads that the loop never waits for: a close may linger (TCP), wait for a server that
// does not answer (FUSE), or sleep in a driver.
//
// Thread safety: close, full and the destructor are one thread's (the loop's); the closing happens behind them.
// Invariants:
//   O1  What is handed over is closed once, by a thread of its own; those that wait are begun in the order of their coming.
//   O2  A close that hangs holds up its thread only: others go on by the other threads.
//   O3  There are no threads before something is to be closed, never more than `Limits::threads`, and none when nothing
//       has come for `Limits::idle`.
//   O4  Nobody waits for a thread of this: not close(), not the destructor. What they need outlives the Closer.
// Bound: close() takes whatever it is given, since nobody else could close it either. Whoever lets peers in asks full()
// first, and lets nobody in where it says so: so what waits is `Limits::waiting`, and what those who are in bring yet.
// Crash safety: the threads touch nothing but descriptors; a kill closes those. A forked child has none of the threads, and
// must not use the parent's Closer.

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>

#include "zeropool/lib/unique_fd.hpp"

namespace zeropool::daemon {

class Closer {
 public:
  struct Limits {
    std::size_t threads = 4;
    std::size_t waiting = 256;
    std::chrono::milliseconds idle = std::chrono::seconds(5);
  };
  // How a descriptor is closed; on one of the threads.
  using Close = std::function<void(int fd)>;

  Closer() : Closer(Limits(), close_emptied) {}
  Closer(Limits limits, Close close);
  ~Closer();  // what waits is still closed, where a thread comes to it before the process ends
  Closer(const Closer&) = delete;
  Closer& operator=(const Closer&) = delete;

  void close(lib::UniqueFd fd);
  // As much waits as may. (Where threads could not be started before, they are tried again.)
  bool full();

  std::size_t threads() const;
  std::size_t waiting() const;

  // Takes out of a socket what is unread, and closes it. Closed with something unread, it would tell the peer of a reset
  // in place of the last answer.
  static void close_emptied(int fd);

 private:
  struct State;
  void start_some();

  std::shared_ptr<State> state_;
};

}  // namespace zeropool::daemon
