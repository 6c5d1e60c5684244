#pragma once
// Where clients leave handles for each other: a pipe of packets for each place, so that a reader killed in the
// middle takes a whole parcel with it or none.

#include <cstddef>
#include <cstdint>
#include <fcntl.h>
#include <stdexcept>
#include <unistd.h>

#include <zeropool/zeropool.hpp>

#include "board.hpp"

namespace zeropool::soak {

// A handle on its way, and what the buffer must contain.
struct Parcel {
  Handle handle;
  std::uint64_t mark;
};

class Mailboxes {
 public:
  Mailboxes() {
    for (auto& box : ends_) {
      if (::pipe2(box, O_NONBLOCK | O_DIRECT | O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    }
  }
  ~Mailboxes() {
    for (const auto& box : ends_) {
      ::close(box[0]);
      ::close(box[1]);
    }
  }
  Mailboxes(const Mailboxes&) = delete;
  Mailboxes& operator=(const Mailboxes&) = delete;

  // False: it is full.
  bool leave(std::size_t place, const Parcel& parcel) {
    return ::write(ends_[place][1], &parcel, sizeof(parcel)) > 0;
  }
  bool take(std::size_t place, Parcel& parcel) {
    return ::read(ends_[place][0], &parcel, sizeof(parcel)) == static_cast<ssize_t>(sizeof(parcel));
  }

 private:
  int ends_[kClients][2];
};

}  // namespace zeropool::soak
