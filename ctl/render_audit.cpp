#include "ctl/render.hpp"
#include "ctl/table.hpp"

namespace zeropool::ctl {
namespace {

constexpr const char* kCounts[] = {"slots",      "free",    "cached", "held",
                                   "in_transit", "shared",  "daemon", "orphaned",
                                   "lost",       "doubled", "broken"};

std::vector<std::string> counts_of(std::vector<std::string> cells, const nlohmann::json& counts) {
  for (const char* key : kCounts) cells.push_back(human_count(number_at(counts, key)));
  return cells;
}

}  // namespace

std::string render_audit(const nlohmann::json& document) {
  Table table({{"POOL", Align::kLeft},
               {"NODE"},
               {"CLASS"},
               {"SLOTS"},
               {"FREE"},
               {"CACHED"},
               {"HELD"},
               {"IN TRANSIT"},
               {"SHARED"},
               {"DAEMON"},
               {"ORPHANED"},
               {"LOST"},
               {"DOUBLED"},
               {"BROKEN"}});
  for (const auto& ring : list_at(document, "rings")) {
    table.add(counts_of(
        {text_at(ring, "pool"), std::to_string(number_at(ring, "node")), text_at(ring, "class")},
        ring));
  }
  table.add(counts_of({"sum", "", ""}, object_at(document, "sum")));
  std::string text = table.text() + "\n";
  if (truth_at(document, "clean")) return text + "clean: every slot is in one place\n";
  text += "not clean";
  text +=
      truth_at(document, "in_motion")
          ? ", but buffers moved while they were counted: run it again when there is less to do\n"
          : ": please report it with the daemon's log\n";
  return text;
}

}  // namespace zeropool::ctl
