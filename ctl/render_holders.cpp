#include <utility>

#include "ctl/process_maps.hpp"
#include "ctl/render.hpp"
#include "ctl/table.hpp"

namespace zeropool::ctl {
namespace {

using nlohmann::json;

constexpr std::size_t kMostStacks = 10;

std::string age(const json& row, const char* key) {
  const double seconds = real_at(row, key);
  return seconds > 0 && seconds < 1e15 ? human_duration(static_cast<std::uint64_t>(seconds))
                                       : "0 s";
}

// The daemon's looks begin with it: what it cannot know yet is said.
std::string young_daemon(const json& document) {
  const double wanted = real_at(document, "older_than_seconds");
  std::string text;
  for (const json& pool : list_at(document, "pools")) {
    if (real_at(pool, "watched_seconds") >= wanted) continue;
    text += "zeropoold has watched pool " + printable(text_at(pool, "pool")) + " for " +
            age(pool, "watched_seconds") +
            " only: what is held for longer is known of sampled gets alone\n";
  }
  return text;
}

// The answer has bounds, so that it keeps zeropoold from nothing else for long: what fell behind them is said.
std::string left_out(const json& document) {
  std::string text;
  for (const json& pool : list_at(document, "pools")) {
    if (!pool.contains("complete") || truth_at(pool, "complete")) continue;
    text += "zeropoold has not read all that there is of pool " + printable(text_at(pool, "pool")) +
            ": more is held than is shown; ask with --pool\n";
  }
  for (const auto& [key, what] : {std::pair("holders_left_out", " more rows"),
                                  std::pair("stacks_left_out", " more stacks")}) {
    const auto found = document.find(key);
    if (found == document.end() || number_at(*found, "count") == 0) continue;
    text += human_count(number_at(*found, "count")) + what + ", of " +
            human_size(number_at(*found, "bytes")) +
            " in all, are left out: ask with --pool or --client\n";
  }
  return text;
}

std::string stacks_text(const json& document, const std::map<std::uint64_t, ProcessMaps>& maps) {
  std::string text;
  std::size_t shown = 0;
  const json& stacks = list_at(document, "stacks");
  for (const json& stack : stacks) {
    if (shown++ == kMostStacks) {
      text +=
          "\n" + std::to_string(stacks.size() - kMostStacks) + " more stacks: --json, --pprof\n";
      break;
    }
    text += "\n" + human_size(number_at(stack, "bytes")) + " in about " +
            human_count(number_at(stack, "buffers")) + " of " + printable(text_at(stack, "class")) +
            ", by " + printable(text_at(stack, "name")) + " (pid " +
            std::to_string(number_at(stack, "pid")) + "), oldest " + age(stack, "oldest_seconds") +
            ":\n";
    const auto its = maps.find(number_at(stack, "pid"));
    const ProcessMaps none;
    for (const json& frame : list_at(stack, "frames")) {
      if (!frame.is_number_unsigned()) continue;
      text += "    " +
              printable(
                  frame_text(its == maps.end() ? none : its->second, frame.get<std::uint64_t>())) +
              "\n";
    }
  }
  return text;
}

}  // namespace

std::string render_holders(const json& document, const std::map<std::uint64_t, ProcessMaps>& maps) {
  Table table({{"POOL", Align::kLeft},
               {"CLIENT"},
               {"PID"},
               {"NAME", Align::kLeft},
               {"CLASS"},
               {"BUFFERS"},
               {"BYTES"},
               {"OLDEST"},
               {"MEDIAN"},
               {"SAMPLES"}});
  for (const json& row : list_at(document, "holders")) {
    const std::string about = truth_at(row, "exact") ? "" : "~";
    table.add({text_at(row, "pool"), std::to_string(number_at(row, "client")),
               std::to_string(number_at(row, "pid")), text_at(row, "name"), text_at(row, "class"),
               about + human_count(number_at(row, "buffers")),
               about + human_size(number_at(row, "bytes")), age(row, "oldest_seconds"),
               age(row, "median_seconds"), human_count(number_at(row, "samples"))});
  }
  std::string text = young_daemon(document) + left_out(document);
  if (table.empty()) {
    const bool any_age = real_at(document, "older_than_seconds") <= 0;
    return text + (any_age ? "nobody holds a buffer\n"
                           : "nobody holds a buffer for longer than " +
                                 age(document, "older_than_seconds") + "\n");
  }
  text += table.text();
  if (list_at(document, "stacks").empty()) {
    return text +
           "\nNo stacks: start a program with ZEROPOOL_SAMPLE_STACKS=100 to have one get in 100 "
           "sampled\n";
  }
  return text + stacks_text(document, maps);
}

}  // namespace zeropool::ctl
