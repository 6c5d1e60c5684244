// docs/metrics.md is what is exported, and what is exported is in docs/metrics.md: names, types and labels.

#include <cstdlib>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/daemon_process.hpp"

using namespace zeropool::testing;

namespace {

struct Metric {
  std::string type;
  std::set<std::string> labels;
};
using Metrics = std::map<std::string, Metric>;

std::set<std::string> words(const std::string& list) {
  std::set<std::string> found;
  std::string word;
  for (const char c : list + ",") {
    if (c == ',') {
      if (!word.empty()) found.insert(word);
      word.clear();
    } else if (c != ' ') {
      word += c;
    }
  }
  return found;
}

// | `name` | type | labels | ... |
Metrics documented() {
  Metrics metrics;
  const char* source = std::getenv("ZEROPOOL_SOURCE_DIR");
  REQUIRE(source != nullptr);
  std::istringstream page(read_file(std::string(source) + "/docs/metrics.md"));
  for (std::string line; std::getline(page, line);) {
    if (line.rfind("| `", 0) != 0) continue;
    const std::size_t name_end = line.find("` | ", 3);
    if (name_end == std::string::npos) continue;
    const std::size_t type_at = name_end + 4;
    const std::size_t type_end = line.find(" |", type_at);
    const std::string type = line.substr(type_at, type_end - type_at);
    if (type != "counter" && type != "gauge" && type != "histogram") continue;
    const std::size_t labels_end = line.find('|', type_end + 2);
    REQUIRE(labels_end != std::string::npos);
    const std::string name = line.substr(3, name_end - 3);
    CHECK_MESSAGE(metrics.count(name) == 0, name, " stands there twice");
    CHECK_MESSAGE(line.size() - labels_end > 8, name, " has no meaning");
    metrics[name] = {type, words(line.substr(type_end + 2, labels_end - type_end - 2))};
  }
  return metrics;
}

Metrics exported(const std::string& scrape) {
  Metrics metrics;
  std::istringstream text(scrape);
  std::string name;
  for (std::string line; std::getline(text, line);) {
    if (line.rfind("# TYPE ", 0) == 0) {
      const std::size_t end = line.find(' ', 7);
      name = line.substr(7, end - 7);
      metrics[name].type = line.substr(end + 1);
    } else if (line.rfind("#", 0) != 0 && line.find('{') != std::string::npos) {
      std::string rest = line.substr(line.find('{') + 1);
      for (std::size_t equals; (equals = rest.find("=\"")) != std::string::npos;) {
        const std::string label = rest.substr(0, equals);
        if (label != "le") metrics[name].labels.insert(label);
        rest = rest.substr(rest.find('"', equals + 2) + 1);
        if (rest.rfind(",", 0) == 0) rest.erase(0, 1);
      }
    }
  }
  return metrics;
}

std::string joined(const std::set<std::string>& labels) {
  std::string text;
  for (const std::string& label : labels) text += label + " ";
  return text;
}

}  // namespace

TEST_CASE(
    "every metric is documented with its type and labels, and every documented one is exported") {
  const DaemonProcess daemon(
      "budget: 64MiB\nmetrics: {listen: [\"127.0.0.1:0\"], top_clients: 1}\n");
  auto pool = daemon.open();
  REQUIRE(pool);
  const auto held = pool->get(4096);
  REQUIRE(held);
  const Metrics in_page = documented();
  const Metrics in_scrape = exported(daemon.scrape());
  CHECK(in_scrape.size() > 50);
  for (const auto& [name, metric] : in_scrape) {
    CAPTURE(name);
    const auto found = in_page.find(name);
    if (found == in_page.end()) {
      FAIL_CHECK("docs/metrics.md does not name it");
      continue;
    }
    CHECK(found->second.type == metric.type);
    CHECK(joined(found->second.labels) == joined(metric.labels));
  }
  for (const auto& [name, metric] : in_page) {
    CHECK_MESSAGE(in_scrape.count(name) == 1, name, " is documented and not exported");
  }
}
