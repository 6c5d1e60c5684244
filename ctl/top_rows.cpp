#include "ctl/top_rows.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

#include "ctl/render.hpp"
#include "ctl/table.hpp"

namespace zeropool::ctl {
namespace {

using nlohmann::json;
using Cells = std::vector<TopCell>;

TopCell word(const json& row, const char* key) { return {text_at(row, key), 0}; }

TopCell size(const json& row, const char* key) {
  const std::uint64_t bytes = number_at(row, key);
  return {human_size(bytes), static_cast<double>(bytes)};
}

TopCell count(const json& row, const char* key) {
  const std::uint64_t number = number_at(row, key);
  return {human_count(number), static_cast<double>(number)};
}

TopCell plain(const json& row, const char* key) {
  const std::uint64_t number = number_at(row, key);
  return {std::to_string(number), static_cast<double>(number)};
}

// The two documents, and the same row in each.
struct Pair {
  const json& now;
  const json& before;
  const json& row;
  const json& row_before;

  TopCell rate(const char* key) const {
    const double rate = row_before.is_null()
                            ? -1
                            : top_rate(now, before, static_cast<double>(number_at(row, key)),
                                       static_cast<double>(number_at(row_before, key)));
    return {human_rate(rate), rate};
  }
  // Of the moment; where nothing was got, of all that was.
  TopCell hits() const {
    const double of_moment = row_before.is_null() ? -1 : top_hit_rate(row, row_before);
    const double part = of_moment >= 0 ? of_moment : top_hit_rate(row, json::object());
    return {part < 0 ? "-" : human_percent(part), part};
  }
};

// The row of `list` that has the same words at `keys`; null: none has.
const json& same_row(const json& list, const json& row, std::initializer_list<const char*> keys) {
  static const json kNone;
  for (const json& candidate : list) {
    const bool same = std::all_of(keys.begin(), keys.end(), [&](const char* key) {
      return candidate.is_object() && candidate.value(key, json()) == row.value(key, json());
    });
    if (same) return candidate;
  }
  return kNone;
}

Cells pool_cells(const Pair& pair) {
  const json& row = pair.row;
  return {word(row, "name"),
          size(row, "committed_bytes"),
          pair.rate("gets"),
          pair.hits(),
          count(row, "orders_waiting"),
          size(row, "held_bytes"),
          count(row, "clients"),
          size(row, "limit_bytes"),
          size(row, "cached_bytes"),
          size(row, "free_bytes"),
          size(row, "cold_bytes"),
          count(row, "threads"),
          size(row, "reserved_bytes"),
          pair.rate("allocations"),
          pair.rate("failures"),
          size(row, "in_transit_bytes")};
}

Cells client_cells(const json& row) {
  return {word(row, "name"),
          size(row, "held_bytes"),
          size(row, "cached_bytes"),
          plain(row, "pid"),
          word(row, "pool"),
          {truth_at(row, "suspect") ? "hung up" : "", 0},
          size(row, "in_transit_bytes"),
          plain(row, "uid")};
}

Cells class_cells(const Pair& pair) {
  const json& row = pair.row;
  return {word(row, "pool"),
          {text_at(row, "class"), static_cast<double>(number_at(row, "class_bytes"))},
          pair.rate("gets"),
          pair.hits(),
          count(row, "held"),
          count(row, "slots"),
          plain(row, "node"),
          count(row, "cached"),
          count(row, "free"),
          count(row, "cold"),
          pair.rate("allocations"),
          pair.rate("failures"),
          pair.rate("contention_events"),
          count(row, "in_transit")};
}

std::vector<TopColumn> columns_of(TopView view) {
  switch (view) {
    case TopView::kPools:
      return {{"POOL", true}, {"COMMITTED"}, {"GETS/S"},   {"HIT RATE"},  {"WAITING"}, {"HELD"},
              {"CLIENTS"},    {"LIMIT"},     {"CACHED"},   {"FREE"},      {"COLD"},    {"THREADS"},
              {"RESERVED"},   {"ORDERS/S"},  {"FAILED/S"}, {"IN TRANSIT"}};
    case TopView::kClients:
      return {{"CLIENT", true}, {"HELD"},         {"CACHED"},     {"PID"},
              {"POOL", true},   {"REMARK", true}, {"IN TRANSIT"}, {"UID"}};
    case TopView::kClasses: break;
  }
  return {{"POOL", true}, {"CLASS"},    {"GETS/S"},       {"HIT RATE"},  {"HELD"},
          {"SLOTS"},      {"NODE"},     {"CACHED"},       {"FREE"},      {"COLD"},
          {"ORDERS/S"},   {"FAILED/S"}, {"CONTENTION/S"}, {"IN TRANSIT"}};
}

}  // namespace

const char* top_view_title(TopView view) {
  switch (view) {
    case TopView::kPools: return "pools";
    case TopView::kClients: return "clients";
    case TopView::kClasses: break;
  }
  return "classes";
}

TopList top_list(TopView view, const json& now, const json& before) {
  TopList list;
  list.columns = columns_of(view);
  if (view == TopView::kClients) {
    for (const json& row : list_at(now, "clients")) list.rows.push_back(client_cells(row));
    return list;
  }
  const bool pools = view == TopView::kPools;
  const json& earlier = list_at(before, pools ? "pools" : "classes");
  for (const json& row : list_at(now, pools ? "pools" : "classes")) {
    if (!row.is_object()) continue;
    const json& row_before = pools ? same_row(earlier, row, {"name"})
                                   : same_row(earlier, row, {"pool", "node", "class"});
    const Pair pair{now, before, row, row_before};
    list.rows.push_back(pools ? pool_cells(pair) : class_cells(pair));
  }
  return list;
}

void sort_rows(TopList& list, const TopSort& sort) {
  if (list.columns.empty()) return;
  const std::size_t column = std::min(sort.column, list.columns.size() - 1);
  const bool text = list.columns[column].is_text;
  std::stable_sort(list.rows.begin(), list.rows.end(), [&](const Cells& left, const Cells& right) {
    const TopCell& a = (sort.reversed ? right : left)[column];
    const TopCell& b = (sort.reversed ? left : right)[column];
    return text ? a.text < b.text : a.number > b.number;
  });
}

double top_rate(const json& now, const json& before, double of_now, double of_before) {
  if (!before.is_object() ||
      number_at(now, "started_unix_seconds") != number_at(before, "started_unix_seconds")) {
    return -1;
  }
  const double seconds = (static_cast<double>(number_at(now, "monotonic_ms")) -
                          static_cast<double>(number_at(before, "monotonic_ms"))) /
                         1000;
  return seconds <= 0 || of_now < of_before ? -1 : (of_now - of_before) / seconds;
}

std::string human_rate(double per_second) {
  if (per_second < 0) return "-";
  std::array<char, 32> text{};
  if (per_second >= 999'950) {
    std::snprintf(text.data(), text.size(), "%.2f M", per_second / 1e6);
  } else if (per_second >= 9'995) {
    std::snprintf(text.data(), text.size(), "%.1f k", per_second / 1e3);
  } else {
    std::snprintf(text.data(), text.size(), "%.0f", per_second);
  }
  return text.data();
}

double top_hit_rate(const json& row, const json& row_before) {
  const auto gained = [&](const char* key) {
    return static_cast<double>(number_at(row, key)) -
           static_cast<double>(number_at(row_before, key));
  };
  const double hits = gained("tls_hits") + gained("shared_hits");
  const double served = hits + gained("allocations");
  return served <= 0 || hits < 0 ? -1 : hits / served;
}

}  // namespace zeropool::ctl
