#include "ctl/drain.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <string_view>
#include <thread>
#include <utility>

#include "ctl/admin_client.hpp"
#include "ctl/render.hpp"
#include "ctl/table.hpp"

namespace zeropool::ctl {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kBetweenLooks = 200ms;
constexpr std::chrono::milliseconds kLongest = std::chrono::hours(24 * 366);

int complain(const std::string& sentence, int exit_code) {
  std::fprintf(stderr, "zeropoolctl: %s\n", printable(sentence).c_str());
  return exit_code;
}

// The pools that somebody else has put into service again meanwhile.
std::string in_service(const nlohmann::json& document) {
  std::string names;
  for (const auto& pool : list_at(document, "pools")) {
    if (!truth_at(pool, "draining")) names += (names.empty() ? "" : ", ") + text_at(pool, "name");
  }
  return names;
}

int print(const AdminAnswer& answer, bool as_json, int exit_code) {
  const std::string text = as_json ? answer.text : render_drain(answer.document);
  if (std::fputs(text.c_str(), stdout) != EOF && std::fflush(stdout) == 0) return exit_code;
  std::perror("zeropoolctl: cannot write");
  return kExitFailed;
}

// What is wrong with the answer, said; kExitOk: nothing.
int wait_until_drained(const DrainOptions& options, AdminAnswer& answer) {
  const Clock::time_point end = Clock::now() + *options.wait;
  for (;;) {
    if (answer.exit_code == kExitOk) {
      if (truth_at(answer.document, "drained")) return kExitOk;
      if (const std::string names = in_service(answer.document); !names.empty()) {
        return complain("somebody has ended the drain of " + names, kExitFailed);
      }
    } else if (answer.exit_code != kExitNoDaemon) {
      return complain(answer.error, answer.exit_code);
    }
    const Clock::duration left = end - Clock::now();
    if (left <= 0ms) {
      return answer.exit_code == kExitOk
                 ? complain("not drained within the time allowed; it goes on", kExitFailed)
                 : complain(answer.error, answer.exit_code);
    }
    std::this_thread::sleep_for(std::min<Clock::duration>(left, kBetweenLooks));
    // Without a daemon for a moment: another one may be taking over.
    AdminAnswer next = ask_daemon(options.socket, "drain-state", options.pool);
    if (next.exit_code == kExitNoDaemon) next.document = std::move(answer.document);
    answer = std::move(next);
  }
}

std::string state_of(const nlohmann::json& pool) {
  if (truth_at(pool, "drained")) return "drained";
  return truth_at(pool, "draining") ? "draining" : "in service";
}

}  // namespace

std::optional<std::chrono::milliseconds> read_duration(const std::string& text) {
  constexpr std::array<std::pair<std::string_view, std::int64_t>, 4> kUnits = {
      {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}}};
  std::int64_t number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0) return std::nullopt;
  const std::string_view unit(rest, text.data() + text.size());
  for (const auto& [name, milliseconds] : kUnits) {
    if (unit != name) continue;
    if (number > kLongest.count() / milliseconds) return std::nullopt;
    return std::chrono::milliseconds(number * milliseconds);
  }
  return std::nullopt;
}

std::string render_drain(const nlohmann::json& document) {
  Table table({{"POOL", Align::kLeft},
               {"STATE", Align::kLeft},
               {"CLIENTS"},
               {"HELD"},
               {"CACHED"},
               {"IN TRANSIT"},
               {"SHARED"}});
  for (const auto& pool : list_at(document, "pools")) {
    table.add({text_at(pool, "name"), state_of(pool), human_count(number_at(pool, "clients")),
               human_size(number_at(pool, "held_bytes")),
               human_size(number_at(pool, "cached_bytes")),
               human_size(number_at(pool, "in_transit_bytes")),
               human_size(number_at(pool, "shared_bytes"))});
  }
  return table.text();
}

int run_drain(const DrainOptions& options) {
  AdminAnswer answer =
      ask_daemon(options.socket, options.stop ? "drain-stop" : "drain", options.pool);
  if (answer.exit_code != kExitOk) return complain(answer.error, answer.exit_code);
  int exit_code = kExitOk;
  if (options.wait) exit_code = wait_until_drained(options, answer);
  return answer.text.empty() ? exit_code : print(answer, options.as_json, exit_code);
}

}  // namespace zeropool::ctl
