#include "ctl/terminal.hpp"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <poll.h>
#include <stdexcept>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace zeropool::ctl {
namespace {

// Alternate screen, no cursor, no wrapping; and back.
constexpr const char* kEnter = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
constexpr const char* kLeave = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";
constexpr std::array<int, 6> kSignals = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH};

void write_whole(const std::string& text) {
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t written = ::write(STDOUT_FILENO, text.data() + done, text.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // the terminal is gone; wait() says so
    done += static_cast<std::size_t>(written);
  }
}

TerminalEvent key_event(Key key, char character = 0) {
  return {TerminalEvent::Kind::kKey, key, character, 0};
}

}  // namespace

std::string Terminal::why_not() {
  if (::isatty(STDIN_FILENO) == 0 || ::isatty(STDOUT_FILENO) == 0) {
    return "standard input and output are no terminal; use --once";
  }
  const char* kind = std::getenv("TERM");
  if (kind == nullptr || *kind == 0 || std::strcmp(kind, "dumb") == 0) {
    return "this terminal cannot be drawn on (TERM is dumb or not set); use --once";
  }
  return {};
}

Terminal::Terminal() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : kSignals) ::sigaddset(&set, signal);
  if (::sigprocmask(SIG_BLOCK, &set, &mask_before_) != 0) throw std::runtime_error("sigprocmask");
  signals_.reset(::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!signals_ || ::tcgetattr(STDIN_FILENO, &before_) != 0) {
    ::sigprocmask(SIG_SETMASK, &mask_before_, nullptr);
    throw std::runtime_error(std::string("cannot use the terminal: ") + std::strerror(errno));
  }
  enter();
}

Terminal::~Terminal() {
  leave();
  ::sigprocmask(SIG_SETMASK, &mask_before_, nullptr);
}

void Terminal::enter() {
  termios raw = before_;
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);  // keys at once; ^C and ^Z stay signals
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 0;
  ::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  write_whole(kEnter);
}

void Terminal::leave() {
  write_whole(kLeave);
  ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);  // what was typed meanwhile was for us
}

ScreenSize Terminal::size() const {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) {
    return {};
  }
  return {size.ws_col, size.ws_row};
}

void Terminal::draw(const std::vector<std::string>& lines) {
  std::string text = "\x1b[H";
  // Each line is blanked before it is written: after a whole one the cursor still stands on its last column.
  for (std::size_t i = 0; i < lines.size(); ++i) {
    text += std::string(i == 0 ? "" : "\r\n") + "\x1b[0m\x1b[K" + lines[i];
  }
  write_whole(text);
}

TerminalEvent Terminal::wait(std::chrono::milliseconds most) {
  if (!typed_.empty()) return take_key();
  std::array<pollfd, 2> fds = {{{signals_.get(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}}};
  const int ready = ::poll(fds.data(), fds.size(), static_cast<int>(most.count()));
  if (ready <= 0) return {};
  if (fds[0].revents != 0) return take_signal();
  std::array<char, 256> bytes{};
  const ssize_t got = ::read(STDIN_FILENO, bytes.data(), bytes.size());
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return {};
  if (got == 0 && (fds[1].revents & (POLLHUP | POLLERR)) == 0) return {};  // somebody else took it
  if (got <= 0) return {TerminalEvent::Kind::kEnd, Key::kNone, 0, 0};
  typed_.assign(bytes.data(), static_cast<std::size_t>(got));
  return take_key();
}

TerminalEvent Terminal::take_signal() {
  signalfd_siginfo info{};
  if (::read(signals_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return {};
  const auto signal = static_cast<int>(info.ssi_signo);
  if (signal == SIGWINCH) return {TerminalEvent::Kind::kResized, Key::kNone, 0, 0};
  if (signal != SIGTSTP) return {TerminalEvent::Kind::kEnd, Key::kNone, 0, signal};
  leave();  // S1
  ::raise(SIGSTOP);
  ::tcgetattr(STDIN_FILENO, &before_);  // the shell may have changed it
  enter();
  return {TerminalEvent::Kind::kResized, Key::kNone, 0, 0};
}

TerminalEvent Terminal::take_key() {
  if (typed_.starts_with("\x1b")) return escape_sequence();
  const char character = typed_.front();
  typed_.erase(0, 1);
  return key_event(Key::kCharacter, character);
}

// ESC [ or ESC O, digits and semicolons, a letter or '~'. What is not known is swallowed whole.
TerminalEvent Terminal::escape_sequence() {
  std::size_t end = 1;
  if (end < typed_.size() && (typed_[end] == '[' || typed_[end] == 'O')) {
    ++end;
    while (end < typed_.size() && (typed_[end] < '@' || typed_[end] > '~')) ++end;
  }
  const std::string sequence = typed_.substr(1, end);
  typed_.erase(0, end + 1);
  constexpr std::pair<const char*, Key> kKeys[] = {
      {"[A", Key::kUp},    {"OA", Key::kUp},    {"[B", Key::kDown},    {"OB", Key::kDown},
      {"[C", Key::kRight}, {"OC", Key::kRight}, {"[D", Key::kLeft},    {"OD", Key::kLeft},
      {"[H", Key::kHome},  {"OH", Key::kHome},  {"[F", Key::kEnd},     {"OF", Key::kEnd},
      {"[1~", Key::kHome}, {"[4~", Key::kEnd},  {"[5~", Key::kPageUp}, {"[6~", Key::kPageDown}};
  for (const auto& [text, key] : kKeys) {
    if (sequence == text) return key_event(key);
  }
  return key_event(Key::kNone);
}

}  // namespace zeropool::ctl
