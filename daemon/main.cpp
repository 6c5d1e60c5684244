// zeropoold: command line, configuration, signals; everything else is in Daemon.

#include <cstdio>
#include <exception>
#include <signal.h>
#include <string>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <spdlog/spdlog.h>

#include "daemon/build_info.hpp"
#include "daemon/config.hpp"
#include "daemon/daemon.hpp"
#include "daemon/logging.hpp"
#include "daemon/machine_memory.hpp"
#include "daemon/page_reserve.hpp"
#include "daemon/web_config.hpp"
#include "zeropool/lib/topology.hpp"

namespace {

namespace daemon = zeropool::daemon;

constexpr const char* kDefaultConfig = "/etc/zeropool/zeropoold.yaml";
constexpr int kOk = 0;
constexpr int kRuntimeError = 1;
constexpr int kUsageError = 2;

struct Arguments {
  std::string config;
  std::string log_level;
  bool check_config = false;
  bool foreground = false;
  bool take_over = false;
  bool reserve_pages = false;
};

// Blocked before any thread is made, so that they all wait for the loop.
void block_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGHUP, SIGTERM, SIGINT}) sigaddset(&set, signal);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  // As PID 1 of a container it inherits orphans, its own holder among them: the kernel reaps them.
  ::signal(SIGCHLD, SIG_IGN);
}

daemon::ConfigOutcome read_config(const std::string& path) {
  if (path.empty()) {
    daemon::ConfigOutcome outcome;
    outcome.config = daemon::Config{};
    return outcome;
  }
  daemon::MachineFacts machine;
  machine.total_memory_bytes = daemon::read_machine_memory().usable_bytes;
  for (const auto& node : zeropool::lib::read_topology().nodes) machine.nodes.push_back(node.id);
  return daemon::validate_against_machine(daemon::load_config(path), machine);
}

// For a oneshot unit that runs as root before the daemon: the pages stay.
int reserve_pages(const daemon::Config& config) {
  zeropool::lib::Topology topology = zeropool::lib::read_topology();
  zeropool::lib::keep_to_allowed_nodes(topology);
  const std::uint64_t budget = config.budget_bytes(daemon::read_machine_memory().usable_bytes);
  const auto wishes = daemon::page_wishes(config, topology, budget);
  if (wishes.empty()) {
    std::printf("nothing to reserve: no pool's pages.size begins with 1GiB or 2MiB\n");
    return kOk;
  }
  bool all = true;
  for (const daemon::PageGrant& grant : daemon::reserve_pages(wishes)) {
    std::fprintf(grant.full() ? stdout : stderr, "%s\n", grant.describe().c_str());
    all = all && grant.full();
  }
  return all ? kOk : kRuntimeError;
}

bool web_config_is_good(const daemon::MetricsConfig& metrics) {
  if (!metrics.web_config) return true;
  const daemon::WebConfigOutcome outcome = daemon::load_web_config(*metrics.web_config);
  for (const daemon::ConfigError& error : outcome.errors) {
    std::fprintf(stderr, "%s\n", error.to_string().c_str());
  }
  return outcome.config.has_value();
}

int run(const Arguments& arguments) {
  std::string path = arguments.config;
  if (path.empty() && ::access(kDefaultConfig, R_OK) == 0) path = kDefaultConfig;
  const daemon::ConfigOutcome outcome = read_config(path);
  for (const daemon::ConfigError& error : outcome.errors) {
    std::fprintf(stderr, "%s\n", error.to_string().c_str());
  }
  if (!outcome.ok()) return kUsageError;
  if (arguments.check_config) {
    if (!web_config_is_good(outcome.config->metrics)) return kUsageError;
    std::printf("%s: OK\n", path.empty() ? "defaults" : path.c_str());
    return kOk;
  }
  if (arguments.reserve_pages) return reserve_pages(*outcome.config);
  block_signals();
  daemon::start_logging(arguments.log_level.empty() ? outcome.config->log.level
                                                    : arguments.log_level);
  spdlog::info("zeropoold {} ({})", daemon::build_info::version, daemon::build_info::revision);
  std::string why;
  const auto server =
      daemon::Daemon::start({path, arguments.log_level, arguments.take_over}, *outcome.config, why);
  if (!server) {
    spdlog::critical("cannot start: {}", why);
    return kRuntimeError;
  }
  server->run();
  if (server->handed_over()) ::_exit(kOk);
  return kOk;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app{"zeropoold: shared-memory buffers for the processes of this machine"};
  app.add_option(
         "--config", arguments.config,
         "Configuration file (default: " + std::string(kDefaultConfig) + ", if it is there)")
      ->type_name("FILE");
  app.add_flag("--check-config", arguments.check_config, "Check the configuration, and exit");
  app.add_flag(
      "--reserve-pages", arguments.reserve_pages,
      "Ask the kernel for the hugepages of the budget, say what was granted, and exit: 0 when it "
      "was all (needs root; the pages stay)");
  app.add_option("--log-level", arguments.log_level, "In place of the configured one")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "critical", "off"}));
  app.add_flag("--foreground", arguments.foreground,
               "Stay in the foreground (it always does; for service files)");
  app.add_flag("--take-over", arguments.take_over,
               "Take the place of the zeropoold that runs at the same socket: clients go on");
  app.set_version_flag("--version", "zeropoold " + std::string(daemon::build_info::version) + " (" +
                                        std::string(daemon::build_info::revision) + ", " +
                                        std::string(daemon::build_info::compiler) + ")");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kOk : kUsageError;
  }
  try {
    return run(arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "zeropoold: %s\n", error.what());
    return kRuntimeError;
  }
}
