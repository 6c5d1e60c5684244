#include "daemon/status_page.hpp"

#include <array>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <functional>
#include <map>
#include <vector>

#include "daemon/admin_json.hpp"
#include "daemon/human_bytes.hpp"
#include "daemon/status_page_text.hpp"

namespace zeropool::daemon {
namespace {

using nlohmann::json;

// The words are those of daemon/page/status.js, which writes the same cells.

std::string percent(double part) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f%%", std::floor(part * 10000) / 100);
  return text.data();
}

std::string count(std::uint64_t value) {
  std::string text = std::to_string(value);
  for (std::size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, 1, ',');
  return text;
}

std::string duration(std::uint64_t seconds) {
  const std::uint64_t minutes = seconds / 60;
  const std::uint64_t hours = minutes / 60;
  if (minutes == 0) return std::to_string(seconds) + " s";
  if (hours == 0) return std::to_string(minutes) + " min";
  if (hours < 24) return std::to_string(hours) + " h " + std::to_string(minutes % 60) + " min";
  return std::to_string(hours / 24) + " d " + std::to_string(hours % 24) + " h";
}

std::string time_of(std::uint64_t unix_seconds) {
  const auto seconds = static_cast<std::time_t>(unix_seconds);
  std::tm parts{};
  std::array<char, 32> text{};
  if (::gmtime_r(&seconds, &parts) == nullptr) return {};
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &parts);
  return text.data();
}

enum class Kind { kWord, kName, kNumber, kBytes, kPlain, kPercent, kSuspect };
struct Column {
  const char* title;
  const char* key;
  Kind kind;
};
using Columns = std::vector<Column>;

const Columns kPools = {
    {"Pool", "name", Kind::kName},          {"Committed", "committed_bytes", Kind::kBytes},
    {"Limit", "limit_bytes", Kind::kBytes}, {"Reserved", "reserved_bytes", Kind::kBytes},
    {"Held", "held_bytes", Kind::kBytes},   {"Clients", "clients", Kind::kNumber},
    {"Threads", "threads", Kind::kNumber},  {"Orders waiting", "orders_waiting", Kind::kNumber},
    {"Gets", "gets", Kind::kNumber},        {"Hit rate", "hit_rate", Kind::kPercent}};
const Columns kClients = {
    {"Client", "name", Kind::kName},          {"Pool", "pool", Kind::kWord},
    {"Process", "pid", Kind::kPlain},         {"Held", "held_bytes", Kind::kBytes},
    {"Cached", "cached_bytes", Kind::kBytes}, {"In transit", "in_transit_bytes", Kind::kBytes},
    {"Remark", "suspect", Kind::kSuspect}};
const Columns kClasses = {{"Pool", "pool", Kind::kName},
                          {"Node", "node", Kind::kNumber},
                          {"Class", "class", Kind::kWord},
                          {"Slots", "slots", Kind::kNumber},
                          {"Held", "held", Kind::kNumber},
                          {"Cached", "cached", Kind::kNumber},
                          {"Free", "free", Kind::kNumber},
                          {"Cold", "cold", Kind::kNumber},
                          {"In transit", "in_transit", Kind::kNumber},
                          {"Gets", "gets", Kind::kNumber},
                          {"Allocations", "allocations", Kind::kNumber},
                          {"Failures", "failures", Kind::kNumber}};

bool is_text(Kind kind) {
  return kind == Kind::kWord || kind == Kind::kName || kind == Kind::kSuspect;
}

std::string cell_text(const json& value, Kind kind) {
  switch (kind) {
    case Kind::kWord: return value.get<std::string>();
    case Kind::kName: return value.get<std::string>().empty() ? "-" : value.get<std::string>();
    case Kind::kNumber: return count(value.get<std::uint64_t>());
    case Kind::kBytes: return rounded_bytes(value.get<std::uint64_t>());
    case Kind::kPlain: return value.dump();
    case Kind::kPercent: return percent(value.get<double>());
    case Kind::kSuspect: return value.get<bool>() ? "hung up, still runs" : "";
  }
  return {};
}

std::string cell_html(const json& value, const Column& column, bool first) {
  const std::string text = html_escaped(cell_text(value, column.kind));
  std::string html = first ? "<th scope=\"row\"" : "<td";
  if (column.kind == Kind::kName)
    html += " class=\"text name\" title=\"" + text + "\"";
  else if (is_text(column.kind))
    html += " class=\"text\"";
  else
    html += " data-value=\"" + value.dump() + "\"";
  return html + ">" + text + (first ? "</th>" : "</td>");
}

std::string table_html(const Columns& columns, const json& rows) {
  std::string html = "<thead><tr>";
  for (const Column& column : columns) {
    html += std::string("<th scope=\"col\"") + (is_text(column.kind) ? " class=\"text\">" : ">") +
            column.title + "</th>";
  }
  html += "</tr></thead>\n<tbody>\n";
  for (const json& row : rows) {
    html += "<tr>";
    for (const Column& column : columns) {
      html += cell_html(row[column.key], column, &column == &columns.front());
    }
    html += "</tr>\n";
  }
  return html + "</tbody>";
}

std::string warnings_html(const json& document) {
  if (document["warnings"].empty()) return {};
  std::string html = "<ul>";
  for (const json& warning : document["warnings"]) {
    const auto text = [&](const char* key) {
      return html_escaped(warning[key].get<std::string>());
    };
    const std::string pool = text("pool");
    html += "<li class=\"" + text("level") + "\" data-code=\"" + text("code") + "\"><strong>" +
            (pool.empty() ? "" : "pool " + pool + ": ") + text("what") + "</strong>" +
            text("remedy") + "</li>";
  }
  return html + "</ul>";
}

std::string figure_html(const char* id, const char* title, const std::string& text,
                        const json& value, const std::string& beside, const json& beside_value,
                        bool spark) {
  std::string html = std::string("<div><dt>") + title + "</dt><dd class=\"figure\" id=\"" + id +
                     "\" data-value=\"" + value.dump() + "\">" + text +
                     "</dd><dd class=\"beside\" id=\"" + id + "-beside\"";
  if (!beside_value.is_null()) html += " data-value=\"" + beside_value.dump() + "\"";
  html += ">" + beside + "</dd>";
  if (spark) {
    html += std::string("<dd class=\"drawn\"><svg class=\"spark\" id=\"") + id +
            "-spark\" viewBox=\"0 0 100 30\" preserveAspectRatio=\"none\" "
            "aria-hidden=\"true\"></svg></dd>";
  }
  return html + "</div>\n";
}

std::string figures_html(const json& document) {
  const json& totals = document["totals"];
  const auto number = [](const json& object, const char* key) {
    return object[key].get<std::uint64_t>();
  };
  const std::uint64_t committed = number(document, "committed_bytes");
  const std::uint64_t budget = number(document, "budget_bytes");
  const double part =
      budget == 0 ? 0 : static_cast<double>(committed) / static_cast<double>(budget);
  const std::uint64_t threads = number(totals, "threads");
  return figure_html("committed", "Committed", rounded_bytes(committed), committed,
                     "of " + rounded_bytes(budget) + ", " + percent(part), budget, true) +
         figure_html("hit-rate", "Hit rate", percent(totals["hit_rate"].get<double>()),
                     totals["hit_rate"], "in all", nullptr, true) +
         figure_html("gets", "Gets", count(number(totals, "gets")), totals["gets"], "in all",
                     nullptr, true) +
         figure_html("waiting", "Orders waiting", count(number(totals, "orders_waiting")),
                     totals["orders_waiting"], "for memory", nullptr, true) +
         figure_html("attached", "Clients", count(number(totals, "clients")), totals["clients"],
                     count(threads) + (threads == 1 ? " thread" : " threads"), nullptr, false);
}

std::string about(const json& document) {
  const auto machine = document["machine"].get<std::string>();
  return (machine.empty() ? "" : "on " + machine + ", ") + document["state"].get<std::string>() +
         " for " + duration(document["uptime_seconds"].get<std::uint64_t>()) + ", version " +
         document["version"].get<std::string>();
}

std::string left_out(const json& document, const char* key, const char* words) {
  const auto number = document[key].get<std::uint64_t>();
  return number == 0 ? "" : "and " + count(number) + " " + words;
}

// What stands where, by the markers of status.html.
using Parts = std::map<std::string_view, std::string>;

Parts parts_of(const json& document) {
  const auto machine = document["machine"].get<std::string>();
  return {
      {"title", machine.empty() ? "" : html_escaped(" on " + machine)},
      {"about", html_escaped(about(document))},
      {"time", time_of(document["unix_seconds"].get<std::uint64_t>())},
      {"verdict", html_escaped(document["verdict"].get<std::string>())},
      {"warnings", warnings_html(document)},
      {"figures", figures_html(document)},
      {"pools", table_html(kPools, document["pools"])},
      {"clients", table_html(kClients, document["clients"])},
      {"clients-more",
       document["clients"].empty()
           ? "No client is attached."
           : left_out(document, "clients_left_out", "that hold less: zeropoolctl clients")},
      {"classes", table_html(kClasses, document["classes"])},
      {"classes-more", left_out(document, "classes_left_out", "smaller ones: zeropoolctl pools")},
  };
}

// One pass over the page's own text: what a part holds is never looked at for markers.
std::string filled(std::string_view page, const Parts& parts) {
  constexpr std::string_view kBegin = "<!--zp:";
  constexpr std::string_view kEnd = "-->";
  std::string html;
  for (;;) {
    const std::size_t begin = page.find(kBegin);
    if (begin == std::string_view::npos) return html.append(page);
    const std::size_t end = page.find(kEnd, begin);
    html.append(page.substr(0, begin));
    const std::string_view name = page.substr(begin + kBegin.size(), end - begin - kBegin.size());
    html.append(parts.at(name));
    page.remove_prefix(end + kEnd.size());
  }
}

}  // namespace

std::string html_escaped(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&quot;"; break;
      case '\'': escaped += "&#39;"; break;
      default: escaped += c; break;
    }
  }
  return escaped;
}

std::string status_page(const StatusView& view) {
  // As text and back: bytes that are no UTF-8 become U+FFFD, here as in /status.json.
  const json document = json::parse(document_text(status_view_document(view)));
  return filled(status_page_text::kDocument, parts_of(document));
}

std::string status_page_policy() { return status_page_text::kPolicy; }

}  // namespace zeropool::daemon
