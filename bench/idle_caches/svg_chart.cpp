#include "svg_chart.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>

namespace zeropool_idle_caches {
namespace {

constexpr double kWidth = 760;
constexpr double kHeight = 360;
constexpr double kLeft = 70;
constexpr double kRight = 20;
constexpr double kTop = 40;
constexpr double kBottom = 50;
constexpr const char* kColours[] = {"#1f6fb4", "#c0392b", "#2e8b57"};

// 1, 2 or 5 times a power of ten, about a fifth of the whole.
double step_for(double whole) {
  const double least = std::max(whole, 1e-9) / 6;
  const double power = std::pow(10.0, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= least) return factor * power;
  }
  return 10 * power;
}

}  // namespace

bool write_chart(const std::string& path, const std::string& title,
                 const std::vector<Curve>& curves) {
  double most_seconds = 1;
  double most_mib = 1;
  for (const Curve& curve : curves) {
    for (const auto& [seconds, mib] : curve.points) {
      most_seconds = std::max(most_seconds, seconds);
      most_mib = std::max(most_mib, mib);
    }
  }
  const auto x = [&](double seconds) {
    return kLeft + seconds / most_seconds * (kWidth - kLeft - kRight);
  };
  const auto y = [&](double mib) {
    return kHeight - kBottom - mib / most_mib * (kHeight - kTop - kBottom);
  };
  std::ofstream svg(path);
  svg << "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" << kWidth << "\" height=\"" << kHeight
      << "\" font-family=\"sans-serif\" font-size=\"12\">\n"
      << "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"" << kLeft
      << "\" y=\"22\" font-size=\"14\">" << title << "</text>\n";
  const double step_mib = step_for(most_mib);
  for (double mib = 0; mib <= most_mib; mib += step_mib) {
    svg << "<line x1=\"" << kLeft << "\" x2=\"" << kWidth - kRight << "\" y1=\"" << y(mib)
        << "\" y2=\"" << y(mib) << "\" stroke=\"#ddd\"/><text x=\"" << kLeft - 8 << "\" y=\""
        << y(mib) + 4 << "\" text-anchor=\"end\">" << mib << "</text>\n";
  }
  const double step_seconds = step_for(most_seconds);
  for (double seconds = 0; seconds <= most_seconds; seconds += step_seconds) {
    svg << "<text x=\"" << x(seconds) << "\" y=\"" << kHeight - kBottom + 18
        << "\" text-anchor=\"middle\">" << seconds << "</text>\n";
  }
  svg << "<text x=\"" << (kLeft + kWidth - kRight) / 2 << "\" y=\"" << kHeight - 12
      << "\" text-anchor=\"middle\">seconds</text>\n<text x=\"16\" y=\"" << kHeight / 2
      << "\" text-anchor=\"middle\" transform=\"rotate(-90 16 " << kHeight / 2
      << ")\">cached, MiB</text>\n";
  for (std::size_t i = 0; i < curves.size(); ++i) {
    const char* colour = kColours[i % std::size(kColours)];
    svg << "<polyline fill=\"none\" stroke-width=\"2\" stroke=\"" << colour << "\" points=\"";
    for (const auto& [seconds, mib] : curves[i].points) svg << x(seconds) << ',' << y(mib) << ' ';
    svg << "\"/>\n<text x=\"" << kWidth - kRight - 250 << "\" y=\""
        << kTop + 16.0 * static_cast<double>(i + 1) << "\" fill=\"" << colour << "\">"
        << curves[i].name << "</text>\n";
  }
  svg << "</svg>\n";
  svg.flush();
  return svg.good();
}

}  // namespace zeropool_idle_caches
