// examples/pipeline against a daemon of its own: the sums of a tree, with hashers killed on the way.

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <signal.h>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "support/daemon_process.hpp"
#include "support/pattern.hpp"

namespace zeropool::testing {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr std::size_t kChunkBytes = 1024 * 1024;
constexpr const char* kConfig =
    "budget: 256MiB\n"
    "pools: {demo: {classes: [4KiB, 64KiB, 1MiB]}}\n";

std::string pipeline_program() {
  const char* folder = std::getenv("ZEROPOOL_EXAMPLES_DIR");
  REQUIRE_MESSAGE(folder != nullptr, "ZEROPOOL_EXAMPLES_DIR is not set; run this by ctest");
  return std::string(folder) + "/pipeline";
}

std::string random_text(std::size_t bytes, Random& random) {
  std::string text(bytes, 0);
  std::size_t at = 0;
  for (; at + sizeof(std::uint64_t) <= bytes; at += sizeof(std::uint64_t)) {
    const std::uint64_t word = random();
    std::memcpy(text.data() + at, &word, sizeof(word));
  }
  for (; at < bytes; ++at) text[at] = static_cast<char>(random.below(256));
  return text;
}

// What sha256sum says of it.
std::string sum_of(const std::string& path) {
  // From standard input, so that the name plays no part.
  ProgramOptions options;
  options.arguments = {"/bin/sh", "-c", "exec sha256sum <\"$1\"", "sh", path};
  const CommandResult result = run_command(options);
  REQUIRE_MESSAGE(result.exit_code == 0, result.err);
  return result.out.substr(0, 64);
}

// A tree with every size and name that is an edge of something, and what its sums are.
class Tree {
 public:
  Tree() {
    Random random(42);
    fs::create_directories(root() + "/deep/er");
    for (const std::size_t bytes :
         {std::size_t{1}, std::size_t{4095}, std::size_t{4096}, std::size_t{4097}, kChunkBytes - 1,
          kChunkBytes, kChunkBytes + 1, 3 * kChunkBytes, 9 * kChunkBytes + 12345}) {
      add("size-" + std::to_string(bytes), random_text(bytes, random));
    }
    add("empty", "");
    add("deep/er/also empty", "");
    add("deep/a name with spaces", "spaces");
    add("deep/a\nnewline", "newline");
    add("deep/a\rreturn", "return");
    add("deep/back\\slash", "backslash");
    add("deep/'quote\" $(x)", "quotes");
    for (int i = 0; i < 200; ++i) {
      add("deep/er/small-" + std::to_string(i), random_text(random.below(20000), random));
    }
    for (int i = 0; i < 12; ++i) {
      add("large-" + std::to_string(i),
          random_text(4 * kChunkBytes + random.below(kChunkBytes), random));
    }
    fs::create_symlink("size-1", root() + "/a link to a file");
    fs::create_directory_symlink("deep", root() + "/a link to a folder");
  }

  std::string root() const { return folder_.path() + "/tree"; }
  std::uint64_t bytes() const { return bytes_; }
  const std::map<std::string, std::string>& sums() const { return sums_; }

 private:
  void add(const std::string& name, const std::string& text) {
    const std::string path = root() + "/" + name;
    write_file(path, text);
    sums_[path] = sum_of(path);
    bytes_ += text.size();
  }

  TemporaryFolder folder_;
  std::map<std::string, std::string> sums_;
  std::uint64_t bytes_ = 0;
};

const Tree& tree() {
  static const Tree the_tree;
  return the_tree;
}

// Reads what --sums wrote, escapes undone.
std::map<std::string, std::string> read_sums(const std::string& path) {
  std::map<std::string, std::string> sums;
  const std::string text = read_file(path);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    REQUIRE(end != std::string::npos);
    std::string line = text.substr(at, end - at);
    at = end + 1;
    const bool escaped = line[0] == '\\';
    if (escaped) line.erase(0, 1);
    REQUIRE(line.size() > 66);
    REQUIRE(line.substr(64, 2) == "  ");
    std::string name;
    for (std::size_t i = 66; i < line.size(); ++i) {
      if (!escaped || line[i] != '\\') {
        name += line[i];
        continue;
      }
      const char code = line[++i];
      name += code == 'n' ? '\n' : code == 'r' ? '\r' : '\\';
    }
    REQUIRE(sums.emplace(name, line.substr(0, 64)).second);
  }
  return sums;
}

struct PipelineRun {
  CommandResult result;
  nlohmann::json summary;
  std::map<std::string, std::string> sums;
};

PipelineRun run_pipeline(const DaemonProcess& daemon, std::vector<std::string> arguments) {
  const TemporaryFolder folder;
  const std::string sums_path = folder.path() + "/sums";
  ProgramOptions options;
  options.arguments = {pipeline_program(), tree().root(),   "--json", "--sums", sums_path,
                       "--socket",         daemon.socket(), "--pool", "demo"};
  options.arguments.insert(options.arguments.end(), arguments.begin(), arguments.end());
  PipelineRun run;
  run.result = run_command(options);
  INFO(run.result.err);
  REQUIRE(run.result.exit_code == 0);
  run.summary = nlohmann::json::parse(run.result.out);
  run.sums = read_sums(sums_path);
  return run;
}

void check_everything_was_hashed(const PipelineRun& run) {
  CHECK(run.summary["files"] == tree().sums().size());
  CHECK(run.summary["bytes"] == tree().bytes());
  CHECK(run.summary["unreadable_files"] == 0);
  CHECK(run.sums == tree().sums());
}

void check_nothing_is_lost(const DaemonProcess& daemon) {
  CHECK(becomes_all_free(daemon));
  const nlohmann::json audit = daemon.audit();
  INFO(audit.dump());
  CHECK(audit["slots"] > 0);
  CHECK(eventually([&] { return daemon.clients() == 0; }));
}

TEST_CASE("the pipeline's sums are those of sha256sum, and every buffer comes back") {
  DaemonProcess daemon(kConfig);
  const PipelineRun run = run_pipeline(daemon, {"--no-kill"});
  check_everything_was_hashed(run);
  CHECK(run.summary["kills"] == 0);
  CHECK(run.summary["released"] > 0);
  CHECK(run.summary["adopted"] == run.summary["released"]);
  check_nothing_is_lost(daemon);
  CHECK(daemon.stop().well());
}

TEST_CASE("a hasher killed at any time changes no sum and loses no buffer") {
  DaemonProcess daemon(kConfig);
  std::uint64_t redone = 0;
  for (const int percent : {0, 3, 10, 25, 40, 55, 70, 85, 97, 100}) {
    CAPTURE(percent);
    const PipelineRun run = run_pipeline(daemon, {"--kill-at", std::to_string(percent)});
    check_everything_was_hashed(run);
    CHECK(run.summary["kills"] == 1);
    CHECK(run.summary["replacements"] == 1);
    redone += run.summary["redone_files"].get<std::uint64_t>();
    check_nothing_is_lost(daemon);
  }
  CHECK(redone > 0);
  CHECK(daemon.log().find("has ended") != std::string::npos);
  CHECK(daemon.stop().well());
}

TEST_CASE("one reader, one hasher, killed three times") {
  DaemonProcess daemon(kConfig);
  const PipelineRun run = run_pipeline(daemon, {"--readers", "1", "--hashers", "1", "--kill-at",
                                                "20", "--kill-at", "40", "--kill-at", "60"});
  check_everything_was_hashed(run);
  CHECK(run.summary["kills"] == 3);
  CHECK(run.summary["redone_files"] > 0);
  check_nothing_is_lost(daemon);
}

TEST_CASE("a pipeline that is interrupted leaves no process and no buffer") {
  DaemonProcess daemon(kConfig);
  const TemporaryFolder folder;
  ProgramOptions options;
  options.arguments = {pipeline_program(), "/usr/lib", "--socket", daemon.socket(), "--no-kill"};
  options.output = folder.path() + "/out";
  Program program(options);
  REQUIRE(eventually([&] { return daemon.clients() >= 4; }));
  program.send(SIGTERM);
  const End end = program.finish(10s);
  INFO(read_file(options.output));
  CHECK(end.status == 130);
  check_nothing_is_lost(daemon);
}

TEST_CASE("a pipeline whose coordinator is killed leaves no process and no buffer") {
  DaemonProcess daemon(kConfig);
  ProgramOptions options;
  options.arguments = {pipeline_program(), "/usr/lib", "--socket", daemon.socket(), "--no-kill"};
  Program program(options);
  REQUIRE(eventually([&] { return daemon.clients() >= 4; }));
  program.send(SIGKILL);
  CHECK(program.finish(10s).signal == SIGKILL);
  check_nothing_is_lost(daemon);
}

TEST_CASE("the same over pipes has the same sums, also when a hasher is killed") {
  DaemonProcess daemon(kConfig);
  for (const int percent : {10, 40, 80}) {
    const PipelineRun run =
        run_pipeline(daemon, {"--mode", "pipes", "--kill-at", std::to_string(percent)});
    check_everything_was_hashed(run);
    CHECK(run.summary["kills"] == 1);
    CHECK(run.summary["gets"] == 0);
  }
}

TEST_CASE("a pipeline without a daemon fails and says what to do") {
  const TemporaryFolder folder;
  ProgramOptions options;
  options.arguments = {pipeline_program(), tree().root(), "--socket", folder.path() + "/none.sock"};
  const CommandResult result = run_command(options);
  CHECK(result.exit_code == 1);
  CHECK(result.err.find("no_daemon") != std::string::npos);
}

TEST_CASE("hello says hello, in C++ and in C") {
  DaemonProcess daemon(kConfig);
  const fs::path folder = fs::path(pipeline_program()).parent_path();
  for (const char* name : {"hello", "hello_c"}) {
    CAPTURE(name);
    ProgramOptions options;
    options.arguments = {(folder / name).string()};
    options.environment = {{"ZEROPOOL_SOCKET", daemon.socket()}};
    const CommandResult result = run_command(options);
    INFO(result.err);
    CHECK(result.exit_code == 0);
    CHECK(result.out == "hello from another process\n");
  }
  check_nothing_is_lost(daemon);
}

}  // namespace
}  // namespace zeropool::testing
