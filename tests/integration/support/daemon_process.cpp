#include "daemon_process.hpp"

#include <arpa/inet.h>
#include <cstdlib>
#include <cstring>
#include <netinet/in.h>
#include <signal.h>
#include <sstream>
#include <stdexcept>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>

namespace zeropool::testing {
namespace {

using namespace std::chrono_literals;

// A daemon under a sanitizer, or on an emulated machine, takes its time.
constexpr auto kStartLimit = 120s;
constexpr auto kStopLimit = 10s;
constexpr const char* kMetricsWords = "metrics at http";  // or https
constexpr const char* kNoMetricsWords = " metrics: ";

std::string program_from(const char* variable) {
  const char* path = std::getenv(variable);
  if (path == nullptr || *path == 0) {
    throw std::runtime_error(std::string(variable) +
                             " does not name the program; run this by ctest");
  }
  return path;
}

bool has_key(const std::string& config, const std::string& key) {
  return config.rfind(key + ":", 0) == 0 || config.find("\n" + key + ":") != std::string::npos;
}

// -1: nobody listens there.
int connected_socket(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) return fd;
  ::close(fd);
  return -1;
}

bool connects(const std::string& path) {
  const int fd = connected_socket(path);
  if (fd >= 0) ::close(fd);
  return fd >= 0;
}

std::string fetch_all(const std::string& host, std::uint16_t port, const std::string& request) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  ::inet_pton(AF_INET, host.c_str(), &address.sin_addr);
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval limit{20, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  std::string answer;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 &&
      ::send(fd, request.data(), request.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(request.size())) {
    char chunk[16384];
    for (;;) {
      const ssize_t got = ::recv(fd, chunk, sizeof(chunk), 0);
      if (got <= 0) break;
      answer.append(chunk, static_cast<std::size_t>(got));
    }
  }
  ::close(fd);
  return answer;
}

}  // namespace

std::string daemon_program() { return program_from("ZEROPOOLD"); }
std::string ctl_program() { return program_from("ZEROPOOLCTL"); }

void pause_briefly() { std::this_thread::sleep_for(1ms); }

DaemonProcess::DaemonProcess(const std::string& config, std::optional<unsigned> user,
                             std::vector<std::pair<std::string, std::string>> environment)
    : user_(user), environment_(std::move(environment)) {
  if (user && ::chown(folder().c_str(), *user, *user) != 0) {
    throw std::runtime_error("cannot give the folder to user " + std::to_string(*user));
  }
  rewrite_config(config);
  start();
}

void DaemonProcess::start_again() {
  put_log_aside();  // its port is another one
  start();
}

void DaemonProcess::put_log_aside() {
  write_file(folder() + "/log.before", log());
  write_file(folder() + "/log", "");
}

void DaemonProcess::take_over() {
  std::unique_ptr<Program> before = std::move(program_);
  put_log_aside();
  start({"--take-over"});
  const End end = before->finish(kStopLimit);
  if (!end.well()) throw std::runtime_error("the daemon before did not make room in order");
}

pid_t DaemonProcess::holder() const {
  const int fd = connected_socket(socket() + ".holder");
  if (fd < 0) return -1;
  ucred peer{};
  socklen_t bytes = sizeof(peer);
  ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes);
  ::close(fd);
  return peer.pid;
}

void DaemonProcess::start(const std::vector<std::string>& more) {
  ProgramOptions options;
  options.arguments = {daemon_program(), "--config", config_path(), "--foreground"};
  options.arguments.insert(options.arguments.end(), more.begin(), more.end());
  options.environment = {{"NOTIFY_SOCKET", std::nullopt}, {"JOURNAL_STREAM", std::nullopt}};
  for (const auto& [name, value] : environment_) options.environment.emplace_back(name, value);
  options.output = folder() + "/log";
  options.user = user_;
  program_ = std::make_unique<Program>(options);
  wait_until_it_answers();
}

DaemonProcess::~DaemonProcess() {
  stop();
  // Of a daemon that had no time to end it.
  if (const pid_t left = holder(); left > 0) ::kill(left, SIGKILL);
}

void DaemonProcess::wait_until_it_answers() {
  const bool exports = read_file(config_path()).find("listen: []") == std::string::npos;
  const bool came = eventually(
      [&] {
        if (!alive()) return true;
        return connects(socket()) && (!exports || !metrics_url().empty() || cannot_export());
      },
      kStartLimit);
  if (came && alive()) return;
  if (const std::optional<End> end = program_->ended()) throw DaemonRefused(*end, log());
  throw std::runtime_error("zeropoold did not come up; its log:\n" + log());
}

bool DaemonProcess::cannot_export() const {
  return log().find(kNoMetricsWords) != std::string::npos;
}

void DaemonProcess::rewrite_config(const std::string& config) {
  std::string text;
  if (!has_key(config, "socket")) text += "socket: {path: " + socket() + ", mode: \"0666\"}\n";
  if (!has_key(config, "metrics")) text += "metrics: {listen: [\"127.0.0.1:0\"]}\n";
  write_file(config_path(), text + config);
}

std::string DaemonProcess::metrics_url() const {
  const std::string text = log();
  const std::size_t at = text.find(kMetricsWords);
  if (at == std::string::npos) return {};
  const std::size_t start = at + std::strlen("metrics at ");
  const std::size_t end = text.find('\n', start);
  return end == std::string::npos ? std::string() : text.substr(start, end - start);
}

HttpAnswer DaemonProcess::http(const std::string& method, const std::string& path) const {
  // It takes connections a moment before it answers: 503 until then.
  HttpAnswer answer;
  eventually([&] {
    answer = http_once(method, path);
    return answer.status != 503;
  });
  return answer;
}

HttpAnswer DaemonProcess::http_once(const std::string& method, const std::string& path) const {
  const std::string url = metrics_url();
  const std::size_t host_at = url.find("//") + 2;
  const std::size_t colon = url.find(':', host_at);
  if (colon == std::string::npos) return {};
  const std::string host = url.substr(host_at, colon - host_at);
  const auto port = static_cast<std::uint16_t>(std::strtoul(url.c_str() + colon + 1, nullptr, 10));
  const std::string answer = fetch_all(
      host, port,
      method + " " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n");
  HttpAnswer parsed;
  const std::size_t blank = answer.find("\r\n\r\n");
  if (blank == std::string::npos || answer.size() < 12) return parsed;
  parsed.status = std::atoi(answer.c_str() + 9);
  parsed.head = answer.substr(0, blank);
  parsed.body = answer.substr(blank + 4);
  return parsed;
}

double DaemonProcess::metric(const std::string& name,
                             const std::vector<std::string>& labels) const {
  std::istringstream text(scrape());
  double sum = 0;
  for (std::string line; std::getline(text, line);) {
    if (line.rfind(name, 0) != 0 || line.size() <= name.size()) continue;
    if (line[name.size()] != '{' && line[name.size()] != ' ') continue;
    bool wanted = true;
    for (const std::string& label : labels)
      wanted = wanted && line.find(label) != std::string::npos;
    if (wanted) sum += std::strtod(line.c_str() + line.rfind(' '), nullptr);
  }
  return sum;
}

End DaemonProcess::stop() {
  send(SIGTERM);
  return program_->finish(kStopLimit);
}

End DaemonProcess::kill9() {
  send(SIGKILL);
  return program_->finish(kStopLimit);
}

CommandResult DaemonProcess::ctl(std::vector<std::string> arguments) const {
  ProgramOptions options;
  options.arguments = {ctl_program(), "--socket", socket()};
  options.arguments.insert(options.arguments.end(), arguments.begin(), arguments.end());
  return run_command(options);
}

nlohmann::json DaemonProcess::ctl_json(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), "--json");
  const CommandResult result = ctl(arguments);
  nlohmann::json document = nlohmann::json::parse(result.out, nullptr, false);
  if (document.is_discarded()) {
    throw std::runtime_error("zeropoolctl " + arguments.back() + ": " + result.err + result.out);
  }
  return document;
}

nlohmann::json DaemonProcess::pool(const std::string& name) const {
  const nlohmann::json document = ctl_json({"pools"});
  for (const nlohmann::json& pool : document["pools"]) {
    if (name.empty() || pool["name"] == name) return pool;
  }
  throw std::runtime_error("zeropoolctl pools does not name " + name);
}

OpenOptions DaemonProcess::options() const {
  OpenOptions options;
  options.socket = socket();
  return options;
}

bool all_free(const nlohmann::json& audit) {
  for (const char* count : {"cached", "held", "in_transit", "shared", "quarantined", "orphaned",
                            "lost", "doubled", "broken"}) {
    if (audit[count] != 0) return false;
  }
  return audit["free"].get<std::uint64_t>() + audit["daemon"].get<std::uint64_t>() ==
         audit["slots"].get<std::uint64_t>();
}

bool becomes_all_free(const DaemonProcess& daemon, std::chrono::milliseconds limit) {
  return eventually([&] { return all_free(daemon.audit()); }, limit);
}

}  // namespace zeropool::testing
