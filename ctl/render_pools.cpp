#include "ctl/render.hpp"
#include "ctl/table.hpp"

namespace zeropool::ctl {
namespace {

std::string pages_of(const nlohmann::json& pool) {
  std::string text;
  for (const auto& arena : list_at(pool, "arenas")) {
    text += (text.empty() ? "" : ", ") + human_size(number_at(arena, "committed_bytes")) +
            " on node " + std::to_string(number_at(arena, "node")) + " in pages of " +
            printable(text_at(arena, "page_size"));
  }
  return text;
}

// Nothing for a pool from whose threads nothing was ever taken.
std::string steals_of(const nlohmann::json& pool) {
  std::uint64_t threads = 0;
  std::uint64_t bytes = 0;
  const nlohmann::json& steals = object_at(object_at(pool, "counters"), "steals");
  for (const char* reason : {"idle", "starving", "trim"}) {
    threads += number_at(object_at(steals, reason), "threads");
    bytes += number_at(object_at(steals, reason), "bytes");
  }
  if (threads == 0) return {};
  return human_size(bytes) + " taken from idle caches, in " + human_count(threads) + " steals";
}

std::string rings_of(const nlohmann::json& pool) {
  Table table({{"NODE"},
               {"CLASS"},
               {"SLOTS"},
               {"FREE"},
               {"COLD"},
               {"CACHED"},
               {"HELD"},
               {"IN TRANSIT"},
               {"SHARED"},
               {"GETS"},
               {"ALLOCATIONS"}});
  for (const auto& ring : list_at(pool, "rings")) {
    const nlohmann::json& slots = object_at(ring, "slots");
    table.add({std::to_string(number_at(ring, "node")), text_at(ring, "class"),
               human_count(number_at(slots, "published")), human_count(number_at(slots, "free")),
               human_count(number_at(slots, "cold")), human_count(number_at(slots, "cached")),
               human_count(number_at(slots, "held")), human_count(number_at(slots, "in_transit")),
               human_count(number_at(slots, "shared")), human_count(number_at(ring, "gets")),
               human_count(number_at(ring, "allocations"))});
  }
  return table.text();
}

}  // namespace

std::string render_pools(const nlohmann::json& document) {
  std::string text;
  for (const auto& pool : list_at(document, "pools")) {
    if (!text.empty()) text += "\n";
    text += printable(text_at(pool, "name")) + ": " +
            human_size(number_at(pool, "committed_bytes")) + " of " +
            human_size(number_at(pool, "limit_bytes")) + " committed, " +
            human_size(number_at(pool, "reserved_bytes")) + " reserved; hit rate " +
            human_percent(real_at(pool, "hit_rate")) + "\n";
    if (const std::string pages = pages_of(pool); !pages.empty()) text += pages + "\n";
    if (const std::string steals = steals_of(pool); !steals.empty()) text += steals + "\n";
    text += rings_of(pool);
  }
  return text.empty() ? "no pools\n" : text;
}

}  // namespace zeropool::ctl
