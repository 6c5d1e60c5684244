#pragma once
// Curves over time as an SVG file.
//
// Thread safety: functions without state.

#include <string>
#include <utility>
#include <vector>

namespace zeropool_idle_caches {

struct Curve {
  std::string name;
  std::vector<std::pair<double, double>> points;  // seconds, MiB
};

// False: the file could not be written.
bool write_chart(const std::string& path, const std::string& title,
                 const std::vector<Curve>& curves);

}  // namespace zeropool_idle_caches
