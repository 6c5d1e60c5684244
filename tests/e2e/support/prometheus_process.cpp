#include "prometheus_process.hpp"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <regex>
#include <signal.h>
#include <stdexcept>
#include <sys/stat.h>

#include "../../integration/support/daemon_process.hpp"

namespace zeropool::testing {
namespace {

using namespace std::chrono_literals;

// The one transformation of the shipped rules: what they say of minutes is asked of seconds.
//   for: 5m            ->  for: 1s
//   rate(metric[5m])   ->  rate(metric[8s])
std::string in_seconds(const std::string& rules) {
  const std::string waits = std::regex_replace(rules, std::regex("for: [0-9]+m"), "for: 1s");
  return std::regex_replace(waits, std::regex("\\[5m\\]"), "[8s]");
}

constexpr const char* kConfig =
    R"(global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 500ms}
rule_files: [recording_rules.yml, alerts.yml]
scrape_configs:
  - job_name: zeropool
    file_sd_configs: [{files: [targets.json], refresh_interval: 1s}]
)";

constexpr const char* kListening = "msg=\"Listening on\" address=";

}  // namespace

std::string source_file(const std::string& path) {
  const char* source = std::getenv("ZEROPOOL_SOURCE_DIR");
  if (source == nullptr)
    throw std::runtime_error("ZEROPOOL_SOURCE_DIR is not set; run this by ctest");
  return std::string(source) + "/" + path;
}

std::string shipped(const std::string& file) {
  return read_file(source_file("config/prometheus/" + file));
}

PrometheusProcess::PrometheusProcess() {
  const std::string folder = folder_.path();
  write_file(folder + "/prometheus.yml", kConfig);
  for (const char* rules : {"recording_rules.yml", "alerts.yml"}) {
    const std::string text = shipped(rules);
    if (text.empty()) throw std::runtime_error(std::string("there is no ") + rules);
    write_file(folder + "/" + rules, in_seconds(text));
  }
  write_file(folder + "/targets.json", "[]");
  ProgramOptions options;
  options.arguments = {"prometheus", "--config.file=" + folder + "/prometheus.yml",
                       "--storage.tsdb.path=" + folder + "/data",
                       "--web.listen-address=127.0.0.1:0"};
  options.output = folder + "/log";
  program_ = std::make_unique<Program>(options);
  const bool came = eventually(
      [&] {
        if (program_->ended()) return true;
        const std::string log = read_file(folder + "/log");
        const std::size_t at = log.find(kListening);
        if (at == std::string::npos || log.find('\n', at) == std::string::npos) return false;
        const std::size_t begin = at + std::string(kListening).size();
        address_ = log.substr(begin, log.find_first_of(" \n", begin) - begin);
        return log.find("Server is ready to receive web requests") != std::string::npos;
      },
      120s);
  if (!came || address_.empty()) {
    throw std::runtime_error(
        "prometheus did not come up (scripts/packages --install e2e installs it); its log:\n" +
        read_file(folder + "/log"));
  }
}

PrometheusProcess::~PrometheusProcess() {
  program_->send(SIGTERM);
  program_->finish(10s);
}

void PrometheusProcess::scrape(const std::map<std::string, std::string>& targets) {
  nlohmann::json groups = nlohmann::json::array();
  for (const auto& [instance, address] : targets) {
    groups.push_back({{"targets", {address}}, {"labels", {{"instance", instance}}}});
  }
  // Replaced as a whole: it is read at any moment.
  const std::string path = folder_.path() + "/targets.json";
  write_file(path + ".new", groups.dump());
  std::filesystem::rename(path + ".new", path);
}

nlohmann::json PrometheusProcess::query(const std::string& expression) const {
  ProgramOptions options;
  options.arguments = {"curl",
                       "--silent",
                       "--show-error",
                       "--max-time",
                       "30",
                       "--get",
                       "--data-urlencode",
                       "query=" + expression,
                       "http://" + address_ + "/api/v1/query"};
  const CommandResult answer = run_command(options);
  if (answer.exit_code != 0) throw std::runtime_error("curl: " + answer.err);
  const nlohmann::json document = nlohmann::json::parse(answer.out);
  if (document.at("status") != "success") {
    throw std::runtime_error(expression + ": " + document.dump());
  }
  return document.at("data").at("result");
}

double PrometheusProcess::value(const std::string& expression) const {
  const nlohmann::json result = query(expression);
  if (result.size() != 1) return std::numeric_limits<double>::quiet_NaN();
  return std::stod(result[0].at("value").at(1).get<std::string>());
}

bool PrometheusProcess::always(const std::string& expression, const std::string& range,
                               double value) const {
  const std::string samples = "((" + expression + ")[" + range + ":500ms])";
  for (const char* bound : {"min_over_time", "max_over_time"}) {
    const nlohmann::json result = query(bound + samples);
    if (result.empty()) return false;
    for (const nlohmann::json& series : result) {
      if (std::stod(series.at("value").at(1).get<std::string>()) != value) return false;
    }
  }
  return true;
}

}  // namespace zeropool::testing
