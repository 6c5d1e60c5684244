#pragma once
// The screen of `zeropoolctl top`, as lines that fit it.
//
// Thread safety: functions of their arguments.
// Invariants:
//   N1  No line takes more columns than the screen has, and there are no more lines than it has.
//   N2  What a screen is too small for is left out as whole columns and whole rows, and the last line says so.

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "ctl/terminal.hpp"
#include "ctl/top_rows.hpp"

namespace zeropool::ctl {

struct TopState {
  TopView view = TopView::kPools;
  TopSort sorts[kTopViews] = {{1, false}, {1, false}, {2, false}};  // one a view
  std::size_t first_row = 0;
  bool help = false;
  bool colour = true;
  bool utf8 = true;
  double interval_seconds = 2;
  std::string gone;  // why the daemon does not answer; empty: it does
  std::string gone_since;

  TopSort& sort() { return sorts[static_cast<std::size_t>(view)]; }
  const TopSort& sort() const { return sorts[static_cast<std::size_t>(view)]; }
};

// As many lines as the screen has. May lower `state.first_row`, when there are fewer rows than that.
std::vector<std::string> top_screen(const nlohmann::json& now, const nlohmann::json& before,
                                    TopState& state, const ScreenSize& screen);

// The same for a pipe: plain text, every column, every row.
std::string top_text(const nlohmann::json& now, const nlohmann::json& before,
                     const TopState& state);

}  // namespace zeropool::ctl
