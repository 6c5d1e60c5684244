#include "ctl/holders.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include <zeropool/lib/slot_mark.hpp>
#include <zeropool/lib/unique_fd.hpp>

#include "ctl/admin_client.hpp"
#include "ctl/hold_profile.hpp"
#include "ctl/process_maps.hpp"
#include "ctl/render.hpp"
#include "ctl/table.hpp"

namespace zeropool::ctl {
namespace {

using nlohmann::json;

int failed(const std::string& sentence) {
  std::fprintf(stderr, "zeropoolctl: %s\n", printable(sentence).c_str());
  return kExitFailed;
}

std::string query_text(const HoldersOptions& options) {
  json query = json::object();
  if (options.older_than_seconds > 0) query["older_than_seconds"] = options.older_than_seconds;
  if (!options.pool.empty()) query["pool"] = options.pool;
  if (options.client != 0) query["client"] = options.client;
  return query.empty() ? std::string{} : query.dump();
}

// What each client that the document names has mapped; why not, on standard error, once for all.
std::map<std::uint64_t, ProcessMaps> maps_of(const json& document) {
  std::map<std::uint64_t, ProcessMaps> maps;
  std::string why;
  std::string whose;
  for (const json& stack : list_at(document, "stacks")) {
    const std::uint64_t pid = number_at(stack, "pid");
    if (pid == 0 || maps.contains(pid)) continue;
    ProcessMaps& its = maps[pid] = read_process_maps(pid);
    if (its.why.empty()) continue;
    why = its.why;
    whose += (whose.empty() ? "" : ", ") + std::to_string(pid);
  }
  if (!whose.empty()) {
    failed("stacks are bare addresses: what process " + whose + " has mapped cannot be read (" +
           why + "); run this as root, or as the user of that process");
  }
  return maps;
}

bool write_file(const std::string& path, const std::string& bytes, std::string& why) {
  // Addresses and names of programs: for whoever asked, not for everybody.
  const lib::UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  std::size_t done = 0;
  while (fd && done < bytes.size()) {
    const ssize_t wrote = ::write(fd.get(), bytes.data() + done, bytes.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) break;
    done += static_cast<std::size_t>(wrote);
  }
  if (fd && done == bytes.size()) return true;
  why = "cannot write " + path + ": " + std::strerror(errno);
  return false;
}

}  // namespace

void add_holders(CLI::App& app, HoldersOptions& options) {
  CLI::App* command = app.add_subcommand("holders",
                                         "Who holds buffers, of which class, and since when; and "
                                         "from where in the program, for clients "
                                         "that sample their gets (ZEROPOOL_SAMPLE_STACKS)");
  const std::map<std::string, double> units = {{"ms", 0.001}, {"s", 1},    {"m", 60},
                                               {"min", 60},   {"h", 3600}, {"d", 86400}};
  command
      ->add_option("--older-than", options.older_than_seconds,
                   "Only what has been held for at least so long: 90s, 5m, 2h, 1d")
      ->transform(
          CLI::AsNumberWithUnit(units, CLI::AsNumberWithUnit::CASE_SENSITIVE).description(""))
      ->check(CLI::Range(0.0, 1e9).description(""))
      ->type_name("DURATION");
  command->add_option("--pool", options.pool, "Only of this pool")->type_name("POOL");
  command->add_option("--client", options.client, "Only of the client with this number")
      ->check(CLI::Range(std::uint32_t{1}, lib::kMaxClientId))
      ->type_name("ID");
  command->add_option("--pprof", options.pprof, "Also write it as a profile for pprof")
      ->type_name("FILE");
}

int run_holders(const HoldersOptions& options) {
  const AdminAnswer answer = ask_daemon(options.socket, "holders", query_text(options));
  if (answer.exit_code != kExitOk) {
    failed(answer.error);
    return answer.exit_code;
  }
  std::map<std::uint64_t, ProcessMaps> maps;
  if (!options.as_json || !options.pprof.empty()) maps = maps_of(answer.document);
  if (!options.pprof.empty()) {
    std::string profile;
    std::string why;
    if (!hold_profile(answer.document, maps, profile, why) ||
        !write_file(options.pprof, profile, why)) {
      return failed(why);
    }
  }
  const std::string text = options.as_json ? answer.text : render_holders(answer.document, maps);
  if (std::fputs(text.c_str(), stdout) == EOF || std::fflush(stdout) != 0) {
    std::perror("zeropoolctl: cannot write");
    return kExitFailed;
  }
  return kExitOk;
}

}  // namespace zeropool::ctl
