// Configurations that cannot be: refused with exit code 2, and file:line:column of the fault.

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "support/daemon_process.hpp"

using namespace zeropool::testing;

namespace {

struct Bad {
  const char* name;
  const char* text;
  const char* place;  // ":line:column: "
  std::vector<const char*> says;
};

CommandResult run_with(const TemporaryFolder& folder, const std::string& text, bool check_only) {
  const std::string path = folder.path() + "/bad.yaml";
  write_file(path, text);
  ProgramOptions options;
  options.arguments = {daemon_program(), "--config", path};
  if (check_only) options.arguments.push_back("--check-config");
  return run_command(options);
}

const std::vector<Bad> kBad = {
    {"broken YAML", "budget: 1GiB\npools: {frames: {classes: [4KiB\n", ":3:1: ", {"YAML"}},
    {"a tab for indentation", "pools:\n\tframes: {}\n", ":2:", {}},
    {"an unknown key", "budget: 1GiB\nbuget: 2GiB\n", ":2:1: ", {"buget", "budget"}},
    {"an unknown key of a pool",
     "pools:\n  frames:\n    clases: [4KiB]\n",
     ":3:5: ",
     {"clases", "classes"}},
    {"a key twice", "budget: 1GiB\nbudget: 2GiB\n", ":2:1: ", {"budget"}},
    {"a size without sense", "budget: lots\n", ":1:9: ", {"budget", "lots"}},
    {"a negative size", "budget: -5MiB\n", ":1:9: ", {"budget"}},
    {"a size that overflows", "budget: 99999999999999999999TiB\n", ":1:9: ", {"budget"}},
    {"no memory at all", "budget: 0\n", ":1:9: ", {"budget"}},
    {"a class that is no multiple",
     "pools: {frames: {classes: [4KiB, 100]}}\n",
     ":1:34: ",
     {"classes", "64"}},
    {"a class of nothing", "pools: {frames: {classes: [0]}}\n", ":1:28: ", {"classes"}},
    {"no class", "pools: {frames: {classes: []}}\n", ":1:27: ", {"classes"}},
    {"a class beyond the largest",
     "pools: {frames: {classes: [2GiB]}}\n",
     ":1:28: ",
     {"classes", "1GiB"}},
    {"reservations above the budget",
     "budget: 64MiB\npools:\n  a: {reserved: 40MiB}\n  b: {reserved: 40MiB}\n",
     ":",
     {"reserved", "budget"}},
    {"a reservation above the limit",
     "budget: 64MiB\npools: {a: {reserved: 40MiB, limit: 20MiB}}\n",
     ":2:",
     {"reserved", "limit"}},
    {"low above high",
     "pools: {a: {watermarks: {low: 2MiB, high: 1MiB}}}\n",
     ":1:",
     {"watermarks", "low", "high"}},
    {"a lease that is too short",
     "pools: {a: {handoff: {lease: 1ms}}}\n",
     ":1:30: ",
     {"lease", "100ms"}},
    {"a pool's name with a slash", "pools: {a/b: {}}\n", ":1:9: ", {"a/b"}},
    {"a socket that is no absolute path",
     "socket: {path: here.sock}\n",
     ":1:16: ",
     {"socket.path", "absolute"}},
    {"a list where a map belongs", "pools: [a, b]\n", ":1:8: ", {"pools"}},
    {"two documents", "budget: 1GiB\n---\nbudget: 2GiB\n", ":", {}},
    {"a node that does not exist", "pools: {a: {nodes: [1000]}}\n", ":1:20: ", {"nodes", "1000"}},
    {"an unknown user of a page size", "pages: {size: [3MiB]}\n", ":1:16: ", {"3MiB", "2MiB"}},
};

}  // namespace

TEST_CASE("a configuration that cannot be is refused with its place") {
  const TemporaryFolder folder;
  for (const Bad& bad : kBad) {
    CAPTURE(bad.name);
    for (const bool check_only : {true, false}) {
      const CommandResult result = run_with(folder, bad.text, check_only);
      CAPTURE(result.err);
      CHECK(result.exit_code == 2);
      CHECK(result.err.find(folder.path() + "/bad.yaml" + bad.place) != std::string::npos);
      for (const char* word : bad.says) CHECK(result.err.find(word) != std::string::npos);
      CHECK(result.err.find("terminate") == std::string::npos);
    }
  }
}

TEST_CASE("all that is wrong is named at once") {
  const TemporaryFolder folder;
  const CommandResult result =
      run_with(folder, "budget: lots\nlog: {level: loud}\npools: {a: {scrub: maybe}}\n", true);
  CAPTURE(result.err);
  CHECK(result.exit_code == 2);
  CHECK(result.err.find(":1:9: ") != std::string::npos);
  CHECK(result.err.find(":2:14: ") != std::string::npos);
  CHECK(result.err.find(":3:20: ") != std::string::npos);
}

TEST_CASE("a good configuration checks out, an absent one is named") {
  const TemporaryFolder folder;
  const CommandResult good = run_with(folder, "budget: 64MiB\npools: {a: {}}\n", true);
  CHECK(good.exit_code == 0);
  CHECK(good.out.find("OK") != std::string::npos);
  CHECK(good.err == "");
  ProgramOptions options;
  options.arguments = {daemon_program(), "--check-config", "--config",
                       folder.path() + "/none.yaml"};
  const CommandResult absent = run_command(options);
  CHECK(absent.exit_code == 2);
  CHECK(absent.err.find("none.yaml") != std::string::npos);
  options.arguments = {daemon_program(), "--check-config", "--config", folder.path()};
  CHECK(run_command(options).exit_code == 2);
}

TEST_CASE("an unknown option is refused with exit code 2") {
  ProgramOptions options;
  options.arguments = {daemon_program(), "--frobnicate"};
  const CommandResult result = run_command(options);
  CHECK(result.exit_code == 2);
  CHECK((result.err + result.out).find("frobnicate") != std::string::npos);
}

TEST_CASE("a budget that cannot hold the pools' records is refused with a reason, not a crash") {
  const TemporaryFolder folder;
  const CommandResult result =
      run_with(folder,
               "budget: 1MiB\nsocket: {path: " + folder.path() +
                   "/s.sock}\nmetrics: {listen: []}\npools: {a: {classes: [4KiB, 1MiB]}}\n",
               false);
  CAPTURE(result.err);
  CHECK((result.exit_code == 1 || result.exit_code == 2));
  CHECK(result.err.find("budget") != std::string::npos);
}
