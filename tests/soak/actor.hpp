#pragma once
// Actor: one thread's operations on the pool, at random.
//
// It fills what it holds with a pattern of its own and looks at it again before it gives it away: a second holder
// of the same slot breaks it.
//
// Thread safety: one thread's.

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <zeropool/zeropool.hpp>

#include "board.hpp"
#include "mailboxes.hpp"
#include "stall_clock.hpp"
#include "tests/integration/support/pattern.hpp"

namespace zeropool::soak {

// What all actors of a soak have in common.
struct Scene {
  Board& board;
  Mailboxes& mailboxes;
};

class Actor {
 public:
  // `place`: of its client. `shown`: see StallClock. `breaks`: it writes into a slot after it has put it.
  Actor(Pool pool, Scene scene, std::size_t place, std::uint64_t seed, bool shown, bool breaks);

  void step();
  // Puts all that it holds.
  void let_go();
  // In a forked child: what was inherited is inert.
  void forget_inherited() { held_.clear(); }
  StallClock& clock() { return clock_; }
  testing::Random& random() { return random_; }

 private:
  struct Held {
    Buffer buffer;
    std::uint64_t mark;
  };

  std::size_t any_size();
  Buffer get(std::size_t bytes);
  void keep(Buffer buffer);
  void refused(ErrorCode code);
  void check(const Buffer& buffer, std::uint64_t mark);
  void drop();
  void batch();
  void span();
  void hand_on();
  void receive();
  void take_what_there_is();

  Pool pool_;
  Scene scene_;
  std::size_t place_;
  testing::Random random_;
  StallClock clock_;
  bool breaks_;
  std::byte* stale_ = nullptr;  // of a breaker: where it has no business
  std::vector<Held> held_;
};

}  // namespace zeropool::soak
