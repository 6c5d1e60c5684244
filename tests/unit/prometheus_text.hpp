#pragma once
// A strict reader of the Prometheus text format 0.0.4, for tests: what it accepts, every scraper
// accepts.

#include <cctype>
#include <cstdlib>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace zeropool::test {

struct MetricSample {
  std::string name;
  std::map<std::string, std::string> labels;
  double value = 0;
};

struct MetricsDocument {
  std::map<std::string, std::string> types;  // of families
  std::map<std::string, std::string> helps;
  std::vector<MetricSample> samples;

  // The sum of the samples of that name that have all of `labels`.
  double sum(const std::string& name, const std::map<std::string, std::string>& labels = {}) const {
    double total = 0;
    for (const MetricSample& sample : samples) {
      bool matches = sample.name == name;
      for (const auto& [key, value] : labels) {
        const auto found = sample.labels.find(key);
        matches = matches && found != sample.labels.end() && found->second == value;
      }
      if (matches) total += sample.value;
    }
    return total;
  }
};

class MetricsReader {
 public:
  // Throws std::runtime_error that quotes the line at fault.
  static MetricsDocument read(const std::string& text) {
    MetricsReader reader;
    if (text.empty() || text.back() != '\n') throw std::runtime_error("no newline at the end");
    std::size_t begin = 0;
    while (begin < text.size()) {
      const std::size_t end = text.find('\n', begin);
      reader.read_line(text.substr(begin, end - begin));
      begin = end + 1;
    }
    return std::move(reader.document_);
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    throw std::runtime_error(why + ": " + line_);
  }

  void read_line(const std::string& line) {
    line_ = line;
    at_ = 0;
    if (line.empty()) return;
    if (line.rfind("# HELP ", 0) == 0) return read_help();
    if (line.rfind("# TYPE ", 0) == 0) return read_type();
    if (line[0] == '#') fail("a comment that is neither HELP nor TYPE");
    read_sample();
  }

  std::string read_name() {
    const std::size_t begin = at_;
    while (at_ < line_.size() && (std::isalnum(static_cast<unsigned char>(line_[at_])) != 0 ||
                                  line_[at_] == '_' || line_[at_] == ':')) {
      ++at_;
    }
    const std::string name = line_.substr(begin, at_ - begin);
    if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0])) != 0) fail("no name");
    return name;
  }

  void expect(char c) {
    if (at_ >= line_.size() || line_[at_] != c) fail(std::string("expected ") + c);
    ++at_;
  }

  void read_help() {
    at_ = 7;
    const std::string name = read_name();
    expect(' ');
    if (at_ >= line_.size()) fail("an empty help");
    if (!document_.helps.emplace(name, line_.substr(at_)).second) fail("a second HELP");
  }

  void read_type() {
    at_ = 7;
    family_ = read_name();
    expect(' ');
    const std::string type = line_.substr(at_);
    if (type != "counter" && type != "gauge" && type != "histogram") fail("an unknown type");
    if (document_.helps.count(family_) == 0) fail("a TYPE without HELP");
    if (!document_.types.emplace(family_, type).second) fail("a second TYPE");
    const bool total = family_.size() > 6 && family_.compare(family_.size() - 6, 6, "_total") == 0;
    if (total != (type == "counter")) fail("_total is for counters, and only for them");
  }

  void read_sample() {
    MetricSample sample;
    sample.name = read_name();
    const bool histogram = document_.types[family_] == "histogram";
    const bool belongs = histogram ? sample.name == family_ + "_bucket" ||
                                         sample.name == family_ + "_sum" ||
                                         sample.name == family_ + "_count"
                                   : sample.name == family_;
    if (!belongs) fail("a sample outside its family");
    if (at_ < line_.size() && line_[at_] == '{') read_labels(sample);
    expect(' ');
    char* end = nullptr;
    sample.value = std::strtod(line_.c_str() + at_, &end);
    if (end == line_.c_str() + at_ || *end != '\0') fail("no number, or something after it");
    if (!series_.insert({sample.name, sample.labels}).second) fail("a series twice");
    if (document_.types[family_] == "counter" && sample.value < 0) fail("a negative counter");
    document_.samples.push_back(std::move(sample));
  }

  void read_labels(MetricSample& sample) {
    expect('{');
    while (at_ < line_.size() && line_[at_] != '}') {
      const std::string name = read_name();
      expect('=');
      expect('"');
      std::string value;
      while (at_ < line_.size() && line_[at_] != '"') value += read_character();
      expect('"');
      if (!sample.labels.emplace(name, value).second) fail("a label twice");
      if (at_ < line_.size() && line_[at_] == ',') ++at_;
    }
    expect('}');
  }

  char read_character() {
    const char c = line_[at_++];
    if (c != '\\') return c;
    if (at_ >= line_.size()) fail("an unfinished escape");
    switch (line_[at_++]) {
      case '\\': return '\\';
      case '"': return '"';
      case 'n': return '\n';
      default: fail("an unknown escape");
    }
  }

  MetricsDocument document_;
  std::set<std::pair<std::string, std::map<std::string, std::string>>> series_;
  std::string line_;
  std::string family_;
  std::size_t at_ = 0;
};

}  // namespace zeropool::test
