#pragma once
// PrometheusProcess: Debian's prometheus, in a private folder, with the rules of config/prometheus.
//
// Thread safety: one thread's; it dies with that thread, and takes its folder with it.
// Errors: the constructor throws, with the log, when it does not come up.

#include <map>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "../../integration/support/program.hpp"

namespace zeropool::testing {

// A file of this repository, by its path there.
std::string source_file(const std::string& path);
// Of config/prometheus, by name.
std::string shipped(const std::string& file);

class PrometheusProcess {
 public:
  PrometheusProcess();
  ~PrometheusProcess();  // SIGTERM, after 10 s SIGKILL
  PrometheusProcess(const PrometheusProcess&) = delete;
  PrometheusProcess& operator=(const PrometheusProcess&) = delete;

  // Scrapes these from now on: the label `instance`, and host:port.
  void scrape(const std::map<std::string, std::string>& targets);

  std::string url() const { return "http://" + address_; }
  // The result of an instant query, a list; throws what Prometheus says of a query that it cannot answer.
  nlohmann::json query(const std::string& expression) const;
  // The value of its only series; NaN when there is none.
  double value(const std::string& expression) const;
  // Whether every series of a subquery's samples has that value, and there are some.
  bool always(const std::string& expression, const std::string& range, double value) const;

 private:
  TemporaryFolder folder_;
  std::unique_ptr<Program> program_;
  std::string address_;
};

}  // namespace zeropool::testing
