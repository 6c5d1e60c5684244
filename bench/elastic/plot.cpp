#include "plot.hpp"

#include <algorithm>
#include <cstdio>

namespace zeropool_elastic {
namespace {

constexpr double kWidth = 960;
constexpr double kLeft = 70;
constexpr double kRight = 20;
constexpr double kTop = 50;
constexpr double kUpper = 320;  // height of the panel of bytes
constexpr double kGap = 60;
constexpr double kLower = 90;  // of the panel of refusals
constexpr std::size_t kMostPoints = 700;
constexpr double kHeight = kTop + kUpper + kGap + kLower + 60;

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f", value);
  return text;
}

std::string escaped(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    if (c == '<')
      safe += "&lt;";
    else if (c == '&')
      safe += "&amp;";
    else
      safe += c;
  }
  return safe;
}

std::string label(double x, double y, const std::string& text, const char* anchor = "start",
                  const std::string& colour = "#333") {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" text-anchor=\"" + anchor +
         "\" fill=\"" + colour + "\">" + escaped(text) + "</text>\n";
}

std::string line(double x1, double y1, double x2, double y2, const char* colour) {
  return "<line x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" + number(x2) +
         "\" y2=\"" + number(y2) + "\" stroke=\"" + colour + "\"/>\n";
}

// One panel: its own scale of values over the common one of time.
struct Panel {
  double top;
  double height;
  double most;
  double seconds;
  double x(double at) const { return kLeft + at / seconds * (kWidth - kLeft - kRight); }
  double y(double value) const { return top + height * (1 - value / most); }

  template <typename Value>
  std::string curve(const std::vector<Sample>& samples, const std::string& style,
                    Value value) const {
    // Not more points than can be told apart.
    const std::size_t step = samples.size() / kMostPoints + 1;
    std::string points;
    for (std::size_t i = 0; i < samples.size(); i += step) {
      const Sample& sample = samples[i];
      points += number(x(std::min(sample.seconds, seconds))) + "," + number(y(value(sample))) + " ";
    }
    return "<polyline fill=\"none\" " + style + " points=\"" + points + "\"/>\n";
  }
  std::string frame(const Course& course) const {
    std::string text;
    for (const Stretch& stretch : course.stretches()) {
      text += line(x(stretch.begin), top, x(stretch.begin), top + height, "#ccc");
    }
    for (int part = 0; part <= 2; ++part) {
      const double value = most * part / 2;
      text += line(kLeft, y(value), kWidth - kRight, y(value), "#eee");
      text += label(kLeft - 8, y(value) + 4, number(value), "end");
    }
    return text + line(kLeft, top, kLeft, top + height, "#333") +
           line(kLeft, top + height, kWidth - kRight, top + height, "#333");
  }
};

}  // namespace

std::string plot(const Course& course, const std::vector<Curve>& curves, const std::string& stamp) {
  double most_mib = 1;
  double most_refusals = 1;
  for (const Curve& curve : curves) {
    for (const Sample& sample : curve.samples) {
      most_mib = std::max({most_mib, sample.footprint_mib, sample.in_use_mib});
      most_refusals = std::max(most_refusals, static_cast<double>(sample.refusals));
    }
  }
  const Panel bytes{kTop, kUpper, most_mib, course.length()};
  const Panel refused{kTop + kUpper + kGap, kLower, most_refusals, course.length()};
  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + number(kWidth) +
                    " " + number(kHeight) +
                    "\" font-family=\"sans-serif\" font-size=\"12\">\n"
                    "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n";
  svg += bytes.frame(course) + refused.frame(course);
  svg += label(kLeft, kTop - 30, "MiB held by the load (grey), and taken from the system");
  svg += label(kLeft, refused.top - 10, "refused gets so far");
  for (const Stretch& stretch : course.stretches()) {
    svg += label(bytes.x(stretch.begin) + 4, bytes.top + kUpper + 16, stretch.name);
    svg += label(refused.x(stretch.begin), refused.top + kLower + 16, number(stretch.begin) + " s",
                 "middle");
  }
  if (!curves.empty()) {
    svg += bytes.curve(curves.front().samples, "stroke=\"#aaa\" stroke-width=\"3\"",
                       [](const Sample& sample) { return sample.in_use_mib; });
  }
  double legend = kLeft + 420;
  for (const Curve& curve : curves) {
    const std::string style = "stroke=\"" + curve.colour + "\" stroke-width=\"1.5\"";
    svg += bytes.curve(curve.samples, style,
                       [](const Sample& sample) { return sample.footprint_mib; });
    svg += refused.curve(curve.samples, style,
                         [](const Sample& sample) { return static_cast<double>(sample.refusals); });
    svg += label(legend, kTop - 30, curve.name, "start", curve.colour);
    legend += 140;
  }
  svg += label(kLeft, kHeight - 12, stamp);
  return svg + "</svg>\n";
}

}  // namespace zeropool_elastic
