#include <algorithm>
#include <vector>

#include "ctl/render.hpp"
#include "ctl/table.hpp"

namespace zeropool::ctl {
namespace {

// One screen: of pools those that need a look first, of warnings the worst.
constexpr std::size_t kMostPools = 8;
constexpr std::size_t kMostWarnings = 4;

std::string percent_of_budget(const nlohmann::json& document) {
  const std::uint64_t budget = number_at(document, "budget_bytes");
  if (budget == 0) return {};
  const std::uint64_t committed = number_at(document, "committed_bytes");
  return " (" +
         std::to_string(
             static_cast<int>(100 * static_cast<double>(committed) / static_cast<double>(budget))) +
         "%)";
}

std::string and_more(std::size_t all, std::size_t shown, const char* what, const char* where) {
  if (all <= shown) return {};
  return "and " + human_count(all - shown) + " more " + what + ": " + where + "\n";
}

std::string warnings_of(const nlohmann::json& document) {
  const nlohmann::json& warnings = list_at(document, "warnings");
  std::string text;
  std::size_t shown = 0;
  for (const auto& warning : warnings) {
    if (shown == kMostWarnings) break;
    ++shown;
    const std::string pool = text_at(warning, "pool");
    const bool note = text_at(warning, "level") == "note";
    text += std::string(note ? "note: " : "  - ") +
            printable((pool.empty() ? "" : "pool " + pool + ": ") + text_at(warning, "what")) +
            "\n      " + printable(text_at(warning, "remedy")) + "\n";
  }
  return text + and_more(warnings.size(), shown, "warnings", "zeropoolctl status --json");
}

std::string pools_of(const nlohmann::json& document) {
  std::vector<nlohmann::json> pools;
  for (const auto& pool : list_at(document, "pools")) pools.push_back(pool);
  if (pools.size() > kMostPools) {
    std::stable_sort(pools.begin(), pools.end(), [](const auto& a, const auto& b) {
      const auto key = [](const nlohmann::json& pool) {
        return std::pair(number_at(pool, "orders_waiting"), number_at(pool, "committed_bytes"));
      };
      return key(a) > key(b);
    });
  }
  Table table({{"POOL", Align::kLeft},
               {"COMMITTED"},
               {"LIMIT"},
               {"RESERVED"},
               {"CLIENTS"},
               {"THREADS"},
               {"WAITING"},
               {"HIT RATE"}});
  const std::size_t shown = std::min(pools.size(), kMostPools);
  for (std::size_t i = 0; i < shown; ++i) {
    const nlohmann::json& pool = pools[i];
    table.add(
        {text_at(pool, "name"), human_size(number_at(pool, "committed_bytes")),
         human_size(number_at(pool, "limit_bytes")), human_size(number_at(pool, "reserved_bytes")),
         human_count(number_at(pool, "clients")), human_count(number_at(pool, "threads")),
         human_count(number_at(pool, "orders_waiting")), human_percent(real_at(pool, "hit_rate"))});
  }
  return table.text() + and_more(pools.size(), shown, "pools", "zeropoolctl pools");
}

}  // namespace

std::string render_status(const nlohmann::json& document) {
  std::string verdict = text_at(document, "verdict");
  if (verdict.empty())
    verdict = truth_at(document, "healthy") ? "All is well." : "Not all is well.";
  return printable(verdict) + "\n" + warnings_of(document) + "\nzeropoold " +
         printable(text_at(document, "version")) + " is " + printable(text_at(document, "state")) +
         ", up " + human_duration(number_at(document, "uptime_seconds")) + "\n" +
         human_size(number_at(document, "committed_bytes")) + " of a budget of " +
         human_size(number_at(document, "budget_bytes")) + " committed" +
         percent_of_budget(document) + "\n\n" + pools_of(document);
}

}  // namespace zeropool::ctl
