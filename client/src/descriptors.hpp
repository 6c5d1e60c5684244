#pragma once
// Descriptors: the three that come with an attach, and two for async gets, in a program that may close all descriptors (closefrom, daemons in
// a hurry) and open others under the same numbers.
//
// Invariant: D1  Nothing is written to, asked of, or closed under a number that is no longer the file that came
//            with the attach. The socket tells: it has an inode of its own, and who closes in ranges closes it too;
//            eventfds share one inode with others of their kind.
//
// Thread safety: set and closed under guard->lock; ring() and ours() by any thread while attached; what is for async gets
// under guard->async_lock, while attached.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <sys/types.h>

#include <zeropool/lib/unique_fd.hpp>

namespace zeropool::client {

class Descriptors {
 public:
  Descriptors() = default;
  ~Descriptors() { close(); }
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;

  void take(lib::UniqueFd socket, lib::UniqueFd doorbell, lib::UniqueFd wake) noexcept;
  // False: this program has closed the connection itself, or there is none.
  bool ours() const noexcept { return still_there(kSocket); }
  // Only while ours().
  int socket() const noexcept { return files_[kSocket].fd; }
  // Another connection, under the same number: other threads poll it. False: it stays as it was.
  bool replace_socket(lib::UniqueFd socket) noexcept;
  // Wakes the daemon.
  void ring() const noexcept;
  // For async gets. One descriptor, readable when the daemon has written `wake`, or the timer is over. -1 and errno.
  int open_events() noexcept;
  // -1: never opened, or no longer ours.
  int events() const noexcept;
  // Over at `at_ns` (CLOCK_MONOTONIC), once; what has passed is over at once. Only while events() is there.
  void set_timer(std::int64_t at_ns) const noexcept;
  // What has made events() readable, taken back.
  struct Events {
    bool woken = false;
    bool timer = false;
  };
  Events take_events() const noexcept;
  // Closes what is still ours, forgets the rest.
  void close() noexcept;

 private:
  enum Which : std::size_t { kSocket, kDoorbell, kWake, kTimer, kEvents, kCount };
  static constexpr std::size_t kGiven = 3;  // by the attach
  struct File {
    int fd = -1;
    dev_t device = 0;
    std::atomic<ino_t> inode{0};  // the socket's changes when it is replaced
  };
  bool still_there(Which which) const noexcept;
  void keep(Which which, lib::UniqueFd fd) noexcept;

  File files_[kCount];
};

}  // namespace zeropool::client
