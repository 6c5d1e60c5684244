#include "ctl/top.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <optional>
#include <signal.h>
#include <thread>
#include <utility>

#include "ctl/admin_client.hpp"
#include "ctl/display_text.hpp"
#include "ctl/table.hpp"
#include "ctl/terminal.hpp"
#include "ctl/top_screen.hpp"

namespace zeropool::ctl {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

constexpr const char* kCommand = "top";
constexpr int kPatienceMs = 2'000;  // keys wait so long for a daemon that is stuck

std::string time_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  std::array<char, 16> text{};
  if (::localtime_r(&now, &parts) != nullptr) {
    std::strftime(text.data(), text.size(), "%H:%M:%S", &parts);
  }
  return text.data();
}

std::string same_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// False: there is no such view or column, `why` says which there are.
bool choose(const TopOptions& options, TopState& state, std::string& why) {
  std::string known;
  bool found = false;
  for (std::size_t i = 0; i < kTopViews; ++i) {
    const auto view = static_cast<TopView>(i);
    known += std::string(known.empty() ? "" : ", ") + top_view_title(view);
    if (options.view != top_view_title(view)) continue;
    state.view = view;
    found = true;
  }
  if (!found) {
    why = "there is no view " + options.view + "; there are: " + known;
    return false;
  }
  if (options.sort.empty()) return true;
  const TopList list = top_list(state.view, json::object(), json());
  known.clear();
  for (std::size_t i = 0; i < list.columns.size(); ++i) {
    known += std::string(known.empty() ? "" : ", ") + same_case(list.columns[i].title);
    if (same_case(options.sort) != same_case(list.columns[i].title)) continue;
    state.sort() = {i, false};
    return true;
  }
  why = "there is no column " + options.sort + "; there are: " + known;
  return false;
}

int complain(int exit_code, const std::string& sentence) {
  std::fprintf(stderr, "zeropoolctl: %s\n", printable(sentence).c_str());
  return exit_code;
}

int print(const std::string& text) {
  if (std::fputs(text.c_str(), stdout) != EOF && std::fflush(stdout) == 0) return kExitOk;
  std::perror("zeropoolctl: cannot write");
  return kExitFailed;
}

int run_once(const TopOptions& options, const TopState& state) {
  const AdminAnswer first = ask_daemon(options.socket, kCommand, "");
  if (first.exit_code != kExitOk) return complain(first.exit_code, first.error);
  if (options.as_json) return print(first.text);
  std::this_thread::sleep_for(std::chrono::duration<double>(options.interval_seconds));
  const AdminAnswer second = ask_daemon(options.socket, kCommand, "");
  if (second.exit_code != kExitOk) return complain(second.exit_code, second.error);
  return print(top_text(second.document, first.document, state));
}

// The daemon as it is seen: the last two documents, and whether it answers.
struct Watch {
  json now;
  json before;

  void ask(const std::string& socket, TopState& state) {
    AdminAnswer answer = ask_daemon(socket, kCommand, "", kPatienceMs);
    if (answer.exit_code == kExitOk) {
      // No rates over the time that nobody answered.
      before = state.gone.empty() ? std::move(now) : json();
      now = std::move(answer.document);
      state.gone.clear();
      return;
    }
    if (state.gone.empty()) state.gone_since = time_now();
    state.gone = std::move(answer.error);
    before = json();
  }
};

void choose_view(TopState& state, std::size_t number) {
  state.view = static_cast<TopView>(number % kTopViews);
  state.first_row = 0;
}

void sort_by_next(TopState& state, std::size_t steps) {
  const std::size_t columns = top_list(state.view, json::object(), json()).columns.size();
  state.sort() = {(state.sort().column + steps) % columns, false};
}

enum class Wish { kNothing, kAsk, kQuit };

Wish obey_character(char character, TopState& state) {
  const auto view = static_cast<std::size_t>(state.view);
  switch (character) {
    case 'q': return Wish::kQuit;
    case '1':
    case '2':
    case '3': choose_view(state, static_cast<std::size_t>(character - '1')); break;
    case '\t': choose_view(state, view + 1); break;
    case '>':
    case '.': sort_by_next(state, 1); break;
    case '<':
    case ',':
      sort_by_next(state, top_list(state.view, json::object(), json()).columns.size() - 1);
      break;
    case 'r': state.sort().reversed = !state.sort().reversed; break;
    case 'h':
    case '?': state.help = true; break;
    case ' ': return Wish::kAsk;
    default: break;
  }
  return Wish::kNothing;
}

Wish obey(const TerminalEvent& event, TopState& state, std::size_t page) {
  const bool quits = event.key == Key::kCharacter && event.character == 'q';
  if (state.help && !quits) {
    state.help = false;
    return Wish::kNothing;
  }
  std::size_t& row = state.first_row;  // the screen brings it back to what there is
  switch (event.key) {
    case Key::kCharacter: return obey_character(event.character, state);
    case Key::kUp: row -= std::min<std::size_t>(row, 1); break;
    case Key::kDown: ++row; break;
    case Key::kPageUp: row -= std::min(row, page); break;
    case Key::kPageDown: row += page; break;
    case Key::kHome: row = 0; break;
    case Key::kEnd: row = static_cast<std::size_t>(-1) / 2; break;
    case Key::kRight: return obey_character('>', state);
    case Key::kLeft: return obey_character('<', state);
    case Key::kNone: break;
  }
  return Wish::kNothing;
}

// The signal that ended it, or 0.
int watch_live(const TopOptions& options, TopState& state) {
  Terminal terminal;
  Watch watch;
  const auto interval = std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(options.interval_seconds));
  Clock::time_point next = Clock::now();
  for (;;) {
    if (Clock::now() >= next) {
      watch.ask(options.socket, state);
      next = Clock::now() + interval;
    }
    const ScreenSize size = terminal.size();
    terminal.draw(top_screen(watch.now, watch.before, state, size));
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now());
    const TerminalEvent event = terminal.wait(std::max(left, std::chrono::milliseconds(0)));
    if (event.kind == TerminalEvent::Kind::kEnd) return event.signal;
    if (event.kind != TerminalEvent::Kind::kKey) continue;
    const Wish wish = obey(event, state, std::max<std::size_t>(size.lines, 8) - 7);
    if (wish == Wish::kQuit) return 0;
    if (wish == Wish::kAsk) next = Clock::now();
  }
}

}  // namespace

int run_top(const TopOptions& options) {
  TopState state;
  state.utf8 = use_locale();
  state.interval_seconds = options.interval_seconds;
  const char* no_colour = std::getenv("NO_COLOR");
  state.colour = no_colour == nullptr || *no_colour == 0;
  std::string why;
  if (!choose(options, state, why)) return complain(kExitUsage, why);
  if (options.once || options.as_json) return run_once(options, state);
  why = Terminal::why_not();
  if (!why.empty()) return complain(kExitUsage, why);
  const int signal = watch_live(options, state);
  if (signal != 0) {
    ::signal(signal, SIG_DFL);
    ::raise(signal);
  }
  return kExitOk;
}

}  // namespace zeropool::ctl
