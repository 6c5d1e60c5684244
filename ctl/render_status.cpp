#include "ctl/render.hpp"
#include "ctl/table.hpp"

namespace zeropool::ctl {

std::string render_status(const nlohmann::json& document) {
  std::string text = "zeropoold " + printable(text_at(document, "version")) + " is " +
                     printable(text_at(document, "state")) + ", up " +
                     human_duration(number_at(document, "uptime_seconds")) + "\n";
  text += human_size(number_at(document, "committed_bytes")) + " of a budget of " +
          human_size(number_at(document, "budget_bytes")) + " committed\n\n";
  Table table({{"POOL", Align::kLeft},
               {"COMMITTED"},
               {"LIMIT"},
               {"RESERVED"},
               {"CLIENTS"},
               {"THREADS"},
               {"WAITING"},
               {"HIT RATE"}});
  for (const auto& pool : list_at(document, "pools")) {
    table.add(
        {text_at(pool, "name"), human_size(number_at(pool, "committed_bytes")),
         human_size(number_at(pool, "limit_bytes")), human_size(number_at(pool, "reserved_bytes")),
         human_count(number_at(pool, "clients")), human_count(number_at(pool, "threads")),
         human_count(number_at(pool, "orders_waiting")), human_percent(real_at(pool, "hit_rate"))});
  }
  text += table.text() + "\n";
  if (truth_at(document, "healthy")) return text + "all is well\n";
  text += "not all is well:\n";
  for (const auto& problem : list_at(document, "problems")) {
    if (problem.is_string()) text += "  - " + printable(problem.get<std::string>()) + "\n";
  }
  return text;
}

}  // namespace zeropool::ctl
