// zeropoolctl doctor, against a real daemon on this machine, and without one.

#include <filesystem>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "tests/integration/support/daemon_process.hpp"

using namespace zeropool::testing;

namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

bool has_level(const nlohmann::json& document, const std::string& level, const std::string& what) {
  for (const auto& finding : document["findings"]) {
    if (finding["level"] == level && has(finding["what"].get<std::string>(), what)) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("doctor: a daemon that got what it asked for, looked at by its own process") {
  DaemonProcess daemon("budget: 64MiB\npages: {size: [4KiB]}\n");
  const nlohmann::json document = daemon.ctl_json({"doctor"});
  CHECK(document["well"].get<bool>());
  CHECK(has_level(document, "ok", "zeropoold answers at " + daemon.socket()));
  CHECK(has_level(document, "ok", "files; limits.clients needs"));
  CHECK(has_level(document, "ok", "membarrier"));
  for (const auto& finding : document["findings"]) {
    // Whatever is not well names its cure.
    const bool cured = finding["level"] == "ok" || !finding["command"].get<std::string>().empty();
    CHECK_MESSAGE(cured, finding.dump());
  }
}

TEST_CASE("doctor: pages that cannot be had are a warning with a command, and no failure") {
  DaemonProcess daemon(
      "budget: 64MiB\npages: {size: [1GiB, 4KiB]}\npools: {frames: {pages: {size: "
      "[2MiB, 4KiB]}}}\n");
  const CommandResult result = daemon.ctl({"doctor"});
  CHECK(result.exit_code == 0);
  const bool fell_back = daemon.metric("zeropool_page_fallbacks_total") > 0;
  CHECK_MESSAGE(has(result.out, "in place of 2MiB") == fell_back, result.out);
  CHECK_MESSAGE((has(result.out, "-> zeropoold --reserve-pages") == fell_back), result.out);
}

TEST_CASE("doctor: without a daemon the machine is looked at all the same") {
  DaemonProcess daemon("budget: 64MiB\n");
  CHECK(daemon.stop().well());
  const CommandResult result = daemon.ctl({"doctor"});
  CHECK(result.exit_code == 0);
  CHECK(has(result.out, "warn  no daemon"));
  CHECK(has(result.out, "-> systemctl start zeropoold"));
  CHECK(has(result.out, "online nodes"));
}

TEST_CASE("doctor: a user whom the daemon tells no more is told to ask as root, and no failure") {
  if (::geteuid() != 0) {
    MESSAGE("not run: it takes root to become another user");
    return;
  }
  DaemonProcess daemon("budget: 64MiB\n");
  // Where everybody may run it, wherever the build is.
  const std::string ctl = daemon.folder() + "/zeropoolctl";
  std::filesystem::copy_file(ctl_program(), ctl);
  ProgramOptions options;
  options.arguments = {ctl, "--socket", daemon.socket(), "doctor"};
  options.user = 65534;
  const CommandResult result = run_command(options);
  CHECK(result.exit_code == 0);
  CHECK_MESSAGE(has(result.out, "warn  user 65534 may not ask for 'doctor'"), result.out);
  CHECK_MESSAGE(has(result.out, "-> sudo zeropoolctl doctor"), result.out);
  CHECK_FALSE(has(result.out, "usermod"));
  // Behind a door that is closed there is another remedy.
  REQUIRE(::chmod(daemon.socket().c_str(), 0600) == 0);
  const CommandResult outside = run_command(options);
  CHECK(outside.exit_code == 1);
  CHECK_MESSAGE(has(outside.out, "bad   access denied to " + daemon.socket()), outside.out);
  CHECK_MESSAGE(has(outside.out, "-> usermod -aG zeropool $USER, and log in again"), outside.out);
}
