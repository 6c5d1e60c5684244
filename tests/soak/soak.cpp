// zeropool_soak: clients of one pool under load, killed, stopped, forked and replaced for a while, and at the end
// every slot counted. One line of JSON; exit status 0 only if none was lost and none was doubled.

#include <charconv>
#include <cinttypes>
#include <cstdio>
#include <exception>
#include <signal.h>
#include <string>
#include <string_view>

#include "director.hpp"

namespace {

using namespace zeropool::soak;

constexpr int kBadUse = 2;
constexpr int kNoResult = 3;

int usage() {
  std::fprintf(stderr, "usage: zeropool_soak [--seconds N] [--seed S] [--daemon-kills on|off]\n");
  return kBadUse;
}

bool parse_number(std::string_view text, std::uint64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}

bool parse(int count, char** words, SoakPlan& plan) {
  for (int i = 1; i < count; i += 2) {
    if (i + 1 == count) return false;
    const std::string_view option = words[i];
    const std::string_view value = words[i + 1];
    if (option == "--seconds") {
      if (!parse_number(value, plan.seconds)) return false;
    } else if (option == "--seed") {
      if (!parse_number(value, plan.seed)) return false;
    } else if (option == "--daemon-kills" && (value == "on" || value == "off")) {
      plan.daemon_kills = value == "on";
    } else if (option == "--break" && (value == "put" || value == "keep")) {  // README.md
      plan.breakage = value == "put" ? Breakage::kPut : Breakage::kKeep;
    } else {
      return false;
    }
  }
  return true;
}

volatile sig_atomic_t signal_seen = 0;

void on_signal(int signal) {
  signal_seen = signal;
  interrupt();
}

void tell_the_story(const Board& board) {
  std::fprintf(
      stderr, "soak: %" PRIu64 " adopted, %" PRIu64 " threads, %" PRIu64 " forks; failed gets:",
      board.adopted.load(kRelaxed), board.threads.load(kRelaxed), board.forks.load(kRelaxed));
  for (std::size_t code = 0; code < kErrorCodes; ++code) {
    const std::uint64_t count = board.failed_by_code[code].load(kRelaxed);
    if (count > 0) {
      std::fprintf(stderr, " %s %" PRIu64, zp_strerror(static_cast<int>(code)), count);
    }
  }
  std::fprintf(stderr, "\n");
}

void print_result(const SoakPlan& plan, const SoakResult& result, const Board& board) {
  std::printf("{\"seconds\":%" PRIu64 ",\"seed\":%" PRIu64 ",\"kills\":%" PRIu64
              ",\"daemon_kills\":%" PRIu64 ",\"operations\":%" PRIu64 ",\"lost\":%" PRIu64
              ",\"doubled\":%" PRIu64 ",\"failed_gets\":%" PRIu64 ",\"longest_stall_ms\":%.1f}\n",
              plan.seconds, plan.seed, result.kills, result.daemon_kills,
              board.operations.load(kRelaxed), result.lost, result.doubled,
              board.failed_gets.load(kRelaxed),
              static_cast<double>(board.longest_stall_ns.load(kRelaxed)) / 1e6);
}

}  // namespace

int main(int count, char** words) {
  SoakPlan plan;
  if (!parse(count, words, plan)) return usage();
  struct sigaction action {};
  action.sa_handler = on_signal;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(signal, &action, nullptr);
  try {
    Director director(plan);
    const SoakResult result = director.run();
    tell_the_story(director.board());
    print_result(plan, result, director.board());
    return result.lost == 0 && result.doubled == 0 ? 0 : 1;
  } catch (const Interrupted&) {
    std::fprintf(stderr, "soak: interrupted\n");
    return 128 + signal_seen;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "soak: %s\n", error.what());
    return kNoResult;
  }
}
