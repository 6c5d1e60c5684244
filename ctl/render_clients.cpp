#include "ctl/render.hpp"
#include "ctl/table.hpp"

namespace zeropool::ctl {
namespace {

std::string remarks_on(const nlohmann::json& client) {
  std::string remarks = truth_at(client, "direct_io") ? "direct I/O" : "";
  if (truth_at(client, "suspect")) {
    remarks += std::string(remarks.empty() ? "" : "; ") + "hung up, still runs";
  }
  return remarks;
}

}  // namespace

std::string render_clients(const nlohmann::json& document) {
  Table table({{"POOL", Align::kLeft},
               {"PID"},
               {"UID"},
               {"NAME", Align::kLeft},
               {"ATTACHED"},
               {"HELD"},
               {"CACHED"},
               {"IN TRANSIT"},
               {"SHARED"},
               {"CHARGED"},
               {"QUOTA"},
               {"", Align::kLeft}});
  for (const auto& client : list_at(document, "clients")) {
    table.add(
        {text_at(client, "pool"), std::to_string(number_at(client, "pid")),
         std::to_string(number_at(client, "uid")), text_at(client, "name"),
         human_duration(number_at(client, "attached_seconds")),
         human_size(number_at(client, "held_bytes")), human_size(number_at(client, "cached_bytes")),
         human_size(number_at(client, "in_transit_bytes")),
         human_size(number_at(client, "shared_bytes")),
         human_size(number_at(client, "charged_bytes")),
         number_at(client, "quota_bytes") == 0 ? "-" : human_size(number_at(client, "quota_bytes")),
         remarks_on(client)});
  }
  return table.empty() ? "no clients are attached\n" : table.text();
}

}  // namespace zeropool::ctl
