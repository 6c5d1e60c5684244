#pragma once
// DaemonProcess: a zeropoold of one's own, in a private folder.
//
// The program is $ZEROPOOLD, its companion $ZEROPOOLCTL. It has a socket in its folder (mode 0666)
// and its exporter on a free port of 127.0.0.1, unless the configuration says otherwise. It dies
// with the thread that made it, and takes its folder with it.
//
// Errors: the constructor throws, with the daemon's log, when it does not come up: DaemonRefused when it has ended.

#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <zeropool/zeropool.hpp>

#include "program.hpp"

namespace zeropool::testing {

// The programs under test.
std::string daemon_program();
std::string ctl_program();

struct HttpAnswer {
  int status = 0;  // 0: nobody answered
  std::string head;
  std::string body;
};

// It ended before it answered.
struct DaemonRefused : std::runtime_error {
  DaemonRefused(End how, const std::string& its_log)
      : std::runtime_error("zeropoold did not come up, it " + describe(how) + "; its log:\n" +
                           its_log),
        end(how),
        log(its_log) {}
  End end;
  std::string log;
};

class DaemonProcess {
 public:
  // `config` is YAML; keys `socket` and `metrics` are added where it has none. `environment` is added to its own.
  explicit DaemonProcess(const std::string& config, std::optional<unsigned> user = std::nullopt,
                         std::vector<std::pair<std::string, std::string>> environment = {});
  ~DaemonProcess();
  DaemonProcess(const DaemonProcess&) = delete;
  DaemonProcess& operator=(const DaemonProcess&) = delete;

  pid_t pid() const { return program_->pid(); }
  const std::string& folder() const { return folder_.path(); }
  std::string socket() const { return folder() + "/zeropoold.sock"; }
  std::string config_path() const { return folder() + "/zeropoold.yaml"; }
  std::string log() const { return read_file(folder() + "/log"); }
  // Of the one before start_again() or take_over().
  std::string log_before() const { return read_file(folder() + "/log.before"); }
  bool alive() { return !program_->ended().has_value(); }

  // "http://127.0.0.1:PORT/metrics", or https
  std::string metrics_url() const;
  HttpAnswer http(const std::string& method, const std::string& path) const;
  HttpAnswer http_once(const std::string& method, const std::string& path) const;
  std::string scrape() const { return http("GET", "/metrics").body; }
  // The sum of all series of that name whose labels have all of `labels`, as in `state="free"`.
  double metric(const std::string& name, const std::vector<std::string>& labels = {}) const;

  // SIGTERM, after 10 s SIGKILL; how it ended.
  End stop();
  End kill9();
  // After its end: once more, in the same folder.
  void start_again();
  // Another one takes the place of this one while it runs.
  void take_over();
  // The process that keeps its descriptors; -1: none listens.
  pid_t holder() const;
  // The file is what a reload will read.
  void rewrite_config(const std::string& config);
  void send(int signal) { program_->send(signal); }

  CommandResult ctl(std::vector<std::string> arguments) const;
  nlohmann::json ctl_json(std::vector<std::string> arguments) const;
  nlohmann::json audit() const { return ctl_json({"audit"})["sum"]; }
  nlohmann::json pool(const std::string& name = "") const;  // of `zeropoolctl pools`
  std::size_t clients() const { return ctl_json({"clients"})["clients"].size(); }

  OpenOptions options() const;
  Result<Pool> open(const std::string& pool = "") const { return Pool::open(pool, options()); }

 private:
  void put_log_aside();
  void start(const std::vector<std::string>& more = {});
  void wait_until_it_answers();
  bool cannot_export() const;

  TemporaryFolder folder_;
  std::optional<unsigned> user_;
  std::vector<std::pair<std::string, std::string>> environment_;
  std::unique_ptr<Program> program_;
};

// Until `done` says so. False: it has not after `limit`.
template <typename Condition>
bool eventually(Condition done, std::chrono::milliseconds limit = std::chrono::seconds(10));

// Every slot is in the ring, or with the daemon: nobody holds, caches, or has lost one.
bool all_free(const nlohmann::json& audit);
// The daemon learns of a death by an event; so does this, by asking until it is so.
bool becomes_all_free(const DaemonProcess& daemon,
                      std::chrono::milliseconds limit = std::chrono::seconds(10));

void pause_briefly();

template <typename Condition>
bool eventually(Condition done, std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!done()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    pause_briefly();
  }
  return true;
}

}  // namespace zeropool::testing
