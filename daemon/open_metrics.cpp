#include "daemon/open_metrics.hpp"

#include <charconv>
#include <cmath>
#include <string_view>

namespace zeropool::daemon {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr std::string_view kTotal = "_total";
constexpr double kExact = 9007199254740992;  // 2^53: written as integers up to there

bool ends_in(std::string_view text, std::string_view end) {
  return text.size() > end.size() && text.substr(text.size() - end.size()) == end;
}

void append_escaped(std::string& out, std::string_view text) {
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
}

void append_number(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "NaN";
  } else if (std::isinf(value)) {
    out += value < 0 ? "-Inf" : "+Inf";
  } else {
    char digits[32];
    const auto format = std::fabs(value) <= kExact && value == std::floor(value)
                            ? std::chars_format::fixed
                            : std::chars_format::general;
    const auto result = std::to_chars(digits, digits + sizeof digits, value, format);
    out.append(digits, result.ptr);
  }
}

// A bound is a float wherever it stands, so that 1 and 1.0 are not two series.
std::string bound_text(double bound) {
  std::string text;
  append_number(text, bound);
  if (text.find_first_of(".eIN") == std::string::npos) text += ".0";
  return text;
}

class Writer {
 public:
  void family(const MetricFamily& family) {
    std::string_view name = family.name;
    if (family.type == MetricType::Counter && ends_in(name, kTotal)) {
      name.remove_suffix(kTotal.size());
    }
    describe("# TYPE ", name, type_word(family.type));
    for (const std::string_view unit : {"bytes", "seconds"}) {
      if (ends_in(name, std::string("_") + std::string(unit))) describe("# UNIT ", name, unit);
    }
    describe("# HELP ", name, family.help);
    for (const ClientMetric& metric : family.metric) series(family.type, name, metric);
  }
  std::string finish() && {
    out_ += "# EOF\n";
    return std::move(out_);
  }

 private:
  static std::string_view type_word(MetricType type) {
    switch (type) {
      case MetricType::Counter: return "counter";
      case MetricType::Gauge: return "gauge";
      case MetricType::Histogram: return "histogram";
      default: return "unknown";
    }
  }

  void describe(std::string_view what, std::string_view name, std::string_view text) {
    out_ += what;
    out_ += name;
    out_ += ' ';
    append_escaped(out_, text);
    out_ += '\n';
  }

  void series(MetricType type, std::string_view name, const ClientMetric& metric) {
    switch (type) {
      case MetricType::Counter: sample(name, kTotal, metric, metric.counter.value); break;
      case MetricType::Gauge: sample(name, "", metric, metric.gauge.value); break;
      case MetricType::Histogram:
        for (const ClientMetric::Bucket& bucket : metric.histogram.bucket) {
          sample(name, "_bucket", metric, static_cast<double>(bucket.cumulative_count),
                 bound_text(bucket.upper_bound));
        }
        sample(name, "_count", metric, static_cast<double>(metric.histogram.sample_count));
        sample(name, "_sum", metric, metric.histogram.sample_sum);
        break;
      default: sample(name, "", metric, metric.untyped.value); break;
    }
  }

  void sample(std::string_view name, std::string_view suffix, const ClientMetric& metric,
              double value, std::string_view bound = {}) {
    out_ += name;
    out_ += suffix;
    char before = '{';
    for (const ClientMetric::Label& label : metric.label) {
      append_label(before, label.name, label.value);
      before = ',';
    }
    if (!bound.empty()) {
      append_label(before, "le", bound);
      before = ',';
    }
    if (before == ',') out_ += '}';
    out_ += ' ';
    append_number(out_, value);
    out_ += '\n';
  }

  void append_label(char before, std::string_view name, std::string_view value) {
    out_ += before;
    out_ += name;
    out_ += "=\"";
    append_escaped(out_, value);
    out_ += '"';
  }

  std::string out_;
};

}  // namespace

std::string open_metrics_text(const std::vector<MetricFamily>& families) {
  Writer writer;
  for (const MetricFamily& family : families) writer.family(family);
  return std::move(writer).finish();
}

}  // namespace zeropool::daemon
