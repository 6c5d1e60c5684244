#pragma once
// What `zeropoolctl top` lists: rows and columns of a view, from the daemon's document and the one before it.
//
// Thread safety: functions of their arguments.
// Errors: a document of another version may lack keys: what is missing is shown as nothing or 0.

#include <cstddef>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace zeropool::ctl {

enum class TopView { kPools, kClients, kClasses };
inline constexpr std::size_t kTopViews = 3;
const char* top_view_title(TopView view);

struct TopColumn {
  const char* title;
  bool is_text = false;  // left, and sorted upwards
};

struct TopCell {
  std::string text;
  double number = 0;  // what a column of numbers is sorted by
};

struct TopList {
  std::vector<TopColumn> columns;  // the most wanted first: a narrow screen drops them from the end
  std::vector<std::vector<TopCell>> rows;
};

struct TopSort {
  std::size_t column = 1;
  bool reversed = false;
};

// `before`: null when there is none, or it is of a daemon before this one; then there are no rates.
TopList top_list(TopView view, const nlohmann::json& now, const nlohmann::json& before);
void sort_rows(TopList& list, const TopSort& sort);

// Per second, of a counter of the same daemon; less than zero: not known.
double top_rate(const nlohmann::json& now, const nlohmann::json& before, double of_now,
                double of_before);
std::string human_rate(double per_second);  // "-", "12", "365.7 k", "1.25 M"
// Of the gets between the two that were served, the part that needed no order; less than zero: there were none.
double top_hit_rate(const nlohmann::json& row, const nlohmann::json& row_before);

}  // namespace zeropool::ctl
