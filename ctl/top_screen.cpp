#include "ctl/top_screen.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "ctl/display_text.hpp"
#include "ctl/render.hpp"
#include "ctl/table.hpp"

namespace zeropool::ctl {
namespace {

using nlohmann::json;

constexpr const char* kBold = "\x1b[1m";
constexpr const char* kReverse = "\x1b[7m";
constexpr const char* kGood = "\x1b[32m";
constexpr const char* kBad = "\x1b[1;31m";
constexpr const char* kUsed = "\x1b[34m";
constexpr const char* kPlain = "\x1b[0m";
constexpr std::size_t kGap = 2;
constexpr std::size_t kNarrowName =
    10;  // of the first column, before another one is dropped for it

// A line that is built from the left, and takes no more than `columns` (N1).
class Line {
 public:
  explicit Line(std::size_t columns) : left_(columns) {}

  Line& add(const std::string& text, const char* style = "") {
    const DisplayText shown = displayed(text, left_);
    text_ += style + shown.text + (*style == 0 ? "" : kPlain);
    left_ -= shown.columns;
    return *this;
  }
  // Blanks, so that `columns` more stand at the right end.
  Line& space_before(std::size_t columns) {
    if (left_ > columns) add(std::string(left_ - columns, ' '));
    return *this;
  }
  std::size_t left() const { return left_; }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  std::size_t left_;
};

std::size_t width_of(const std::string& text) { return displayed(text, text.size()).columns; }

std::string percent_of(double part) { return std::to_string(static_cast<int>(part * 100)) + "%"; }

// [######....] or blocks, so many columns in all.
std::string bar(double part, std::size_t columns, bool utf8) {
  const auto filled =
      static_cast<std::size_t>(std::clamp(part, 0.0, 1.0) * static_cast<double>(columns));
  std::string text;
  for (std::size_t i = 0; i < columns; ++i) {
    text += i < filled ? (utf8 ? "\u2588" : "#") : (utf8 ? "\u2591" : ".");
  }
  return text;
}

std::string budget_words(const json& now) {
  const std::uint64_t committed = number_at(now, "committed_bytes");
  const std::uint64_t budget = number_at(now, "budget_bytes");
  const double part =
      budget == 0 ? 0 : static_cast<double>(committed) / static_cast<double>(budget);
  return human_size(committed) + " of " + human_size(budget) + " (" + percent_of(part) + ")";
}

std::string flow_words(const json& now, const json& before) {
  const json& totals = object_at(now, "totals");
  const json& earlier = object_at(before, "totals");
  const double gets = top_rate(now, before, static_cast<double>(number_at(totals, "gets")),
                               static_cast<double>(number_at(earlier, "gets")));
  double hits = gets < 0 ? -1 : top_hit_rate(totals, earlier);
  if (hits < 0) hits = top_hit_rate(totals, json::object());
  return human_rate(gets) + " gets/s, hit rate " + (hits < 0 ? "-" : human_percent(hits)) + ", " +
         human_count(number_at(totals, "orders_waiting")) + " waiting";
}

std::string title_words(const json& now) {
  const std::string machine = text_at(now, "machine");
  return "zeropoold" + (machine.empty() ? "" : " on " + machine) + ", up " +
         human_duration(number_at(now, "uptime_seconds"));
}

std::string pace_words(double seconds) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "every %g s", seconds);
  return text.data();
}

std::string first_warning(const json& now) {
  const json& warnings = list_at(now, "warnings");
  if (warnings.empty()) return {};
  const json& warning = warnings.front();
  const std::string pool = text_at(warning, "pool");
  return (pool.empty() ? "" : "pool " + pool + ": ") + text_at(warning, "what") + ": " +
         text_at(warning, "remedy");
}

void add_head(std::vector<std::string>& lines, const json& now, const json& before,
              const TopState& state, std::size_t columns) {
  const auto colour = [&](const char* style) { return state.colour ? style : ""; };
  Line title(columns);
  title.add(title_words(now), kBold);
  const std::string pace = pace_words(state.interval_seconds);
  if (title.left() > width_of(pace) + kGap) title.space_before(width_of(pace)).add(pace);
  lines.push_back(title.text());
  Line health(columns);
  if (!state.gone.empty()) {
    health.add("no answer since " + state.gone_since + ", asking again: " + state.gone,
               state.colour ? kBad : kReverse);
  } else {
    const bool well = truth_at(now, "healthy");
    health.add(text_at(now, "verdict"), well ? colour(kGood) : (state.colour ? kBad : kReverse));
    const std::string warning = first_warning(now);
    if (!warning.empty() && health.left() > 12) health.add(" " + warning);
  }
  lines.push_back(health.text());
  const std::uint64_t budget = number_at(now, "budget_bytes");
  const double part = budget == 0 ? 0
                                  : static_cast<double>(number_at(now, "committed_bytes")) /
                                        static_cast<double>(budget);
  const std::string budget_text = budget_words(now);
  const std::string flow = flow_words(now, before);
  Line memory(columns);
  if (columns > width_of(budget_text) + width_of(flow) + 16) {
    const std::size_t most = columns - width_of(budget_text) - width_of(flow) - 5;
    memory.add(bar(part, std::min<std::size_t>(most, 40), state.utf8), colour(kUsed)).add(" ");
  }
  memory.add(budget_text);
  if (memory.left() > width_of(flow) + 3) {
    memory.add("   " + flow);
    lines.push_back(memory.text());
  } else {
    lines.push_back(memory.text());
    lines.push_back(Line(columns).add(flow).text());
  }
}

void add_tabs(std::vector<std::string>& lines, const TopState& state, std::size_t columns) {
  Line tabs(columns);
  for (std::size_t i = 0; i < kTopViews; ++i) {
    const auto view = static_cast<TopView>(i);
    const std::string title = " " + std::to_string(i + 1) + " " + top_view_title(view) + " ";
    tabs.add(title, view == state.view ? kReverse : "");
  }
  lines.push_back(tabs.text());
}

struct Layout {
  std::vector<std::size_t> widths;  // of the columns that are shown
  std::size_t hidden = 0;
};

// The first column gives way down to kNarrowName, then columns are dropped from the end (N2).
Layout layout_of(const TopList& list, std::size_t screen) {
  Layout layout;
  for (std::size_t i = 0; i < list.columns.size(); ++i) {
    std::size_t widest = width_of(list.columns[i].title) + 1;  // with the mark of the sort
    for (const auto& row : list.rows) widest = std::max(widest, width_of(row[i].text));
    layout.widths.push_back(widest);
  }
  const auto total = [&] {
    std::size_t sum = 0;
    for (const std::size_t width : layout.widths) sum += width + kGap;
    return sum - kGap;
  };
  const std::size_t name = layout.widths.front();
  const std::size_t narrow = std::min(name, kNarrowName);
  while (layout.widths.size() > 1 && total() - name + narrow > screen) {
    layout.widths.pop_back();
    ++layout.hidden;
  }
  const std::size_t others = total() - name;
  layout.widths.front() = std::min(name, screen > others ? screen - others : 1);
  return layout;
}

void add_cell(Line& line, const std::string& text, std::size_t width, bool left,
              const char* style) {
  const DisplayText shown = displayed(text, width);
  const std::string blanks(width - shown.columns, ' ');
  line.add(left ? shown.text + blanks : blanks + shown.text, style);
}

std::string header_line(const TopList& list, const Layout& layout, const TopSort& sort,
                        std::size_t columns) {
  Line line(columns);
  for (std::size_t i = 0; i < layout.widths.size(); ++i) {
    if (i > 0) line.add(std::string(kGap, ' '), kReverse);
    const bool upwards = list.columns[i].is_text != sort.reversed;
    const std::string mark = i == sort.column ? (upwards ? "^" : "v") : "";
    add_cell(line, list.columns[i].title + mark, layout.widths[i], list.columns[i].is_text,
             kReverse);
  }
  line.add(std::string(line.left(), ' '), kReverse);
  return line.text();
}

std::string row_line(const TopList& list, const std::vector<TopCell>& row, const Layout& layout,
                     std::size_t columns) {
  Line line(columns);
  for (std::size_t i = 0; i < layout.widths.size(); ++i) {
    if (i > 0) line.add(std::string(kGap, ' '));
    add_cell(line, row[i].text, layout.widths[i], list.columns[i].is_text, "");
  }
  return line.text();
}

std::string foot_line(const TopList& list, const Layout& layout, std::size_t shown,
                      const TopState& state, std::size_t columns) {
  std::vector<std::string> remarks;
  const std::size_t below = list.rows.size() - std::min(list.rows.size(), state.first_row + shown);
  if (state.first_row > 0) remarks.push_back(std::to_string(state.first_row) + " rows above");
  if (below > 0) remarks.push_back(std::to_string(below) + " rows below");
  if (layout.hidden > 0) remarks.push_back(std::to_string(layout.hidden) + " columns hidden");
  std::string text;
  for (const std::string& remark : remarks) text += (text.empty() ? "" : ", ") + remark;
  Line line(columns);
  if (!text.empty()) line.add(text);
  const std::string keys = "q quit  tab view  < > sort  ? help";
  if (line.left() > width_of(keys) + 2)
    line.space_before(width_of(keys)).add(keys);
  else if (text.empty())
    line.add("q quit  ? help");
  return line.text();
}

void add_help(std::vector<std::string>& lines, std::size_t columns) {
  for (const char* text :
       {"1 2 3, tab     pools, clients, classes", "< >, arrows    sort by another column",
        "r              the other way round",
        "up, down       scroll; page up, page down, home, end", "space          ask now",
        "?, h           this help", "q              quit", "",
        "GETS/S and the like are of the last interval;", "HIT RATE too, where anything was got.",
        "any key: back"}) {
    lines.push_back(Line(columns).add(text).text());
  }
}

}  // namespace

std::vector<std::string> top_screen(const json& now, const json& before, TopState& state,
                                    const ScreenSize& screen) {
  std::vector<std::string> lines;
  if (now.is_object()) {
    add_head(lines, now, before, state, screen.columns);
  } else {
    lines.push_back(Line(screen.columns).add("zeropoold", kBold).text());
    lines.push_back(Line(screen.columns).add(state.gone).text());
  }
  if (state.help) {
    add_help(lines, screen.columns);
    lines.resize(screen.lines);
    return lines;
  }
  add_tabs(lines, state, screen.columns);
  TopList list = top_list(state.view, now, before);
  sort_rows(list, state.sort());
  const Layout layout = layout_of(list, screen.columns);
  lines.push_back(header_line(list, layout, state.sort(), screen.columns));
  const std::size_t room = screen.lines > lines.size() + 1 ? screen.lines - lines.size() - 1 : 0;
  const std::size_t last_first = list.rows.size() > room ? list.rows.size() - room : 0;
  state.first_row = std::min(state.first_row, last_first);
  const std::size_t shown = std::min(room, list.rows.size() - state.first_row);
  for (std::size_t i = 0; i < shown; ++i) {
    lines.push_back(row_line(list, list.rows[state.first_row + i], layout, screen.columns));
  }
  lines.resize(std::min(lines.size(), screen.lines > 0 ? screen.lines - 1 : 0));
  while (lines.size() + 1 < screen.lines) lines.emplace_back();
  if (screen.lines > 0) {
    lines.push_back(foot_line(list, layout, shown, state, screen.columns));
  }
  return lines;
}

std::string top_text(const json& now, const json& before, const TopState& state) {
  std::string text = printable(title_words(now)) + "\n" + printable(text_at(now, "verdict")) + "\n";
  for (const json& warning : list_at(now, "warnings")) {
    const std::string pool = text_at(warning, "pool");
    text += printable("  " + (pool.empty() ? "" : "pool " + pool + ": ") +
                      text_at(warning, "what") + ": " + text_at(warning, "remedy")) +
            "\n";
  }
  text += budget_words(now) + " committed, " + flow_words(now, before) + "\n\n";
  TopList list = top_list(state.view, now, before);
  sort_rows(list, state.sort());
  std::vector<Table::Column> columns;
  for (const TopColumn& column : list.columns) {
    columns.push_back({column.title, column.is_text ? Align::kLeft : Align::kRight});
  }
  Table table(std::move(columns));
  for (const auto& row : list.rows) {
    std::vector<std::string> cells;
    cells.reserve(row.size());
    for (const TopCell& cell : row) cells.push_back(cell.text);
    table.add(std::move(cells));
  }
  return text + table.text();
}

}  // namespace zeropool::ctl
