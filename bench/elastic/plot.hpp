#pragma once
// Curves over time as an SVG that stands alone.
//
// Thread safety: functions of values.

#include <string>
#include <vector>

#include "load.hpp"

namespace zeropool_elastic {

struct Curve {
  std::string name;
  std::string colour;
  std::vector<Sample> samples;
};

// Above: what is needed, and what each has. Below: refusals so far.
std::string plot(const Course& course, const std::vector<Curve>& curves, const std::string& stamp);

}  // namespace zeropool_elastic
