// zeropoolctl: asks the daemon, prints its answer for people or, with --json, for programs.

#include <array>
#include <cstdio>
#include <string>

#include <CLI/CLI.hpp>

#include "ctl/admin_client.hpp"
#include "ctl/doctor.hpp"
#include "ctl/drain.hpp"
#include "ctl/holders.hpp"
#include "ctl/render.hpp"
#include "ctl/table.hpp"
#include "ctl/top.hpp"

namespace {

using zeropool::ctl::AdminAnswer;

struct Command {
  const char* name;
  const char* help;
  bool takes_pool;
  std::string (*render)(const nlohmann::json&);
};

constexpr std::array<Command, 6> kCommands = {{
    {"status", "Is all well? Budget, pools, and what is wrong", false,
     zeropool::ctl::render_status},
    {"pools", "Every pool, node and class: slots by state", false, zeropool::ctl::render_pools},
    {"clients", "Who is attached, and what each holds", false, zeropool::ctl::render_clients},
    {"trim", "Give memory that nobody uses back to the system", true, zeropool::ctl::render_trim},
    {"audit",
     "Count every slot once, by who has it: free (in the ring) + cold (set aside) + cached (by "
     "threads) + held (by applications) + in transit + shared + quarantined + daemon (absent) = "
     "slots; also looks for pages that nobody committed, and punches them out. Exits 1 when a slot "
     "is orphaned, lost, doubled or broken",
     true, zeropool::ctl::render_audit},
    {"reload", "Read the configuration again", false, zeropool::ctl::render_reload},
}};

int run(const Command& command, const std::string& socket, const std::string& pool, bool as_json) {
  const AdminAnswer answer = zeropool::ctl::ask_daemon(socket, command.name, pool);
  if (answer.exit_code != zeropool::ctl::kExitOk) {
    std::fprintf(stderr, "zeropoolctl: %s\n", zeropool::ctl::printable(answer.error).c_str());
    return answer.exit_code;
  }
  const std::string text = as_json ? answer.text : command.render(answer.document);
  if (std::fputs(text.c_str(), stdout) == EOF || std::fflush(stdout) != 0) {
    std::perror("zeropoolctl: cannot write");
    return zeropool::ctl::kExitFailed;
  }
  const bool unclean = command.render == zeropool::ctl::render_audit &&
                       !zeropool::ctl::truth_at(answer.document, "clean");
  return unclean ? zeropool::ctl::kExitFailed : zeropool::ctl::kExitOk;
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app{"Looks after zeropoold", "zeropoolctl"};
  app.set_version_flag("--version", ZEROPOOL_VERSION);
  app.require_subcommand(1);
  app.fallthrough();  // --json and --socket also after the command
  std::string socket;
  std::string pool;
  bool as_json = false;
  app.add_option("--socket", socket,
                 "The daemon's socket (else $ZEROPOOL_SOCKET, $XDG_RUNTIME_DIR, /run/zeropool)")
      ->type_name("PATH");
  app.add_flag("--json", as_json, "Print the daemon's document as it is");
  for (const Command& command : kCommands) {
    CLI::App* subcommand = app.add_subcommand(command.name, command.help);
    if (command.takes_pool) subcommand->add_option("POOL", pool, "Only this pool");
  }
  app.add_subcommand("doctor",
                     "Look at this machine and at the daemon: what is not as it should be, and the "
                     "command that mends it. Exits 1 when something is bad");
  zeropool::ctl::HoldersOptions holders;
  zeropool::ctl::add_holders(app, holders);
  zeropool::ctl::TopOptions top;
  CLI::App* top_command = app.add_subcommand(
      "top", "The daemon, live: pools, clients and classes by what they hold and get; ? for help");
  top_command->add_option("--interval", top.interval_seconds, "Seconds between two looks (2)")
      ->check(CLI::Range(0.1, 3600.0))
      ->type_name("SECONDS");
  top_command->add_flag("--once", top.once,
                        "Look twice, an interval apart, and print it; for pipes");
  top_command->add_option("--view", top.view, "pools, clients or classes")->type_name("VIEW");
  top_command->add_option("--sort", top.sort, "The title of the column to sort by")
      ->type_name("COLUMN");
  zeropool::ctl::DrainOptions drain;
  CLI::App* drain_command = app.add_subcommand(
      "drain",
      "Take a pool out of service, or all: nobody new is attached, who is attached goes on. With "
      "--wait exits 1 when it is not empty in time");
  drain_command->add_option("POOL", drain.pool, "Only this pool");
  std::string wait;
  CLI::Option* const wait_option =
      drain_command
          ->add_option("--wait", wait,
                       "Until no client is left and every buffer is home, so long at most: 30s, 5m")
          ->type_name("DURATION")
          ->check([&drain](const std::string& text) {
            drain.wait = zeropool::ctl::read_duration(text);
            return drain.wait ? std::string() : "not a duration, as in 500ms, 30s, 5m, 2h: " + text;
          });
  drain_command->add_flag("--stop", drain.stop, "Attach clients again")->excludes(wait_option);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? zeropool::ctl::kExitOk : zeropool::ctl::kExitUsage;
  }
  const std::string chosen = app.get_subcommands().front()->get_name();
  if (chosen == "doctor") return zeropool::ctl::run_doctor(socket, as_json);
  if (chosen == "drain") {
    drain.socket = socket;
    drain.as_json = as_json;
    return zeropool::ctl::run_drain(drain);
  }
  if (chosen == "holders") {
    holders.socket = socket;
    holders.as_json = as_json;
    return zeropool::ctl::run_holders(holders);
  }
  if (chosen == "top") {
    top.socket = socket;
    top.as_json = as_json;
    return zeropool::ctl::run_top(top);
  }
  for (const Command& command : kCommands) {
    if (chosen == command.name) return run(command, socket, pool, as_json);
  }
  return zeropool::ctl::kExitUsage;
} catch (const std::exception& error) {
  std::fprintf(stderr, "zeropoolctl: %s\n", error.what());
  return zeropool::ctl::kExitFailed;
}
