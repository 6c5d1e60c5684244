#pragma once
// A list of metric families under construction: each is declared once and filled by calls.
//
// Thread safety: a value.

#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include <prometheus/metric_family.h>

#include "daemon/pool.hpp"

namespace zeropool::daemon {

using MetricLabels = std::vector<prometheus::ClientMetric::Label>;

class MetricSheet {
 public:
  class Family {
   public:
    explicit Family(prometheus::MetricFamily& family) : family_(family) {}
    void set(MetricLabels labels, double value) {
      prometheus::ClientMetric& metric = family_.metric.emplace_back();
      metric.label = std::move(labels);
      if (family_.type == prometheus::MetricType::Counter) {
        metric.counter.value = value;
      } else {
        metric.gauge.value = value;
      }
    }
    // Exact up to 2^53.
    void set(MetricLabels labels, std::uint64_t value) {
      set(std::move(labels), static_cast<double>(value));
    }
    void set(MetricLabels labels, const Histogram& histogram);

   private:
    prometheus::MetricFamily& family_;
  };

  // `name` without the zeropool_ prefix.
  Family counter(const char* name, const char* help) {
    return family(name, help, prometheus::MetricType::Counter);
  }
  Family gauge(const char* name, const char* help) {
    return family(name, help, prometheus::MetricType::Gauge);
  }
  Family histogram(const char* name, const char* help) {
    return family(name, help, prometheus::MetricType::Histogram);
  }
  // In the order of their declaration, without those that have no series.
  std::vector<prometheus::MetricFamily> take();

 private:
  Family family(const char* name, const char* help, prometheus::MetricType type);

  std::deque<prometheus::MetricFamily> families_;  // a Family refers into it
};

}  // namespace zeropool::daemon
