#include "daemon/status_page.hpp"

#include <array>
#include <cstdio>

#include "daemon/build_info.hpp"
#include "daemon/daemon_health.hpp"
#include "daemon/human_bytes.hpp"
#include "daemon/statistics_words.hpp"

namespace zeropool::daemon {
namespace {

constexpr const char* kHead = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>zeropoold</title>
<style>
:root{color-scheme:light dark;--line:#8885;--good:#1a7f37;--bad:#b3261e}
@media (prefers-color-scheme:dark){:root{--good:#4ac26b;--bad:#ff8a80}}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem}
h1{font-size:1.4rem;margin-bottom:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
p{margin:.3rem 0}.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .8rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left;padding-left:0}
.good{color:var(--good)}.bad{color:var(--bad)}
</style></head><body>
)";

using Cells = std::vector<std::string>;

std::string percent(double part) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f%%", part * 100);
  return text.data();
}

void add_row(std::string& html, const char* tag, const Cells& cells) {
  html += "<tr>";
  for (const std::string& cell : cells) {
    html += std::string("<") + tag + ">" + html_escaped(cell) + "</" + tag + ">";
  }
  html += "</tr>\n";
}

void add_table(std::string& html, const Cells& head, const std::vector<Cells>& rows) {
  html += "<div class=\"scroll\"><table>\n";
  add_row(html, "th", head);
  for (const Cells& row : rows) add_row(html, "td", row);
  html += "</table></div>\n";
}

void add_health(std::string& html, const DaemonStatistics& statistics) {
  const std::vector<std::string> problems = health_problems(statistics);
  if (problems.empty()) html += "<p class=\"good\">All is well.</p>\n";
  for (const std::string& problem : problems) {
    html += "<p class=\"bad\">" + html_escaped(problem) + "</p>\n";
  }
}

void add_pools(std::string& html, const DaemonStatistics& statistics) {
  std::vector<Cells> rows;
  for (const PoolStatistics& pool : statistics.pools) {
    rows.push_back({pool.name, rounded_bytes(pool.committed_bytes), rounded_bytes(pool.limit_bytes),
                    rounded_bytes(pool.reserved_bytes), std::to_string(pool.clients.size()),
                    std::to_string(pool.threads), std::to_string(pool.orders_waiting),
                    percent(hit_rate(pool)), std::to_string(pool.counters.reclaims)});
  }
  html += "<h2>Pools</h2>\n";
  add_table(html,
            {"pool", "committed", "limit", "reserved", "clients", "threads", "orders waiting",
             "hit rate", "reclaims"},
            rows);
}

void add_arenas(std::string& html, const DaemonStatistics& statistics) {
  std::vector<Cells> rows;
  for (const PoolStatistics& pool : statistics.pools) {
    for (const ArenaStatistics& arena : pool.arenas) {
      rows.push_back({pool.name, std::to_string(arena.node), page_size_word(arena.page_kind),
                      rounded_bytes(arena.committed_bytes)});
    }
  }
  html += "<h2>Memory</h2>\n";
  add_table(html, {"pool", "node", "pages", "committed"}, rows);
}

void add_rings(std::string& html, const DaemonStatistics& statistics) {
  std::vector<Cells> rows;
  for (const PoolStatistics& pool : statistics.pools) {
    for (const RingStatistics& ring : pool.rings) {
      rows.push_back({pool.name, std::to_string(ring.node), exact_bytes(ring.class_bytes),
                      std::to_string(ring.published), std::to_string(ring.free),
                      std::to_string(ring.cold), std::to_string(ring.cached),
                      std::to_string(ring.held), std::to_string(ring.in_transit),
                      std::to_string(ring.gets()), std::to_string(ring.allocations)});
    }
  }
  html += "<h2>Classes</h2>\n";
  add_table(html,
            {"pool", "node", "class", "slots", "free", "cold", "cached", "held", "in transit",
             "gets", "allocations"},
            rows);
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

std::string status_page(const DaemonStatistics& statistics) {
  std::string html = kHead;
  html += "<h1>zeropoold " + html_escaped(build_info::version) + "</h1>\n";
  html += "<p>" + html_escaped(statistics.state) + ", " +
          rounded_bytes(statistics.committed_bytes) + " of a budget of " +
          rounded_bytes(statistics.budget_bytes) + " committed; revision " +
          html_escaped(build_info::revision) + "</p>\n";
  add_health(html, statistics);
  add_pools(html, statistics);
  add_arenas(html, statistics);
  add_rings(html, statistics);
  html +=
      "<p><a href=\"/metrics\">metrics</a> · <a href=\"/-/healthy\">healthy</a> · "
      "<a href=\"/-/ready\">ready</a></p>\n</body></html>\n";
  return html;
}

}  // namespace zeropool::daemon
