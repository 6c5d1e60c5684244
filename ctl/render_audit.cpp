#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "ctl/render.hpp"
#include "ctl/table.hpp"

namespace zeropool::ctl {
namespace {

// The document's free slots are all that lie in the ring; here those set aside have a column of their own, so that
// the columns up to LOST sum to SLOTS.
constexpr const char* kCounts[] = {"cold",   "cached",      "held",   "in_transit",
                                   "shared", "quarantined", "daemon", "orphaned",
                                   "lost",   "doubled",     "broken"};

std::vector<std::string> counts_of(std::vector<std::string> cells, const nlohmann::json& counts) {
  const std::uint64_t free = number_at(counts, "free");
  cells.push_back(human_count(number_at(counts, "slots")));
  cells.push_back(human_count(free - std::min(free, number_at(counts, "cold"))));
  for (const char* key : kCounts) cells.push_back(human_count(number_at(counts, key)));
  return cells;
}

std::string verdict_of(const nlohmann::json& ring) {
  if (truth_at(ring, "clean")) return "clean";
  return truth_at(ring, "in_motion") ? "in motion" : "damaged";
}

std::string strays_of(const nlohmann::json& document) {
  std::string text;
  for (const auto& pool : list_at(document, "pools")) {
    const std::uint64_t there = number_at(pool, "stray_bytes");
    if (there == 0) continue;
    text += "pool " + text_at(pool, "name") + ": " + human_size(there) +
            " that nobody committed were touched, " +
            human_size(number_at(pool, "punched_stray_bytes")) + " of them punched out now\n";
  }
  return text;
}

}  // namespace

std::string render_audit(const nlohmann::json& document) {
  Table table({{"POOL", Align::kLeft},
               {"NODE"},
               {"CLASS"},
               {"SLOTS"},
               {"FREE"},
               {"COLD"},
               {"CACHED"},
               {"HELD"},
               {"IN TRANSIT"},
               {"SHARED"},
               {"QUARANTINED"},
               {"DAEMON"},
               {"ORPHANED"},
               {"LOST"},
               {"DOUBLED"},
               {"BROKEN"},
               {"VERDICT", Align::kLeft}});
  for (const auto& ring : list_at(document, "rings")) {
    std::vector<std::string> cells = counts_of(
        {text_at(ring, "pool"), std::to_string(number_at(ring, "node")), text_at(ring, "class")},
        ring);
    cells.push_back(verdict_of(ring));
    table.add(std::move(cells));
  }
  std::vector<std::string> sum = counts_of({"sum", "", ""}, object_at(document, "sum"));
  sum.push_back(verdict_of(document));
  table.add(std::move(sum));
  std::string text = table.text() + "\n";
  text += strays_of(document);
  if (truth_at(document, "clean")) {
    return text +
           "clean: every slot is in one place, free + cold + cached + held + in transit + shared + "
           "quarantined + daemon = slots\n";
  }
  text += "not clean";
  text +=
      truth_at(document, "in_motion")
          ? ", but buffers moved while they were counted: run it again when there is less to do\n"
          : ": a client has damaged the pool; what can be mended is mended within seconds, see "
            "the daemon's log\n";
  return text;
}

}  // namespace zeropool::ctl
