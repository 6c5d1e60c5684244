// Who may: clients of other users, and an ordinary user's own daemon without any configuration.

#include <cstdlib>
#include <filesystem>
#include <grp.h>
#include <signal.h>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::ErrorCode;
using zeropool::Pool;

namespace {

constexpr unsigned kNobody = 65534;

bool root_is_needed() {
  if (::geteuid() == 0) return false;
  MESSAGE("not run: it takes root to become another user");
  return true;
}

void become_nobody() {
  expect(::setgroups(0, nullptr) == 0 && ::setgid(kNobody) == 0 && ::setuid(kNobody) == 0,
         "cannot become another user");
}

struct Opened {
  ErrorCode code = ErrorCode::ok;
  bool got = false;
  char sentence[512] = {};
};

Opened open_as_nobody(const DaemonProcess& daemon, const std::string& name) {
  const auto outcome = run_in_child<Opened>([&] {
    become_nobody();
    auto pool = daemon.open(name);
    Opened opened;
    opened.code = pool.error().code;
    pool.error().sentence.copy(opened.sentence, sizeof(opened.sentence) - 1);
    if (pool) opened.got = static_cast<bool>(pool->get(1));
    return opened;
  });
  CHECK(outcome.end.well());
  CHECK(outcome.failure == "");
  return outcome.value;
}

}  // namespace

TEST_CASE("a user whom the pool does not name is refused, one whom it names is served") {
  if (root_is_needed()) return;
  const DaemonProcess daemon(R"(budget: 64MiB
limits: {clients: 16, threads: 16}
pools:
  ours: {classes: [4KiB], access: {users: [root]}}
  theirs: {classes: [4KiB], access: {users: [65534]}}
  by_group: {classes: [4KiB], access: {groups: [65534]}}
  open: {classes: [4KiB]}
)");
  const Opened refused = open_as_nobody(daemon, "ours");
  CHECK(refused.code == ErrorCode::access_denied);
  const std::string sentence = refused.sentence;
  CHECK(sentence.find("65534") != std::string::npos);
  CHECK(sentence.find("ours") != std::string::npos);
  CHECK(sentence.find("access") != std::string::npos);
  CHECK(open_as_nobody(daemon, "theirs").got);
  CHECK(open_as_nobody(daemon, "by_group").got);
  CHECK(open_as_nobody(daemon, "open").got);
  CHECK(daemon.metric("zeropool_rejections_total", {"reason=\"access_denied\""}) == 1);
  auto ours = daemon.open("ours");
  REQUIRE(ours);
  CHECK(ours->get(1));
}

TEST_CASE("a socket that a user may not open is access_denied with its path") {
  if (root_is_needed()) return;
  const DaemonProcess daemon("budget: 64MiB\npools: {frames: {classes: [4KiB]}}\n");
  REQUIRE(::chmod(daemon.socket().c_str(), 0600) == 0);
  const Opened refused = open_as_nobody(daemon, "frames");
  CHECK(refused.code == ErrorCode::access_denied);
  CHECK(std::string(refused.sentence).find(daemon.socket()) != std::string::npos);
}

TEST_CASE("an ordinary user may look, and not administer another's daemon") {
  if (root_is_needed()) return;
  const DaemonProcess daemon("budget: 64MiB\npools: {frames: {classes: [4KiB]}}\n");
  const TemporaryFolder folder;
  const std::string ctl = folder.path() + "/zeropoolctl";  // where that user can reach it
  std::filesystem::copy_file(ctl_program(), ctl);
  const auto run = [&](const std::string& command) {
    ProgramOptions options;
    options.arguments = {"/bin/sh", "-c",
                         "exec " + ctl + " --socket " + daemon.socket() + " " + command + " 2>&1"};
    options.user = kNobody;
    options.output = folder.path() + "/out";
    Program program(options);
    return program.finish(20s).status;
  };
  CHECK(run("status") == 0);
  CHECK(run("pools") == 0);
  CHECK(run("trim") != 0);
  CHECK(run("reload") != 0);
  CHECK(run("audit") != 0);
}

TEST_CASE("a socket's mode is as configured") {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/a.sock";
  write_file(folder.path() + "/a.yaml", "socket: {path: " + path +
                                            ", mode: \"0640\"}\nbudget: 64MiB\n"
                                            "metrics: {listen: []}\n");
  ProgramOptions options;
  options.arguments = {daemon_program(), "--config", folder.path() + "/a.yaml"};
  Program program(options);
  struct stat info {};
  REQUIRE(eventually([&] { return ::stat(path.c_str(), &info) == 0; }, 20s));
  CHECK(S_ISSOCK(info.st_mode));
  CHECK((info.st_mode & 07777) == 0640);  // from the first moment on
}

TEST_CASE("an ordinary user's daemon starts without any configuration and says what it chose") {
  const bool as_root = ::geteuid() == 0;
  if (std::filesystem::exists("/etc/zeropool/zeropoold.yaml")) {
    MESSAGE("not run: this machine has a configuration of its own");
    return;
  }
  const TemporaryFolder folder;
  const std::string runtime = folder.path() + "/run";
  std::filesystem::create_directory(runtime);
  const std::string daemon = folder.path() + "/zeropoold";  // where that user can reach it
  const std::string ctl = folder.path() + "/zeropoolctl";
  std::filesystem::copy_file(daemon_program(), daemon);
  std::filesystem::copy_file(ctl_program(), ctl);
  if (as_root) REQUIRE(::chown(runtime.c_str(), kNobody, kNobody) == 0);
  ProgramOptions options;
  options.arguments = {daemon};
  options.environment = {{"XDG_RUNTIME_DIR", runtime},
                         {"NOTIFY_SOCKET", std::nullopt},
                         {"ZEROPOOL_SOCKET", std::nullopt}};
  options.output = folder.path() + "/log";
  if (as_root) options.user = kNobody;
  Program program(options);
  const std::string socket = runtime + "/zeropool/zeropoold.sock";
  struct stat info {};
  REQUIRE_MESSAGE(eventually([&] { return ::stat(socket.c_str(), &info) == 0; }, 20s),
                  read_file(options.output));
  const auto outcome = run_in_child<bool>([&] {
    if (as_root) become_nobody();
    ::setenv("XDG_RUNTIME_DIR", runtime.c_str(), 1);
    ::unsetenv("ZEROPOOL_SOCKET");
    auto pool = Pool::open("");
    expect(static_cast<bool>(pool), pool.error().sentence);
    Buffer small = pool->get(100);
    Buffer large = pool->get(4 << 20);
    expect(small && large, zp_last_error());
    return true;
  });
  CHECK(outcome.value);
  CHECK(outcome.failure == "");
  ProgramOptions status = options;
  status.arguments = {ctl, "status"};
  status.output = folder.path() + "/status";
  Program status_program(status);
  CHECK(status_program.finish(20s).well());

  const std::string log = read_file(options.output);
  CAPTURE(log);
  CHECK(log.find("no configuration") != std::string::npos);
  CHECK(log.find(socket) != std::string::npos);
  CHECK(log.find("budget ") != std::string::npos);
  CHECK(log.find("pages") != std::string::npos);
  CHECK(log.find("pool 'default'") != std::string::npos);
  program.send(SIGTERM);
  CHECK(program.finish(10s).well());
  CHECK(::stat(socket.c_str(), &info) != 0);
}
