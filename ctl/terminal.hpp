#pragma once
// The whole screen of a terminal, for as long as this lives; then the terminal is as it was.
//
// By the control sequences of ECMA-48 that every terminal in use understands, and five of xterm's private modes: what is
// drawn is lines from the top, so there is nothing for curses to find out. No line wraps, whatever a terminal takes a
// character for: wrapping is off.
//
// Thread safety: one thread's, the only one of the program.
// Invariants:
//   S1  Signals that would end or stop the program are events of wait(), never handlers: the terminal is put back by the
//       one thread, and leave() always runs before the program ends or stops.

#include <chrono>
#include <signal.h>
#include <string>
#include <termios.h>
#include <vector>

#include <zeropool/lib/unique_fd.hpp>

namespace zeropool::ctl {

struct ScreenSize {
  std::size_t columns = 80;
  std::size_t lines = 24;
};

enum class Key { kNone, kCharacter, kUp, kDown, kLeft, kRight, kPageUp, kPageDown, kHome, kEnd };

struct TerminalEvent {
  enum class Kind { kTimeout, kKey, kResized, kEnd };
  Kind kind = Kind::kTimeout;
  Key key = Key::kNone;
  char character = 0;
  int signal = 0;  // of kEnd; 0: the terminal is gone
};

class Terminal {
 public:
  // Empty: standard input and output are a terminal that can be drawn on. Else why not, as a sentence.
  static std::string why_not();

  Terminal();
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  ScreenSize size() const;
  // As many lines as the screen has, without ends, each no wider than it.
  void draw(const std::vector<std::string>& lines);
  // Until a key, a new size, an end, or so long. SIGTSTP is done inside: stopped, and continued as kResized.
  TerminalEvent wait(std::chrono::milliseconds most);

 private:
  void enter();
  void leave();
  TerminalEvent take_signal();
  TerminalEvent take_key();
  TerminalEvent escape_sequence();

  termios before_{};
  sigset_t mask_before_{};
  zeropool::lib::UniqueFd signals_;
  std::string typed_;  // read and not yet taken
};

}  // namespace zeropool::ctl
