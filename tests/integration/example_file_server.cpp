// examples/file_server with 32 buffers: two thousand clients at once, slow ones, those that hang up, and names that it must not
// serve. Every byte is compared, and nothing is left behind.

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <sys/stat.h>
#include <vector>

#include <doctest/doctest.h>

#include "support/daemon_process.hpp"
#include "support/file_crowd.hpp"

namespace zeropool::testing {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr int kNoUring = 77;
constexpr std::size_t kLargest = 3 << 20;
constexpr std::uint64_t kMostServerBytes = 96 << 20;  // of its memory, for two thousand clients
constexpr std::uint64_t kMostServerThreads = 16;      // its own, and the kernel's for it
// Memory is committed 2 MiB at a time, and a second time there is no room for it: 32 buffers of 64 KiB, and not one more.
constexpr const char* kConfig =
    "budget: 64MiB\nlimits: {clients: 16, threads: 16}\npages: {size: [4KiB]}\n"
    "pools: {files: {classes: [64KiB], limit: 3MiB, thread_cache: 64KiB,\n"
    "                watermarks: {low: 0, high: 0}, wait: {timeout: 60s}}}\n";

std::string server_program() {
  const char* folder = std::getenv("ZEROPOOL_EXAMPLES_DIR");
  REQUIRE_MESSAGE(folder != nullptr, "ZEROPOOL_EXAMPLES_DIR is not set; run this by ctest");
  return std::string(folder) + "/file_server";
}

// "VmHWM", in bytes or as a number.
std::uint64_t status_of(pid_t pid, const std::string& key) {
  const std::string text = read_file("/proc/" + std::to_string(pid) + "/status");
  const std::size_t at = text.find("\n" + key + ":");
  REQUIRE(at != std::string::npos);
  const std::uint64_t value = std::strtoull(text.c_str() + at + key.size() + 2, nullptr, 10);
  return key.rfind("Vm", 0) == 0 ? value * 1024 : value;
}

class FileServer {
 public:
  FileServer(const std::string& folder, std::vector<std::string> more) {
    ProgramOptions options;
    options.arguments = {server_program(), folder};
    options.arguments.insert(options.arguments.end(), more.begin(), more.end());
    options.output = folder_.path() + "/out";
    options.errors = folder_.path() + "/err";
    program_.emplace(options);
    unsigned port = 0;
    eventually([&] {
      return std::sscanf(read_file(folder_.path() + "/out").c_str(), "port %u, %zu", &port,
                         &registered_) == 2 ||
             program_->ended().has_value();
    });
    port_ = static_cast<std::uint16_t>(port);
    no_uring_ = port == 0 && program_->ended() && program_->ended()->status == kNoUring;
    if (!no_uring_) REQUIRE_MESSAGE(port != 0, errors());
  }
  bool no_uring() const { return no_uring_; }
  std::uint16_t port() const { return port_; }
  std::size_t registered() const { return registered_; }
  pid_t pid() const { return program_->pid(); }
  std::string errors() const { return read_file(folder_.path() + "/err"); }
  std::string out() const { return read_file(folder_.path() + "/out"); }
  void kill() {
    program_->send(SIGKILL);
    program_->finish(10s);
  }
  // Its last line: what it has served.
  std::string stop() {
    program_->send(SIGTERM);
    const End end = program_->finish(60s);
    CHECK_MESSAGE(end.well(), describe(end) << "\n" << errors());
    return out();
  }

 private:
  TemporaryFolder folder_;
  std::optional<Program> program_;
  std::uint16_t port_ = 0;
  std::size_t registered_ = 0;
  bool no_uring_ = false;
};

struct Scene {
  explicit Scene(std::vector<std::string> more = {}) : daemon(kConfig) {
    fs::create_directory(files_folder());
    files.emplace(files_folder(), 40, kLargest);
    more.insert(more.end(), {"--socket", daemon.socket()});
    server.emplace(files_folder(), more);
  }
  std::string files_folder() const { return folder.path() + "/files"; }
  bool skipped() const {
    if (server->no_uring()) MESSAGE("SKIPPED: " << server->errors());
    return server->no_uring();
  }
  void check_nothing_is_lost() {
    CHECK(eventually([&] { return daemon.clients() == 0; }));
    CHECK(becomes_all_free(daemon, 30s));
    CHECK(daemon.metric("zeropool_pinned_bytes") == 0);
  }

  DaemonProcess daemon;
  TemporaryFolder folder;
  std::optional<FileSet> files;
  std::optional<FileServer> server;
};

}  // namespace

TEST_CASE("32 buffers serve 2,000 clients at once, slow ones and quitters among them") {
  Scene scene;
  if (scene.skipped()) return;
  CHECK(scene.server->registered() == 32);
  CHECK(scene.daemon.audit()["slots"] == 32);
  CrowdPlan plan;
  plan.deaf = 50;  // more than there are buffers: a server that held one for each would stop here
  plan.quitters = 100;
  const CrowdReport report = run_crowd(scene.server->port(), *scene.files, plan);
  INFO(scene.server->errors());
  CHECK(report.most_at_once == plan.clients);
  CHECK(report.files == (plan.clients - plan.deaf - plan.quitters) * plan.files + plan.deaf);
  CHECK(report.wrong == 0);
  CHECK(report.refused == 0);
  CHECK(report.unfinished == 0);
  const std::uint64_t peak = status_of(scene.server->pid(), "VmHWM");
  CHECK_MESSAGE(peak < kMostServerBytes, peak);
  CHECK(status_of(scene.server->pid(), "Threads") <= kMostServerThreads);
  CHECK(scene.daemon.audit()["slots"] == 32);
  const std::string served = scene.server->stop();
  const std::uint64_t megabytes = report.bytes / 1'000'000;
  MESSAGE(megabytes << " MB in " << report.seconds << " s, peak of the server " << (peak >> 10)
                    << " KiB: " << served);
  scene.check_nothing_is_lost();
}

TEST_CASE("nothing outside the folder is sent, and what is no file is refused") {
  Scene scene;
  if (scene.skipped()) return;
  write_file(scene.folder.path() + "/secret", "secret");
  const std::string root = scene.files_folder();
  fs::create_directories(root + "/sub");
  write_file(root + "/sub/inside", "inside");
  fs::create_symlink("../secret", root + "/link-out");
  fs::create_symlink(scene.folder.path() + "/secret", root + "/absolute-link-out");
  fs::create_symlink("sub/inside", root + "/link-in");
  REQUIRE(::mkfifo((root + "/pipe").c_str(), 0600) == 0);
  const std::uint16_t port = scene.server->port();
  for (const std::string name :
       {"../secret", "/etc/passwd", "sub/../../secret", "link-out", "absolute-link-out", "sub", ".",
        "pipe", "none", "sub/inside/more", "/proc/self/maps", "..", " "}) {
    CAPTURE(name);
    const std::string answer = ask(port, name + "\n");
    CHECK(answer.rfind("NO ", 0) == 0);
    CHECK(answer.find("secret") == std::string::npos);
  }
  CHECK(ask(port, "sub/inside\n") == "OK 6\ninside");
  CHECK(ask(port, "sub/../sub/inside\n") == "OK 6\ninside");
  CHECK(ask(port, "link-in\n") == "OK 6\ninside");
  CHECK(ask(port, "none\nlink-in\n").find("\nOK 6\ninside") != std::string::npos);
  // No line, and more than a line may have: it hangs up.
  CHECK(ask(port, "\n").empty());
  CHECK(ask(port, "no newline").empty());
  CHECK(ask(port, std::string(100'000, 'x')).empty());
  CHECK(ask(port, std::string("a\0b\n", 4)).rfind("NO ", 0) == 0);
  scene.server->stop();
  scene.check_nothing_is_lost();
}

TEST_CASE("killed with reads under way, it leaves every buffer to others") {
  Scene scene;
  if (scene.skipped()) return;
  CrowdPlan plan;
  plan.clients = 200;
  plan.limit = 1s;  // it is in the middle then
  plan.files = 100'000;
  const CrowdReport report = run_crowd(scene.server->port(), *scene.files, plan);
  CHECK(report.unfinished > 0);
  CHECK(report.wrong == 0);
  scene.server->kill();
  scene.check_nothing_is_lost();
}

TEST_CASE("the same server with vectors sends the same bytes") {
  Scene scene({"--heap"});
  if (scene.skipped()) return;
  CHECK(scene.server->registered() == 0);
  CrowdPlan plan;
  plan.clients = 200;
  plan.deaf = 5;
  plan.quitters = 20;
  const CrowdReport report = run_crowd(scene.server->port(), *scene.files, plan);
  CHECK(report.files == 175 * plan.files + 5);
  CHECK(report.wrong + report.refused + report.unfinished == 0);
  scene.server->stop();
}

TEST_CASE("without a daemon it fails and says what to do") {
  const TemporaryFolder folder;
  ProgramOptions options;
  options.arguments = {server_program(), folder.path(), "--socket", folder.path() + "/none.sock"};
  const CommandResult result = run_command(options);
  CHECK((result.exit_code == 1 || result.exit_code == kNoUring));
  CHECK(result.err.find("file_server: ") == 0);
}

}  // namespace zeropool::testing
